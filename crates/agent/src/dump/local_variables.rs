//! Local variables for the frames of a stack.

use std::time::Duration;

use viperf_cpython::{FrameLocals, Interpreter, read_locals};
use viperf_profile::{DumpedFrame, FrameKind, Local};

use crate::bounded_reader::BoundedReader;

/// One thread may take so long; an ordinary one takes a millisecond, on a machine that is overloaded a hundred.
const LIMIT: Duration = Duration::from_millis(300);

/// Those of a thread's frames, innermost first; empty where there is none to be read.
pub(super) fn read(pid: u32, interpreter: &Interpreter, thread_state: u64) -> Vec<FrameLocals> {
    let Some(objects) = interpreter.objects.as_ref().filter(|_| thread_state != 0) else {
        return Vec::new();
    };
    let reader = BoundedReader::new(pid, LIMIT);
    read_locals(
        &interpreter.layout,
        objects,
        thread_state,
        |address, bytes| reader.read(address, bytes),
    )
}

/// Gives the frames their variables. Both are innermost first; only what CPython itself runs is in one list alone, so a frame
/// takes the next of its name and line.
pub(super) fn assign(frames: &mut [DumpedFrame], mut locals: &[FrameLocals]) {
    let python = frames
        .iter_mut()
        .filter(|frame| frame.kind == FrameKind::Python);
    for frame in python {
        let is_same = |found: &FrameLocals| {
            let bare = frame.function.rsplit('.').next().unwrap_or_default();
            found.code_name == bare && u32::try_from(found.first_line) == Ok(frame.first_line)
        };
        let Some(index) = locals.iter().position(is_same) else {
            continue;
        };
        let (taken, rest) = locals.split_at(index + 1);
        locals = rest;
        frame.locals = taken.last().map(|found| {
            let variables = found.variables.iter().map(|(name, value)| Local {
                name: name.clone(),
                value: value.clone(),
            });
            variables.collect()
        });
    }
}

#[cfg(test)]
mod tests {
    use viperf_profile::SourceRange;

    use super::*;

    fn frame(function: &str, first_line: u32) -> DumpedFrame {
        DumpedFrame {
            kind: FrameKind::Python,
            function: function.to_owned(),
            file: None,
            library: None,
            source: SourceRange::default(),
            first_line,
            address: 0,
            inlined: false,
            text: None,
            locals: None,
        }
    }

    fn locals(code_name: &str, first_line: i32, value: &str) -> FrameLocals {
        FrameLocals {
            code_name: code_name.to_owned(),
            first_line,
            variables: vec![("x".to_owned(), value.to_owned())],
        }
    }

    #[test]
    fn each_frame_has_its_own_also_in_a_recursion_and_across_a_trampoline() {
        let mut frames = [
            frame("f.<locals>.g", 5),
            frame("f.<locals>.g", 5),
            frame("C.run", 1),
        ];
        let found = [
            locals("g", 5, "1"),
            locals("<shim>", 0, "2"),
            locals("g", 5, "3"),
            locals("run", 1, "4"),
        ];
        assign(&mut frames, &found);
        let values = frames.map(|frame| frame.locals.unwrap()[0].value.clone());
        assert_eq!(values, ["1", "3", "4"]);
    }

    #[test]
    fn a_frame_of_which_nothing_was_read_has_none() {
        let mut frames = [frame("other", 9), frame("g", 5)];
        assign(&mut frames, &[locals("g", 5, "1")]);
        assert_eq!(frames[0].locals, None);
        assert!(frames[1].locals.is_some());
    }
}
