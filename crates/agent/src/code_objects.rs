//! Code objects by the numbers that the kernel gave them: names and lines.

use std::collections::HashMap;

use viperf_abi::{CODE_SHIM, CodeRecord, CodeText};
use viperf_cpython::{Layout, code_object, line_table, text};
use viperf_process::Pid;

/// A Python function as people know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PythonFunction {
    pub(crate) qualname: String,
    pub(crate) filename: String,
    pub(crate) first_line: u32,
}

/// One code object.
#[derive(Debug)]
struct Definition {
    /// Index into the functions; `None` for CPython's own trampolines, which are not shown.
    function: Option<u32>,
    first_line: i32,
    line_table: Vec<u8>,
}

/// What is known of a code object that a frame names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A function and the line that is executed; 0 when the instruction has none.
    Line { function: u32, line: u32 },
    /// Not a function of the program.
    Hidden,
    /// No definition: its record was lost.
    Unknown,
}

/// All definitions of a recording.
#[derive(Debug, Default)]
pub(crate) struct CodeObjects {
    definitions: HashMap<u32, Definition>,
    functions: Vec<PythonFunction>,
    by_function: HashMap<PythonFunction, u32>,
}

impl CodeObjects {
    /// Takes a definition from the kernel. What did not fit into the record is read from the process, if it still lives
    /// and still has the object there.
    pub(crate) fn define(
        &mut self,
        record: &CodeRecord,
        line_table: &[u8],
        layout: Option<&Layout>,
    ) {
        if record.flags & CODE_SHIM != 0 {
            self.insert(record.id, None, record.first_line, Vec::new());
            return;
        }
        let whole = record.qualname().is_whole()
            && record.filename().is_whole()
            && line_table.len() == record.line_table_size as usize;
        let read = if whole {
            None
        } else {
            layout.and_then(|layout| read_whole(record, line_table, layout))
        };
        if read.is_none() && (record.qualname.kind == 0 || record.filename.kind == 0) {
            // Unknown, which its samples say; the kernel sends it again.
            return;
        }
        let (qualname, filename, line_table) = match read {
            Some(code) => (code.qualname, code.filename, code.line_table),
            None => (
                as_text(record.qualname()),
                as_text(record.filename()),
                line_table.to_vec(),
            ),
        };
        let function = PythonFunction {
            qualname,
            filename,
            first_line: u32::try_from(record.first_line).unwrap_or(0),
        };
        self.insert(record.id, Some(function), record.first_line, line_table);
    }

    /// The function and line of a frame.
    pub(crate) fn place(&self, code: u32, unit: i32) -> Place {
        let Some(definition) = self.definitions.get(&code) else {
            return Place::Unknown;
        };
        let Some(function) = definition.function else {
            return Place::Hidden;
        };
        // Before the first instruction CPython shows the line of the definition.
        let line = line_table::find_line(&definition.line_table, definition.first_line, unit)
            .or_else(|| {
                (unit < 0)
                    .then(|| u32::try_from(definition.first_line).ok())
                    .flatten()
            });
        Place::Line {
            function,
            line: line.unwrap_or(0),
        }
    }

    /// The function with this index.
    pub(crate) fn function(&self, index: u32) -> Option<&PythonFunction> {
        self.functions.get(index as usize)
    }

    fn insert(
        &mut self,
        id: u32,
        function: Option<PythonFunction>,
        first_line: i32,
        line_table: Vec<u8>,
    ) {
        let function = function.map(|function| {
            *self
                .by_function
                .entry(function)
                .or_insert_with_key(|function| {
                    self.functions.push(function.clone());
                    self.functions.len() as u32 - 1
                })
        });
        self.definitions.insert(
            id,
            Definition {
                function,
                first_line,
                line_table,
            },
        );
    }
}

/// Reads the object again, and believes it only if it is still the same.
fn read_whole(
    record: &CodeRecord,
    line_table: &[u8],
    layout: &Layout,
) -> Option<code_object::CodeObject> {
    let pid = Pid(record.tgid);
    let read =
        |address: u64, bytes: &mut [u8]| viperf_process::read_memory(pid, address, bytes).is_ok();
    let code = code_object::read(layout, record.address, read).ok()?;
    let same =
        |text: CodeText<'_>, whole: &str| whole.starts_with(as_text(text).trim_end_matches('…'));
    let unchanged = code.first_line == record.first_line
        && same(record.qualname(), &code.qualname)
        && same(record.filename(), &code.filename)
        && code.line_table.starts_with(line_table);
    unchanged.then_some(code)
}

/// The captured characters; an ellipsis when there are more.
fn as_text(text: CodeText<'_>) -> String {
    let mut decoded = text::decode(text.header.kind, text.header.ascii != 0, text.bytes);
    if !text.is_whole() {
        decoded.push('…');
    }
    decoded
}
