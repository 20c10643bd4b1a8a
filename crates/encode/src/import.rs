//! Profiles of other tools put together: what their readers have in common.

use thiserror::Error;
use viperf_profile::{
    Frame, FrameHandle, FrameKind, Function, Library, Process, ProcessHandle, Profile, Sample,
    SourceRange, Thread, ThreadHandle,
};

use crate::viperf_file::{DecodeError, DecodeLimits, Decoded};

/// Frames of one stack; those that are further from the root are left out.
///
/// A pprof location can stand for many frames, so a small file can ask for very deep stacks.
pub(crate) const DEEPEST_STACK: usize = 10_000;

/// Rows of the stack table, which have 8 bytes and about as much again for finding them.
const MOST_STACK_ROWS: usize = 50_000_000;

/// What stands for the stacks that are left out.
const TOO_MANY_STACKS: &str = "too many stacks";

/// How much a reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The size of a file after decompression, in bytes. Default is 2 GiB.
    pub maximum_bytes: u64,
    /// Samples of one file; of one that counts more, each stack is one sample that weighs what it counts.
    /// Default is 20,000,000.
    pub maximum_samples: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            maximum_bytes: 2 << 30,
            maximum_samples: 20_000_000,
        }
    }
}

impl From<Limits> for DecodeLimits {
    fn from(limits: Limits) -> Self {
        Self {
            maximum_bytes: limits.maximum_bytes,
        }
    }
}

/// Why nothing could be read from a file.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It begins like no format that is read.
    #[error(
        "the file is none that can be read: give a .viperf file, folded stacks, pprof, speedscope, or the text of perf script"
    )]
    UnknownFormat,
    /// It is a `.viperf` file of which nothing can be read.
    #[error(transparent)]
    Viperf(#[from] DecodeError),
    /// It is text, and no line of it is what it should be.
    #[error("line {line} is not {expected}, and no other line is")]
    Line {
        /// The first line that was not understood, counted from 1.
        line: usize,
        /// What was looked for.
        expected: &'static str,
    },
    /// It is a protocol buffer that ends or breaks in the middle.
    #[error("the pprof message is broken at byte {offset} of {length}: {reason}")]
    Message {
        /// Where the field that is broken begins, after decompression.
        offset: usize,
        /// How many bytes there are.
        length: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// It is JSON that ends or breaks in the middle.
    #[error("the JSON is broken: {0}")]
    Json(#[from] serde_json::Error),
    /// It does not decompress.
    #[error("the file does not decompress after {bytes} bytes: {source}")]
    Compression {
        /// How many bytes came out.
        bytes: usize,
        /// What the decompressor says.
        source: std::io::Error,
    },
    /// It is larger than is taken.
    #[error("the file has more than {limit} bytes: read less of it")]
    TooLarge {
        /// The greatest size.
        limit: u64,
    },
    /// It is sound, but no profile of time or samples.
    #[error("the file holds no samples: {what}")]
    NoSamples {
        /// What it holds instead.
        what: String,
    },
}

/// A frame as another tool wrote it; what is not known is empty or 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImportedFrame<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) name: &'a str,
    pub(crate) file: &'a str,
    /// The path or the name of the library.
    pub(crate) library: &'a str,
    pub(crate) build_id: &'a str,
    pub(crate) first_line: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) address: u64,
    pub(crate) inlined: bool,
}

impl<'a> ImportedFrame<'a> {
    /// A frame of which only kind and name are known.
    pub(crate) const fn named(kind: FrameKind, name: &'a str) -> Self {
        Self {
            kind,
            name,
            file: "",
            library: "",
            build_id: "",
            first_line: 0,
            line: 0,
            column: 0,
            address: 0,
            inlined: false,
        }
    }
}

/// One row of a file: so many samples of one stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImportedSamples<'a> {
    pub(crate) thread: ThreadHandle,
    /// The root first.
    pub(crate) frames: &'a [FrameHandle],
    pub(crate) count: u64,
    /// The time they stand for together; 0 when not known.
    pub(crate) weight_ns: u64,
    pub(crate) time_ns: u64,
    pub(crate) cpu: u32,
}

/// A profile that is being read.
#[derive(Debug)]
pub(crate) struct Importer {
    pub(crate) profile: Profile,
    /// What was wrong, for [`Decoded::damage`].
    pub(crate) complaints: Vec<String>,
    /// Rows are one sample each: there are too many for one each.
    one_sample_per_row: bool,
    /// [`MOST_STACK_ROWS`], but in tests.
    most_stack_rows: usize,
}

impl Importer {
    /// An importer of a file that counts `samples`.
    pub(crate) fn new(samples: u64, limits: &Limits) -> Self {
        let mut importer = Self {
            profile: Profile::default(),
            complaints: Vec::new(),
            one_sample_per_row: false,
            most_stack_rows: MOST_STACK_ROWS,
        };
        if samples > limits.maximum_samples {
            importer.one_sample_per_row = true;
            importer.complaints.push(format!(
                "it counts {samples}, which are more than {} samples: each of its stacks is one sample that weighs its count",
                limits.maximum_samples
            ));
        }
        importer
    }

    pub(crate) fn process(&mut self, name: &str, pid: u32) -> ProcessHandle {
        let name = self.profile.strings.intern(name);
        let command_line = self.profile.strings.intern("");
        self.profile
            .processes
            .intern(Process::new(pid, name, command_line))
    }

    pub(crate) fn thread(&mut self, process: ProcessHandle, name: &str, tid: u32) -> ThreadHandle {
        let name = self.profile.strings.intern(name);
        self.profile.threads.intern(Thread { process, tid, name })
    }

    pub(crate) fn frame(&mut self, imported: ImportedFrame<'_>) -> FrameHandle {
        let ImportedFrame {
            kind,
            name,
            file,
            library,
            build_id,
            first_line,
            line,
            column,
            address,
            inlined,
        } = imported;
        let profile = &mut self.profile;
        let name = profile.strings.intern(name);
        let file = (!file.is_empty()).then(|| profile.strings.intern(file));
        let library = (!library.is_empty()).then(|| {
            let is_path = library.starts_with('/');
            let path = is_path.then(|| profile.strings.intern(library));
            let base = library.rsplit('/').next().filter(|_| is_path);
            let build_id = (!build_id.is_empty()).then(|| profile.strings.intern(build_id));
            let name = profile.strings.intern(base.unwrap_or(library));
            profile.libraries.intern(Library {
                name,
                path,
                build_id,
            })
        });
        let function = profile.functions.intern(Function {
            name,
            file,
            library,
            first_line,
            kind,
        });
        let source = SourceRange {
            column,
            ..SourceRange::from_line(line)
        };
        profile.frames.intern(Frame {
            function,
            source,
            address,
            inlined,
        })
    }

    /// Adds samples; those of a stack without frames have one that says so.
    pub(crate) fn push(&mut self, samples: ImportedSamples<'_>) {
        let ImportedSamples {
            thread,
            frames,
            count,
            weight_ns,
            time_ns,
            cpu,
        } = samples;
        let frames = frames.get(..DEEPEST_STACK).unwrap_or(frames);
        let is_full = self.profile.stacks.len() + frames.len() > self.most_stack_rows;
        let instead = match frames {
            [] => Some("no frames"),
            _ if is_full => Some(TOO_MANY_STACKS),
            _ => None,
        };
        let instead =
            instead.map(|reason| self.frame(ImportedFrame::named(FrameKind::Incomplete, reason)));
        let frames = instead.as_ref().map_or(frames, std::slice::from_ref);
        let reason = self.reason(frames);
        let stack = self.profile.intern_stack_root_first(frames.iter().copied());
        let Some(stack) = stack else {
            return;
        };
        let (rows, weight_ns) = match self.one_sample_per_row {
            true if weight_ns == 0 => (1, count),
            true => (1, weight_ns),
            false => (count, weight_ns),
        };
        if let Some(reason) = &reason {
            *self.profile.incomplete.entry(reason.clone()).or_default() += rows;
        }
        // What does not divide goes to the first ones, so that the sum is what the file says.
        let (each, rest) = (weight_ns / rows.max(1), weight_ns % rows.max(1));
        for row in 0..rows {
            self.profile.samples.push(Sample {
                time_ns,
                weight_ns: each + u64::from(row < rest),
                cpu,
                thread,
                stack,
                complete: reason.is_none(),
            });
        }
    }

    fn reason(&self, frames: &[FrameHandle]) -> Option<String> {
        frames.iter().find_map(|&frame| {
            let function = self.profile.frame(frame).ok()?.function;
            let function = self.profile.function(function).ok()?;
            let is_reason = function.kind == FrameKind::Incomplete;
            let name = self.profile.string(function.name).ok()?;
            is_reason.then(|| name.to_owned())
        })
    }

    /// What was read, in time order.
    pub(crate) fn finish(mut self) -> Decoded {
        self.profile.sort_samples();
        Decoded {
            profile: self.profile,
            damage: (!self.complaints.is_empty()).then(|| self.complaints.join("; ")),
        }
    }
}

/// What a frame is whose writer did not say: Python where the file is one of Python's.
pub(crate) fn guess_kind(file: &str) -> FrameKind {
    let is_python = [".py", ".pyx", ".pyw", ".ipynb"]
        .iter()
        .any(|suffix| file.ends_with(suffix));
    // `<string>`, `<stdin>`, `<frozen importlib._bootstrap>`, `<ipython-input-1>`.
    let is_made_up = file.starts_with('<') && file.ends_with('>');
    match is_python || is_made_up {
        true => FrameKind::Python,
        false => FrameKind::Native,
    }
}

/// `NAME (NUMBER)`, as a process or a thread is named.
pub(crate) fn split_number(text: &str) -> Option<(&str, u32)> {
    let (name, number) = text.strip_suffix(')')?.rsplit_once(" (")?;
    Some((name, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_beyond_the_limits_are_cut_or_replaced_and_every_sample_is_kept() {
        let mut importer = Importer::new(0, &Limits::default());
        importer.most_stack_rows = 2 * DEEPEST_STACK;
        let process = importer.process("p", 1);
        let thread = importer.thread(process, "t", 1);
        for name in ["a", "b", "c", "d"] {
            let frame = importer.frame(ImportedFrame::named(FrameKind::Native, name));
            importer.push(ImportedSamples {
                thread,
                frames: &vec![frame; DEEPEST_STACK + 5],
                count: 2,
                weight_ns: 0,
                time_ns: 0,
                cpu: 0,
            });
        }
        let profile = importer.finish().profile;
        assert_eq!(profile.samples.len(), 8);
        assert_eq!(profile.stacks.len(), 2 * DEEPEST_STACK + 1);
        assert_eq!(profile.incomplete[TOO_MANY_STACKS], 4);
        assert_eq!(profile.validate(), Ok(()));
    }
}
