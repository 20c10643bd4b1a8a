//! Folded stacks: `PROCESS;[THREAD;]FRAME;FRAME;… COUNT`, the root first, one line per distinct stack.
//!
//! | kind | frame |
//! |---|---|
//! | `_[p]` | Python: `qualname (file:line)`, the line being executed |
//! | `_[pn]` | native: `symbol (library)`, or `[library+0xoffset]` |
//! | `_[k]` | kernel: `symbol` |
//! | `_[e]` | the walk could not go on: `[reason]` |
//!
//! PROCESS is `comm (pid)`, THREAD is `name (tid)`.
//! The last space of a line separates the count.
//! Inside names, `\` is written `\\`, newline, carriage return and tab are `\n`, `\r` and `\t`, and `;`, every other
//! control character and the line and paragraph separators of Unicode are `\u{hex}`, so a line is always one stack and a
//! `;` always separates frames.
//! Lines are sorted by their bytes.

mod difference;
mod read;

use std::collections::BTreeMap;

use viperf_profile::{
    Frame, FrameKind, Function, FunctionHandle, Handle as _, Profile, ProfileError, ThreadHandle,
};

use crate::EncodeError;

pub use difference::encode_difference;
pub(crate) use read::is_folded_line;
pub use read::{decode, decode_observed};

/// What the frames of each kind end in.
const PYTHON_SUFFIX: &str = "_[p]";
const NATIVE_SUFFIX: &str = "_[pn]";
const KERNEL_SUFFIX: &str = "_[k]";
const INCOMPLETE_SUFFIX: &str = "_[e]";

/// What the lines show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A thread after its process. Default is `false`.
    pub threads: bool,
    /// `comm` instead of `comm (pid)`, so processes of one name are one. Default is `false`.
    pub merge_processes: bool,
    /// The interpreter's eval frames too, as native frames. Default is `false`.
    pub interpreter_frames: bool,
    /// The suffix that tells a frame's kind; without it frames look as py-spy writes them. Default is `true`.
    pub frame_kinds: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: false,
            merge_processes: false,
            interpreter_frames: false,
            frame_kinds: true,
        }
    }
}

/// The folded lines, each ended by a newline; empty when there are no samples.
///
/// # Errors
///
/// [`EncodeError::Profile`] when a handle is not of this profile.
pub fn encode(profile: &Profile, options: &Options) -> Result<String, EncodeError> {
    profile.validate()?;
    // Each frame's text once: a million samples share a few thousand frames.
    let frames = profile
        .frames
        .iter()
        .map(|(_, &frame)| render_frame(profile, frame, options))
        .collect::<Result<Vec<_>, _>>()?;
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for row in profile.aggregate() {
        let mut line = render_prefix(profile, row.thread, options)?;
        for handle in profile.stacks.frames_root_first(row.stack) {
            if let Some(Some(text)) = frames.get(handle.index() as usize) {
                line.push(';');
                line.push_str(text);
            }
        }
        *lines.entry(line).or_default() += row.count;
    }
    let mut text = String::new();
    for (line, count) in lines {
        text += &format!("{line} {count}\n");
    }
    Ok(text)
}

/// `PROCESS` or `PROCESS;THREAD`.
fn render_prefix(
    profile: &Profile,
    thread: ThreadHandle,
    options: &Options,
) -> Result<String, ProfileError> {
    let thread = profile.thread(thread)?;
    let process = profile.process(thread.process)?;
    let mut text = escape(profile.string(process.name)?);
    if !options.merge_processes {
        text += &format!(" ({})", process.pid);
    }
    if options.threads {
        let name = escape(profile.string(thread.name)?);
        text += &format!(";{name} ({})", thread.tid);
    }
    Ok(text)
}

/// `None` for a frame that is not shown.
fn render_frame(
    profile: &Profile,
    frame: Frame,
    options: &Options,
) -> Result<Option<String>, ProfileError> {
    let function = profile.function(frame.function)?;
    let suffix = match function.kind {
        FrameKind::Interpreter if !options.interpreter_frames => return Ok(None),
        FrameKind::Python => PYTHON_SUFFIX,
        FrameKind::Native | FrameKind::Interpreter => NATIVE_SUFFIX,
        FrameKind::Kernel => KERNEL_SUFFIX,
        FrameKind::Incomplete => INCOMPLETE_SUFFIX,
    };
    let text = frame_text(profile, &function, frame.source.line, escape)?;
    Ok(Some(if options.frame_kinds {
        text + suffix
    } else {
        text
    }))
}

/// A frame's text without suffix and without escapes, for formats that have their own.
pub(crate) fn describe(
    profile: &Profile,
    function: FunctionHandle,
    line: u32,
) -> Result<String, ProfileError> {
    let function = profile.function(function)?;
    frame_text(profile, &function, line, str::to_owned)
}

fn frame_text(
    profile: &Profile,
    function: &Function,
    line: u32,
    escape: impl Fn(&str) -> String,
) -> Result<String, ProfileError> {
    let plain_name = profile.string(function.name)?;
    let name = escape(plain_name);
    let file = function.file.map(|file| profile.string(file)).transpose()?;
    let library = profile.library_name(function)?;
    Ok(match function.kind {
        FrameKind::Python => match file.map(escape) {
            Some(file) if line != 0 => format!("{name} ({file}:{line})"),
            Some(file) => format!("{name} ({file})"),
            None => name,
        },
        FrameKind::Native | FrameKind::Interpreter => match library {
            Some(library) if !is_bare_address(plain_name) => {
                format!("{name} ({})", escape(library))
            }
            _ => name,
        },
        FrameKind::Kernel => name,
        FrameKind::Incomplete => format!("[{name}]"),
    })
}

/// `[library+0xoffset]`: the library is in the name already.
fn is_bare_address(name: &str) -> bool {
    name.starts_with('[') && name.ends_with(']') && name.contains("+0x")
}

fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Some readers (Python's splitlines) take the two separators for ends of line.
            ';' | '\u{2028}' | '\u{2029}' => text.extend(character.escape_unicode()),
            _ if character.is_control() => text.extend(character.escape_unicode()),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests;
