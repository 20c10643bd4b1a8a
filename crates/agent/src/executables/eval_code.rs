//! Where an interpreter's evaluation loop is, whose calls are the native frames that run Python.

use std::{fs::File, ops::Range};

use viperf_abi::Word;
use viperf_cpython::Interpreter;
use viperf_elf::Image;

use super::{Executables, PythonKind, read_code_at, read_file};

/// With all instructions in it the evaluation loop of 3.14 and 3.15 has 60 to 90 KB.
const LARGEST_EVAL_WITHOUT_INSTRUCTIONS: u64 = 16 << 10;

impl Executables {
    /// Whether native code runs Python frames one by one.
    pub(crate) fn is_eval(&self, number: u32, svma: u64) -> bool {
        let executable = self.find(number);
        executable.is_some_and(|found| found.eval.iter().any(|part| part.contains(&svma)))
    }

    /// Whether it is an interpreter whose instructions are functions that jump to each other, so that eval itself is
    /// small.
    pub(crate) fn has_tail_calls(&self, number: u32) -> bool {
        let Some(executable) = self.find(number) else {
            return false;
        };
        let size: u64 = executable
            .eval
            .iter()
            .map(|part| part.end - part.start)
            .sum();
        matches!(&executable.python, PythonKind::Readable(python) if may_have_tail_calls(python))
            && (1..LARGEST_EVAL_WITHOUT_INSTRUCTIONS).contains(&size)
    }

    /// Whether no frame of a native stack is a call of that interpreter's evaluation loop: where the stack is whole, no Python
    /// runs on it, as while the interpreter starts. False where the loop is not known, for then any frame could be one.
    pub(crate) fn is_without_eval(&self, python: u32, native: &[u64]) -> bool {
        let Some(interpreter) = self.find(python) else {
            return false;
        };
        if self.has_tail_calls(python) {
            return false;
        }
        let eval = match interpreter.eval.is_empty() {
            true => {
                let find = || find_eval(&interpreter.file);
                interpreter.eval_when_asked.get_or_init(find)
            }
            false => &interpreter.eval,
        };
        let is_eval = |word: &u64| match Word::decode(*word) {
            Word::Native { executable, svma } => {
                executable == python && eval.iter().any(|part| part.contains(&svma))
            }
            _ => false,
        };
        !eval.is_empty() && !native.iter().any(is_eval)
    }
}

/// Clang can build CPython so from 3.14 on.
pub(super) fn may_have_tail_calls(interpreter: &Interpreter) -> bool {
    (interpreter.layout.major, interpreter.layout.minor) >= (3, 14)
}

/// The code of the evaluation loop; empty if it cannot be found, and then its frames are shown as they are.
pub(super) fn find_eval(file: &File) -> Vec<Range<u64>> {
    let Some(mut bytes) = read_file(file, is_wanted_for_eval) else {
        return Vec::new();
    };
    let place = Image::parse(&bytes).ok().and_then(|image| {
        let (svma, length) = viperf_cpython::eval_function_code(&image)?;
        Some((image.file_offset(svma)?, length))
    });
    read_code_at(file, &mut bytes, place);
    let Ok(image) = Image::parse(&bytes) else {
        return Vec::new();
    };
    let parts = viperf_unwind::find_moved_parts(&image).unwrap_or_default();
    viperf_cpython::find_eval_function(&image, &parts)
}

fn is_wanted_for_eval(section: &str, _all: &[&str]) -> bool {
    matches!(
        section,
        ".dynsym" | ".dynstr" | ".symtab" | ".strtab" | ".eh_frame" | ".eh_frame_hdr"
    )
}
