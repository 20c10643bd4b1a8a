//! A profile in speedscope's format.

use std::collections::BTreeMap;

use serde::Serialize;
use viperf_profile::{
    FrameKind, Function, FunctionHandle, Profile, ProfileError, StackHandle, ThreadHandle,
};

use crate::EncodeError;
use crate::json_text::{push_field, push_list, push_name, push_number};
use crate::speedscope::{KERNEL, MODULE_START, SCHEMA};
use crate::stack_tree::{FrameRows, StackTree, Unit, is_hidden};

/// How the file is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The interpreter's eval frames too, as native frames. Default is `false`.
    pub interpreter_frames: bool,
}

#[derive(Serialize)]
struct Frame {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "is_unknown")]
    line: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_unknown(line: &u32) -> bool {
    *line == 0
}

/// The profile as JSON: all threads merged, then one profile per thread in time order.
///
/// # Errors
///
/// [`EncodeError`] when the profile is not sound.
pub fn encode(profile: &Profile, options: &Options) -> Result<Vec<u8>, EncodeError> {
    profile.validate()?;
    let rows = FrameRows::build(profile, |frame, function| {
        let shown = !is_hidden(function.kind, options.interpreter_frames);
        shown.then_some((frame.function, frame.source.line))
    })?;
    let tree = StackTree::build(profile, &rows);
    let unit = Unit::of(profile);
    let mut text = b"{".to_vec();
    push_field(&mut text, "$schema", SCHEMA)?;
    let version = &profile.information.viperf_version;
    push_field(&mut text, "exporter", &format!("viperf {version}"))?;
    push_field(&mut text, "name", &file_name(profile))?;
    push_field(&mut text, "activeProfileIndex", &0)?;
    push_name(&mut text, "shared");
    text.push(b'{');
    let frames = rows
        .rows
        .iter()
        .map(|&(function, line)| frame(profile, function, line))
        .collect::<Result<Vec<_>, _>>()?;
    push_list(&mut text, "frames", &frames)?;
    text.push(b'}');
    push_name(&mut text, "profiles");
    text.push(b'[');
    push_merged(&mut text, profile, &tree, unit)?;
    push_threads(&mut text, profile, &tree, unit)?;
    text.extend_from_slice(b"]}");
    Ok(text)
}

fn file_name(profile: &Profile) -> String {
    match profile.information.target.as_str() {
        "" => "viperf".to_owned(),
        target => target.to_owned(),
    }
}

fn frame(profile: &Profile, function: FunctionHandle, line: u32) -> Result<Frame, ProfileError> {
    let function = profile.function(function)?;
    let name = profile.string(function.name)?;
    let name = match function.kind {
        FrameKind::Incomplete => format!("[{name}]"),
        _ => name.to_owned(),
    };
    let file = file(profile, &function)?;
    // The line of a native frame is one of its source, not of the library that stands in the place of the file.
    let has_line = function.kind == FrameKind::Python && file.is_some();
    Ok(Frame {
        name,
        file,
        line: if has_line { line } else { 0 },
    })
}

/// What speedscope colours by: the file of Python, the library of native code.
fn file(profile: &Profile, function: &Function) -> Result<Option<String>, ProfileError> {
    let library = profile.library_name(function)?;
    Ok(match function.kind {
        FrameKind::Kernel => Some(match library {
            Some(module) => format!("{MODULE_START}{module}]"),
            None => KERNEL.to_owned(),
        }),
        FrameKind::Native | FrameKind::Interpreter => library.map(str::to_owned),
        FrameKind::Python => match function.file {
            Some(file) => Some(profile.string(file)?.to_owned()),
            None => None,
        },
        FrameKind::Incomplete => None,
    })
}

/// One row per stack: for the views that do not care for time.
fn push_merged(
    text: &mut Vec<u8>,
    profile: &Profile,
    tree: &StackTree,
    unit: Unit,
) -> Result<(), EncodeError> {
    let mut amounts: BTreeMap<Option<u32>, (StackHandle, u64)> = BTreeMap::new();
    for row in profile.aggregate() {
        let amount = unit.amount(row.count, row.weight_ns);
        let entry = amounts
            .entry(tree.find(row.stack))
            .or_insert((row.stack, 0));
        entry.1 = entry.1.saturating_add(amount);
    }
    let entries: Vec<_> = amounts.into_values().collect();
    push_profile(text, "all threads, merged", tree, unit, &entries)
}

/// Per thread, in the order of the thread table; one entry per sample.
fn push_threads(
    text: &mut Vec<u8>,
    profile: &Profile,
    tree: &StackTree,
    unit: Unit,
) -> Result<(), EncodeError> {
    let mut threads: BTreeMap<ThreadHandle, Vec<_>> = BTreeMap::new();
    let mut samples: Vec<_> = profile.samples.iter().collect();
    samples.sort_by_key(|sample| sample.time_ns);
    for sample in samples {
        let amount = unit.amount(1, sample.weight_ns);
        let entries: &mut Vec<_> = threads.entry(sample.thread).or_default();
        entries.push((sample.stack, amount));
    }
    for (handle, entries) in threads {
        let thread = profile.thread(handle)?;
        let process = profile.process(thread.process)?;
        let name = format!(
            "{} ({}) {} ({})",
            profile.string(process.name)?,
            process.pid,
            profile.string(thread.name)?,
            thread.tid
        );
        text.push(b',');
        push_profile(text, &name, tree, unit, &entries)?;
    }
    Ok(())
}

/// A profile of the type `sampled`: stacks, the root first, and what each weighs.
fn push_profile(
    text: &mut Vec<u8>,
    name: &str,
    tree: &StackTree,
    unit: Unit,
    entries: &[(StackHandle, u64)],
) -> Result<(), EncodeError> {
    text.push(b'{');
    push_field(text, "type", "sampled")?;
    push_field(text, "name", name)?;
    let unit = match unit {
        Unit::Nanoseconds => "nanoseconds",
        Unit::Samples => "none",
    };
    push_field(text, "unit", unit)?;
    push_field(text, "startValue", &0)?;
    let total = entries
        .iter()
        .fold(0_u64, |sum, (_, amount)| sum.saturating_add(*amount));
    push_field(text, "endValue", &total)?;
    push_name(text, "samples");
    let mut rows = Vec::new();
    push_entries(text, entries, |text, (stack, _)| {
        rows.clear();
        rows.extend(tree.rows_leaf_first(*stack));
        text.push(b'[');
        for (place, row) in rows.iter().rev().enumerate() {
            if place > 0 {
                text.push(b',');
            }
            push_number(text, u64::from(*row));
        }
        text.push(b']');
    });
    push_name(text, "weights");
    push_entries(text, entries, |text, (_, amount)| {
        push_number(text, *amount)
    });
    text.push(b'}');
    Ok(())
}

fn push_entries<T>(text: &mut Vec<u8>, entries: &[T], mut push: impl FnMut(&mut Vec<u8>, &T)) {
    text.push(b'[');
    for (place, entry) in entries.iter().enumerate() {
        if place > 0 {
            text.push(b',');
        }
        push(text, entry);
    }
    text.push(b']');
}
