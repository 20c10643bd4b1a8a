//! A profile as pprof.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use viperf_profile::{
    FrameHandle, FrameKind, Handle as _, LibraryHandle, Profile, ProfileError, StringTable,
    ThreadHandle,
};

use crate::EncodeError;
use crate::pprof::{KERNEL, MODULE_START, message};
use crate::stack_tree::{Unit, is_hidden};

/// How the file is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The interpreter's eval frames too, as native frames. Default is `false`.
    pub interpreter_frames: bool,
}

/// The profile as gzip-compressed pprof: one sample per distinct thread and stack.
///
/// # Errors
///
/// [`EncodeError`] when the profile is not sound.
pub fn encode(profile: &Profile, options: &Options) -> Result<Vec<u8>, EncodeError> {
    profile.validate()?;
    // Level 6 is a third of the time of level 9 and within a few percent of its size.
    let mut file = GzEncoder::new(Vec::new(), Compression::new(6));
    let mut tables = Tables::new(profile, options);
    let mut buffer = Vec::new();
    let unit = Unit::of(profile);
    tables.add_main_mapping()?;
    let mut labels: HashMap<ThreadHandle, Vec<message::Label>> = HashMap::new();
    for row in profile.aggregate() {
        let label = match labels.get(&row.thread) {
            Some(label) => label.clone(),
            None => {
                let label = tables.labels(row.thread)?;
                labels.insert(row.thread, label.clone());
                label
            }
        };
        let mut value = vec![number(row.count)];
        if unit == Unit::Nanoseconds {
            value.push(number(row.weight_ns));
        }
        let frames = profile.stacks.frames_leaf_first(row.stack);
        let sample = message::Sample {
            location_id: tables.locations_of(frames)?,
            value,
            label,
        };
        // One by one: all of them together take more memory than the profile.
        buffer.clear();
        encode_key(message::SAMPLE_TAG, WireType::LengthDelimited, &mut buffer);
        encode_varint(sample.encoded_len() as u64, &mut buffer);
        sample.encode_raw(&mut buffer);
        file.write_all(&buffer)?;
    }
    let tables = tables.finish(unit);
    file.write_all(&tables.encode_to_vec())?;
    Ok(file.finish()?)
}

/// Everything but the samples, as far as the samples so far need it.
struct Tables<'a> {
    profile: &'a Profile,
    interpreter_frames: bool,
    strings: StringTable,
    mappings: Vec<message::Mapping>,
    /// Of a library; `None` is the kernel's own.
    mapping_ids: HashMap<(bool, Option<LibraryHandle>), u64>,
    functions: Vec<message::Function>,
    /// By function of the profile; 0 for none yet.
    function_ids: Vec<u64>,
    locations: Vec<message::Location>,
    /// By frame of the profile; 0 for none yet. Of frames into which nothing was inlined.
    location_ids: Vec<u64>,
    inlined_location_ids: HashMap<Vec<FrameHandle>, u64>,
}

impl<'a> Tables<'a> {
    fn new(profile: &'a Profile, options: &Options) -> Self {
        let mut strings = StringTable::default();
        strings.intern("");
        Self {
            profile,
            interpreter_frames: options.interpreter_frames,
            strings,
            mappings: Vec::new(),
            mapping_ids: HashMap::new(),
            functions: Vec::new(),
            function_ids: vec![0; profile.functions.len()],
            locations: Vec::new(),
            location_ids: vec![0; profile.frames.len()],
            inlined_location_ids: HashMap::new(),
        }
    }

    /// The first mapping is the program, by pprof's convention: here what most samples' first native frame is in.
    fn add_main_mapping(&mut self) -> Result<(), ProfileError> {
        let mut counts: BTreeMap<LibraryHandle, u64> = BTreeMap::new();
        for row in self.profile.aggregate() {
            for frame in self.profile.stacks.frames_root_first(row.stack) {
                let function = self.profile.frame(frame)?.function;
                let function = self.profile.function(function)?;
                if let (FrameKind::Native, Some(library)) = (function.kind, function.library) {
                    *counts.entry(library).or_default() += row.count;
                    break;
                }
            }
        }
        if let Some((&library, _)) = counts.iter().max_by_key(|(_, count)| **count) {
            self.mapping(FrameKind::Native, Some(library))?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> i64 {
        i64::from(self.strings.intern(text).index())
    }

    fn labels(&mut self, handle: ThreadHandle) -> Result<Vec<message::Label>, ProfileError> {
        let thread = self.profile.thread(handle)?;
        let process = self.profile.process(thread.process)?;
        let mut labels = Vec::with_capacity(4);
        let names = [("process", process.name), ("thread", thread.name)];
        let title = process.title.map(|title| ("title", title));
        let texts = names.into_iter().chain(title);
        for (key, name) in texts.chain(process.placement.known()) {
            let key = self.text(key);
            let text = self.text(self.profile.string(name)?);
            labels.push(message::Label {
                key,
                text,
                number: 0,
            });
        }
        for (key, number) in [("pid", process.pid), ("tid", thread.tid)] {
            let key = self.text(key);
            let number = i64::from(number);
            labels.push(message::Label {
                key,
                text: 0,
                number,
            });
        }
        Ok(labels)
    }

    /// Calls that were inlined share the location of the function that holds them.
    fn locations_of(
        &mut self,
        leaf_first: impl Iterator<Item = FrameHandle>,
    ) -> Result<Vec<u64>, ProfileError> {
        let mut locations = Vec::new();
        let mut together = Vec::new();
        for handle in leaf_first {
            let frame = self.profile.frame(handle)?;
            let kind = self.profile.function(frame.function)?.kind;
            if is_hidden(kind, self.interpreter_frames) {
                continue;
            }
            together.push(handle);
            if !frame.inlined {
                locations.push(self.location(&together)?);
                together.clear();
            }
        }
        if !together.is_empty() {
            locations.push(self.location(&together)?);
        }
        Ok(locations)
    }

    fn location(&mut self, frames: &[FrameHandle]) -> Result<u64, ProfileError> {
        let known = match *frames {
            [frame] => self.location_ids.get(frame.index() as usize).copied(),
            _ => self.inlined_location_ids.get(frames).copied(),
        };
        if let Some(known) = known
            && known != 0
        {
            return Ok(known);
        }
        let id = self.locations.len() as u64 + 1;
        let mut location = message::Location {
            id,
            ..message::Location::default()
        };
        for &handle in frames {
            let frame = self.profile.frame(handle)?;
            let function = self.profile.function(frame.function)?;
            location.mapping_id = self.mapping(function.kind, function.library)?;
            location.address = frame.address;
            self.widen(location.mapping_id, frame.address, frames.len() > 1);
            location.line.push(message::Line {
                function_id: self.function(frame)?,
                line: i64::from(frame.source.line),
                column: i64::from(frame.source.column),
            });
        }
        self.locations.push(location);
        match *frames {
            [frame] => {
                if let Some(place) = self.location_ids.get_mut(frame.index() as usize) {
                    *place = id;
                }
            }
            _ => {
                self.inlined_location_ids.insert(frames.to_vec(), id);
            }
        }
        Ok(id)
    }

    fn function(&mut self, frame: viperf_profile::Frame) -> Result<u64, ProfileError> {
        let place = frame.function.index() as usize;
        let known = self.function_ids.get(place).copied().unwrap_or(0);
        if known != 0 {
            return Ok(known);
        }
        let function = self.profile.function(frame.function)?;
        let name = self.profile.string(function.name)?;
        let name = match function.kind {
            FrameKind::Incomplete => self.text(&format!("[{name}]")),
            _ => self.text(name),
        };
        let filename = match function.file {
            Some(file) => self.text(self.profile.string(file)?),
            None => 0,
        };
        let id = self.functions.len() as u64 + 1;
        self.functions.push(message::Function {
            id,
            name,
            system_name: name,
            filename,
            start_line: i64::from(function.first_line),
        });
        if let Some(place) = self.function_ids.get_mut(place) {
            *place = id;
        }
        Ok(id)
    }

    /// 0, which is no mapping, for what is in no file.
    fn mapping(
        &mut self,
        kind: FrameKind,
        library: Option<LibraryHandle>,
    ) -> Result<u64, ProfileError> {
        let is_kernel = kind == FrameKind::Kernel;
        if !is_kernel && library.is_none() {
            return Ok(0);
        }
        if let Some(&id) = self.mapping_ids.get(&(is_kernel, library)) {
            return Ok(id);
        }
        let profile = self.profile;
        let library_row = library.map(|row| profile.library(row)).transpose()?;
        let (filename, build_id) = match library_row {
            None => (KERNEL.to_owned(), ""),
            Some(library) => {
                let path = library.path.filter(|_| !is_kernel);
                let name = profile.string(path.unwrap_or(library.name))?;
                let build_id = library.build_id.map(|text| profile.string(text));
                let name = match is_kernel {
                    true => format!("{MODULE_START}{name}]"),
                    false => name.to_owned(),
                };
                (name, build_id.transpose()?.unwrap_or_default())
            }
        };
        let id = self.mappings.len() as u64 + 1;
        let mapping = message::Mapping {
            id,
            filename: self.text(&filename),
            build_id: self.text(build_id),
            // They say that there is nothing left to look up.
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            ..message::Mapping::default()
        };
        self.mappings.push(mapping);
        self.mapping_ids.insert((is_kernel, library), id);
        Ok(id)
    }

    /// A mapping reaches from 0, since addresses are the file's own, to behind the last address seen in it.
    fn widen(&mut self, mapping: u64, address: u64, has_inlined: bool) {
        let place = (mapping as usize).checked_sub(1);
        if let Some(mapping) = place.and_then(|place| self.mappings.get_mut(place)) {
            mapping.memory_limit = mapping.memory_limit.max(address.saturating_add(1));
            mapping.has_inline_frames |= has_inlined;
        }
    }

    fn finish(mut self, unit: Unit) -> message::Profile {
        let mut value_type = |value_type, unit| message::ValueType {
            value_type: i64::from(self.strings.intern(value_type).index()),
            unit: i64::from(self.strings.intern(unit).index()),
        };
        let mut sample_type = vec![value_type("samples", "count")];
        let mut period_type = None;
        if unit == Unit::Nanoseconds {
            let time = value_type("cpu", "nanoseconds");
            sample_type.push(time);
            period_type = Some(time);
        }
        let default_sample_type = sample_type.last().map_or(0, |last| last.value_type);
        let comments = comments(self.profile);
        let comment = comments.iter().map(|text| self.text(text)).collect();
        let information = &self.profile.information;
        message::Profile {
            sample_type,
            sample: Vec::new(),
            mapping: self.mappings,
            location: self.locations,
            function: self.functions,
            string_table: self
                .strings
                .iter()
                .map(|(_, text)| text.to_owned())
                .collect(),
            time_nanos: number(information.started_unix_ns),
            duration_nanos: number(information.duration_ns),
            period: period_type.map_or(0, |_| number(information.period_ns)),
            period_type,
            comment,
            default_sample_type,
        }
    }
}

/// What pprof has no field for; each is a line of `go tool pprof -comments`.
fn comments(profile: &Profile) -> Vec<String> {
    let information = &profile.information;
    let mut comments = Vec::new();
    for (what, text) in [
        ("viperf", &information.viperf_version),
        ("target", &information.target),
        ("host", &information.hostname),
        ("kernel", &information.kernel),
    ] {
        if !text.is_empty() {
            comments.push(format!("{what}: {text}"));
        }
    }
    if information.rate_hz != 0 {
        comments.push(format!("rate: {} Hz", information.rate_hz));
    }
    comments.push(format!("samples: {}", profile.samples.len()));
    comments.push(format!("samples complete: {}", profile.complete_samples()));
    comments.push(format!("samples lost: {}", profile.lost));
    for (reason, samples) in &profile.incomplete {
        comments.push(format!("incomplete: {samples}: {reason}"));
    }
    comments
}

/// pprof's numbers have a sign; what does not fit stops at the greatest.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
