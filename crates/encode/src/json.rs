//! The profile as plain JSON, for programs of one's own. `docs/formats/json.md` describes it.

use serde_json::json;
use viperf_profile::{
    Frame, Function, Handle as _, Library, Process, Profile, ProfileError, ProfileInformation,
    RecordingCost, Sample, SourceRange, StringHandle, Thread,
};

use crate::EncodeError;
use crate::json_text::{push_field, push_list, push_name};

/// The form of the file: a reader of this one may meet new fields, never others of the same name.
const VERSION: u32 = 1;

/// The whole profile: small tables as rows of named fields, stacks and samples as columns.
///
/// # Errors
///
/// [`EncodeError`] when the profile is not sound.
pub fn encode(profile: &Profile) -> Result<Vec<u8>, EncodeError> {
    profile.validate()?;
    let mut text = b"{".to_vec();
    push_field(&mut text, "format", "viperf")?;
    push_field(&mut text, "version", &VERSION)?;
    push_field(&mut text, "information", &information(&profile.information))?;
    push_name(&mut text, "counts");
    text.push(b'{');
    push_field(&mut text, "samples", &profile.samples.len())?;
    push_field(&mut text, "samples_complete", &profile.complete_samples())?;
    push_field(&mut text, "samples_lost", &profile.lost)?;
    push_field(&mut text, "incomplete", &profile.incomplete)?;
    text.push(b'}');
    push_tables(&mut text, profile)?;
    push_stacks(&mut text, profile)?;
    push_samples(&mut text, profile)?;
    text.extend_from_slice(b"}\n");
    Ok(text)
}

fn information(information: &ProfileInformation) -> serde_json::Value {
    let ProfileInformation {
        viperf_version,
        hostname,
        kernel,
        started_unix_ns,
        duration_ns,
        period_ns,
        rate_hz,
        target,
        cost,
    } = information;
    let RecordingCost {
        bpf_time_ns,
        cpu_time_ns,
        peak_memory_bytes,
        bpf_map_bytes,
        first_sample_ns,
        samples_without_python,
        lowest_rate_hz,
    } = cost;
    json!({
        "viperf_version": viperf_version,
        "hostname": hostname,
        "kernel": kernel,
        "started_unix_ns": started_unix_ns,
        "duration_ns": duration_ns,
        "period_ns": period_ns,
        "rate_hz": rate_hz,
        "target": target,
        "cost": {
            "bpf_time_ns": bpf_time_ns,
            "cpu_time_ns": cpu_time_ns,
            "peak_memory_bytes": peak_memory_bytes,
            "bpf_map_bytes": bpf_map_bytes,
            "first_sample_ns": first_sample_ns,
            "samples_without_python": samples_without_python,
            "lowest_rate_hz": lowest_rate_hz,
        },
    })
}

fn push_tables(text: &mut Vec<u8>, profile: &Profile) -> Result<(), EncodeError> {
    let processes = profile.processes.iter();
    let processes = processes.map(|(_, &row)| process(profile, row));
    push_list(text, "processes", processes.collect::<Result<Vec<_>, _>>()?)?;
    let threads = profile.threads.iter();
    let threads = threads.map(|(_, &row)| thread(profile, row));
    push_list(text, "threads", threads.collect::<Result<Vec<_>, _>>()?)?;
    let libraries = profile.libraries.iter();
    let libraries = libraries.map(|(_, &row)| library(profile, row));
    push_list(text, "libraries", libraries.collect::<Result<Vec<_>, _>>()?)?;
    let functions = profile.functions.iter();
    let functions = functions.map(|(_, &row)| function(profile, row));
    push_list(text, "functions", functions.collect::<Result<Vec<_>, _>>()?)?;
    let frames = profile.frames.iter();
    push_list(text, "frames", frames.map(|(_, &row)| frame(row)))?;
    Ok(())
}

fn optional(profile: &Profile, handle: Option<StringHandle>) -> Result<Option<&str>, ProfileError> {
    handle.map(|handle| profile.string(handle)).transpose()
}

fn process(profile: &Profile, row: Process) -> Result<serde_json::Value, ProfileError> {
    let Process {
        pid,
        parent_pid,
        name,
        title,
        command_line,
        python_version,
        start_time_ns,
        placement,
    } = row;
    let placement: serde_json::Map<String, serde_json::Value> = placement
        .known()
        .map(|(field, text)| Ok((field.to_owned(), profile.string(text)?.into())))
        .collect::<Result<_, ProfileError>>()?;
    Ok(json!({
        "pid": pid,
        "parent_pid": parent_pid,
        "name": profile.string(name)?,
        "title": optional(profile, title)?,
        "command_line": profile.string(command_line)?,
        "python_version": optional(profile, python_version)?,
        "start_time_ns": start_time_ns,
        "placement": placement,
    }))
}

fn thread(profile: &Profile, row: Thread) -> Result<serde_json::Value, ProfileError> {
    let Thread { process, tid, name } = row;
    Ok(json!({ "process": process.index(), "tid": tid, "name": profile.string(name)? }))
}

fn library(profile: &Profile, row: Library) -> Result<serde_json::Value, ProfileError> {
    let Library {
        name,
        path,
        build_id,
    } = row;
    Ok(json!({
        "name": profile.string(name)?,
        "path": optional(profile, path)?,
        "build_id": optional(profile, build_id)?,
    }))
}

fn function(profile: &Profile, row: Function) -> Result<serde_json::Value, ProfileError> {
    let Function {
        name,
        file,
        library,
        first_line,
        kind,
    } = row;
    Ok(json!({
        "kind": kind.name(),
        "name": profile.string(name)?,
        "file": optional(profile, file)?,
        "library": library.map(|library| library.index()),
        "first_line": first_line,
    }))
}

fn frame(row: Frame) -> serde_json::Value {
    let Frame {
        function,
        source,
        address,
        inlined,
    } = row;
    let SourceRange {
        line,
        end_line,
        column,
        end_column,
    } = source;
    // JSON's readers keep 53 bits of a number; an address has 64.
    let address = (address != 0).then(|| format!("{address:#x}"));
    json!({
        "function": function.index(),
        "line": line,
        "end_line": end_line,
        "column": column,
        "end_column": end_column,
        "address": address,
        "inlined": inlined,
    })
}

fn push_stacks(text: &mut Vec<u8>, profile: &Profile) -> Result<(), EncodeError> {
    push_name(text, "stacks");
    text.push(b'{');
    let stacks = || profile.stacks.iter().map(|(_, stack)| stack);
    push_list(
        text,
        "parent",
        stacks().map(|stack| stack.parent.map(|parent| parent.index())),
    )?;
    push_list(text, "frame", stacks().map(|stack| stack.frame.index()))?;
    text.push(b'}');
    Ok(())
}

fn push_samples(text: &mut Vec<u8>, profile: &Profile) -> Result<(), EncodeError> {
    push_name(text, "samples");
    text.push(b'{');
    let samples = || {
        profile.samples.iter().map(|sample| {
            let &Sample {
                time_ns,
                weight_ns,
                cpu,
                thread,
                stack,
                complete,
            } = sample;
            let rows = (thread.index(), stack.index());
            (time_ns, weight_ns, cpu, rows, complete)
        })
    };
    push_list(text, "time_ns", samples().map(|(time_ns, ..)| time_ns))?;
    push_list(text, "weight_ns", samples().map(|(_, weight, ..)| weight))?;
    push_list(text, "cpu", samples().map(|(_, _, cpu, ..)| cpu))?;
    let rows = || samples().map(|(_, _, _, rows, _)| rows);
    push_list(text, "thread", rows().map(|(thread, _)| thread))?;
    push_list(text, "stack", rows().map(|(_, stack)| stack))?;
    push_list(text, "complete", samples().map(|(.., complete)| complete))?;
    text.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_profile::{hostile_profile, small_profile};

    #[test]
    fn every_sample_can_be_followed_to_its_names() {
        for profile in [small_profile(), hostile_profile(), Profile::default()] {
            let text = encode(&profile).unwrap();
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let samples = &value["samples"];
            assert_eq!(value["counts"]["samples"], profile.samples.len());
            for (place, sample) in profile.samples.iter().enumerate() {
                assert_eq!(samples["time_ns"][place], sample.time_ns);
                let mut next = samples["stack"][place].as_u64();
                let mut names = Vec::new();
                while let Some(stack) = next {
                    let stack = stack as usize;
                    let frame = value["stacks"]["frame"][stack].as_u64().unwrap() as usize;
                    let function = value["frames"][frame]["function"].as_u64().unwrap() as usize;
                    let function = &value["functions"][function];
                    let (kind, name) = (function["kind"].as_str(), function["name"].as_str());
                    names.push((kind.unwrap().to_owned(), name.unwrap().to_owned()));
                    next = value["stacks"]["parent"][stack].as_u64();
                }
                let expected: Vec<_> = profile
                    .stacks
                    .frames_leaf_first(sample.stack)
                    .map(|frame| {
                        let function = profile.frame(frame).unwrap().function;
                        let function = profile.function(function).unwrap();
                        let name = profile.string(function.name).unwrap();
                        (function.kind.name().to_owned(), name.to_owned())
                    })
                    .collect();
                assert_eq!(names, expected);
            }
        }
    }

    #[test]
    fn a_dangling_handle_is_an_error() {
        let mut profile = small_profile();
        profile.samples[0].stack = viperf_profile::StackHandle::from_index(9_999);
        assert!(encode(&profile).is_err());
    }
}
