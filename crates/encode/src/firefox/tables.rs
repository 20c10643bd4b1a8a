//! The tables that all threads share.

use std::collections::HashMap;

use serde_json::{Value, json};
use viperf_profile::{
    FrameHandle, FrameKind, Function, FunctionHandle, Handle as _, LibraryHandle, Profile,
    ProfileError, StackHandle, StringHandle, StringTable,
};

use crate::EncodeError;
use crate::firefox::{Options, meta};
use crate::json_text::{push_field, push_list, push_name};
use crate::stack_tree::{FrameRows, StackTree, is_hidden};

/// What the Profiler tells frames apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Frame {
    function: FunctionHandle,
    line: u32,
    column: u32,
    /// In the library; `None` where the Profiler could not use one.
    address: Option<u32>,
    inlined: bool,
}

/// The Profiler's tables, and the texts that they and the threads name.
#[derive(Debug)]
pub(super) struct Tables {
    strings: StringTable,
    frames: FrameRows<Frame>,
    pub(super) stacks: StackTree,
    /// Why a stack with this frame is not complete.
    reason_of_frame: HashMap<FrameHandle, StringHandle>,
}

impl Tables {
    pub(super) fn build(profile: &Profile, options: &Options) -> Result<Self, ProfileError> {
        let mut reason_of_frame = HashMap::new();
        for (handle, frame) in profile.frames.iter() {
            let function = profile.function(frame.function)?;
            if function.kind == FrameKind::Incomplete {
                reason_of_frame.insert(handle, function.name);
            }
        }
        let frames = FrameRows::build(profile, |frame, function| {
            let has_library = function.library.is_some() && function.kind != FrameKind::Kernel;
            let address = u32::try_from(frame.address).ok();
            (!is_hidden(function.kind, options.interpreter_frames)).then_some(Frame {
                function: frame.function,
                line: frame.source.line,
                column: frame.source.column,
                address: address.filter(|&address| has_library && address != 0),
                inlined: frame.inlined,
            })
        })?;
        let stacks = StackTree::build(profile, &frames);
        Ok(Self {
            strings: StringTable::default(),
            frames,
            stacks,
            reason_of_frame,
        })
    }

    /// The number of a text in the file.
    pub(super) fn text(&mut self, text: &str) -> u32 {
        self.strings.intern(text).index()
    }

    /// Why the stack is not complete, as far as it says so.
    pub(super) fn reason<'a>(&self, profile: &'a Profile, stack: StackHandle) -> Option<&'a str> {
        let mut frames = profile.stacks.frames_leaf_first(stack);
        let name = frames.find_map(|frame| self.reason_of_frame.get(&frame))?;
        profile.strings.find(*name)
    }

    /// Appends everything under `shared`; the texts come last, since the tables before add to them.
    pub(super) fn push_shared(
        mut self,
        text: &mut Vec<u8>,
        profile: &Profile,
    ) -> Result<(), EncodeError> {
        push_name(text, "shared");
        text.push(b'{');
        self.push_stacks(text)?;
        self.push_frames(text, profile)?;
        self.push_functions(text, profile)?;
        let none: [u32; 0] = [];
        let symbols = json!({ "length": 0, "libIndex": none, "address": none, "name": none, "functionSize": none });
        push_field(text, "nativeSymbols", &symbols)?;
        push_list(
            text,
            "stringArray",
            self.strings.iter().map(|(_, text)| text),
        )?;
        text.push(b'}');
        Ok(())
    }

    fn push_stacks(&self, text: &mut Vec<u8>) -> Result<(), EncodeError> {
        push_name(text, "stackTable");
        text.push(b'{');
        push_field(text, "length", &self.stacks.len())?;
        push_list(
            text,
            "prefix",
            self.stacks.nodes().map(|(parent, _)| parent),
        )?;
        push_list(text, "frame", self.stacks.nodes().map(|(_, row)| row))?;
        text.push(b'}');
        Ok(())
    }

    fn push_frames(&self, text: &mut Vec<u8>, profile: &Profile) -> Result<(), EncodeError> {
        let frames = || self.frames.rows.iter();
        let known = |number: u32| Some(number).filter(|&number| number != 0);
        push_name(text, "frameTable");
        text.push(b'{');
        push_field(text, "length", &self.frames.rows.len())?;
        let address = |frame: &Frame| frame.address.map_or(-1, i64::from);
        push_list(text, "address", frames().map(address))?;
        push_list(
            text,
            "inlineDepth",
            frames().map(|frame| u32::from(frame.inlined)),
        )?;
        let mut categories = Vec::with_capacity(self.frames.rows.len());
        for frame in frames() {
            categories.push(meta::category(profile.function(frame.function)?.kind));
        }
        push_list(text, "category", &categories)?;
        push_list(text, "subcategory", frames().map(|_| 0))?;
        push_list(text, "func", frames().map(|frame| frame.function.index()))?;
        push_list(text, "nativeSymbol", frames().map(|_| None::<u32>))?;
        push_list(text, "innerWindowID", frames().map(|_| None::<u32>))?;
        push_list(text, "line", frames().map(|frame| known(frame.line)))?;
        push_list(text, "column", frames().map(|frame| known(frame.column)))?;
        text.push(b'}');
        Ok(())
    }

    /// One function per function of the profile, under its own number; with them their sources and libraries.
    fn push_functions(&mut self, text: &mut Vec<u8>, profile: &Profile) -> Result<(), EncodeError> {
        let mut sources = Places::default();
        let mut resources = Places::default();
        let mut names = Vec::new();
        let mut functions = Vec::new();
        for (_, function) in profile.functions.iter() {
            let name = profile.string(function.name)?;
            names.push(match function.kind {
                FrameKind::Incomplete => self.text(&format!("[{name}]")),
                _ => self.text(name),
            });
            let source = match function.file {
                Some(file) => Some(sources.place(self.text(profile.string(file)?))),
                None => None,
            };
            let resource = self.resource(profile, function)?;
            functions.push((
                source,
                resource.map(|resource| resources.place(resource)),
                function,
            ));
        }
        let functions = || functions.iter();
        push_name(text, "funcTable");
        text.push(b'{');
        push_field(text, "length", &names.len())?;
        push_list(text, "name", &names)?;
        let is_python = |kind| kind == FrameKind::Python;
        push_list(text, "isJS", functions().map(|_| false))?;
        push_list(
            text,
            "relevantForJS",
            functions().map(|(_, _, function)| is_python(function.kind)),
        )?;
        let or_none = |place: &Option<usize>| place.map_or(-1, |place| place as i64);
        push_list(
            text,
            "resource",
            functions().map(|(_, place, _)| or_none(place)),
        )?;
        push_list(text, "source", functions().map(|(source, ..)| source))?;
        let first_line = |line: u32| Some(line).filter(|&line| line != 0);
        push_list(
            text,
            "lineNumber",
            functions().map(|(_, _, function)| first_line(function.first_line)),
        )?;
        push_list(text, "columnNumber", functions().map(|_| None::<u32>))?;
        text.push(b'}');
        push_resources(text, &resources)?;
        push_field(text, "sources", &source_table(&sources))?;
        Ok(())
    }

    /// The library, or the kernel, which is none.
    fn resource(
        &mut self,
        profile: &Profile,
        function: &Function,
    ) -> Result<Option<(u32, Option<LibraryHandle>)>, ProfileError> {
        let name = match (profile.library_name(function)?, function.kind) {
            (Some(name), _) => name,
            (None, FrameKind::Kernel) => "[kernel]",
            (None, _) => return Ok(None),
        };
        Ok(Some((self.text(name), function.library)))
    }
}

/// Distinct rows in order of arrival.
#[derive(Debug)]
struct Places<K> {
    rows: Vec<K>,
    numbers: HashMap<K, usize>,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            numbers: HashMap::new(),
        }
    }
}

impl<K: Copy + Eq + std::hash::Hash> Places<K> {
    fn place(&mut self, key: K) -> usize {
        let next = self.rows.len();
        let place = *self.numbers.entry(key).or_insert(next);
        if place == next {
            self.rows.push(key);
        }
        place
    }
}

fn push_resources(
    text: &mut Vec<u8>,
    resources: &Places<(u32, Option<LibraryHandle>)>,
) -> Result<(), EncodeError> {
    /// The Profiler's number for "a library".
    const LIBRARY: u32 = 1;
    let rows = || resources.rows.iter();
    push_name(text, "resourceTable");
    text.push(b'{');
    push_field(text, "length", &resources.rows.len())?;
    let library = |(_, library): &(u32, Option<LibraryHandle>)| library.map(|row| row.index());
    push_list(text, "lib", rows().map(library))?;
    push_list(text, "name", rows().map(|(name, _)| name))?;
    push_list(text, "host", rows().map(|_| None::<u32>))?;
    push_list(text, "type", rows().map(|_| LIBRARY))?;
    text.push(b'}');
    Ok(())
}

fn source_table(sources: &Places<u32>) -> Value {
    let none = vec![None::<u32>; sources.rows.len()];
    json!({ "length": sources.rows.len(), "id": none, "filename": sources.rows })
}

/// Every library of the profile, under its own number.
pub(super) fn libraries(profile: &Profile) -> Result<Vec<Value>, ProfileError> {
    let libraries = profile.libraries.iter().map(|(_, library)| {
        let name = profile.string(library.name)?;
        let path = library.path.map(|path| profile.string(path)).transpose()?;
        let path = path.unwrap_or(name);
        let build_id = library.build_id.map(|text| profile.string(text));
        let build_id = build_id.transpose()?;
        Ok(json!({
            "arch": "",
            "name": name,
            "path": path,
            "debugName": name,
            "debugPath": path,
            "breakpadId": build_id.map_or_else(String::new, breakpad_id),
            "codeId": build_id,
        }))
    });
    libraries.collect()
}

/// Breakpad's form of a build ID: its first 16 bytes as a GUID, whose first three numbers are little-endian, and an age
/// of 0: <https://chromium.googlesource.com/breakpad/breakpad/+/refs/heads/main/docs/symbol_files.md>.
fn breakpad_id(build_id: &str) -> String {
    let mut bytes: Vec<&str> = (0..16)
        .map(|place| build_id.get(2 * place..2 * place + 2).unwrap_or("00"))
        .collect();
    for part in [0..4, 4..6, 6..8] {
        if let Some(part) = bytes.get_mut(part) {
            part.reverse();
        }
    }
    bytes.concat().to_uppercase() + "0"
}
