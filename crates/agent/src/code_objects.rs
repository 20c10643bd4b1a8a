//! Code objects by the numbers that the kernel gave them: names and lines.

use std::collections::HashMap;

use viperf_abi::{CODE_SHIM, CodeRecord, CodeText};
use viperf_cpython::{
    Interpreter, Layout, code_object,
    line_table::{LineTable, Position},
    text,
};
use viperf_process::Pid;
use viperf_profile::SourceRange;

use crate::{layout::line_table_kind, method_names::MethodNames};

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
    /// `None` when its kind is not known.
    lines: Option<LineTable>,
    first_line: i32,
}

/// What is known of a code object that a frame names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A function and what is executed of it; line 0 when the instruction has none.
    Line { function: u32, source: SourceRange },
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
    methods: MethodNames,
}

impl CodeObjects {
    /// Takes a definition from the kernel. What did not fit into the record is read from the process, if it still lives
    /// and still has the object there.
    pub(crate) fn define(
        &mut self,
        record: &CodeRecord,
        line_table: &[u8],
        python: Option<&Interpreter>,
    ) {
        if record.flags & CODE_SHIM != 0 {
            self.insert(record, None, Vec::new());
            return;
        }
        let whole = record.qualname().is_whole()
            && record.filename().is_whole()
            && line_table.len() == record.line_table_size as usize;
        let read = if whole {
            None
        } else {
            python.and_then(|python| read_whole(record, line_table, &python.layout))
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
            qualname: self.methods.complete(qualname, record, python),
            filename,
            first_line: u32::try_from(record.first_line).unwrap_or(0),
        };
        self.insert(record, Some(function), line_table);
    }

    /// The function and line of a frame.
    pub(crate) fn place(&self, code: u32, unit: i32) -> Place {
        let Some(definition) = self.definitions.get(&code) else {
            return Place::Unknown;
        };
        let Some(function) = definition.function else {
            return Place::Hidden;
        };
        let lines = definition.lines.as_ref();
        let position = lines.and_then(|lines| lines.find(unit));
        let source = match position {
            Some(position) => as_source(position),
            None if is_before_first_line(lines, unit) => {
                SourceRange::from_line(u32::try_from(definition.first_line).unwrap_or(0))
            }
            None => SourceRange::default(),
        };
        Place::Line { function, source }
    }

    /// The function with this index.
    pub(crate) fn function(&self, index: u32) -> Option<&PythonFunction> {
        self.functions.get(index as usize)
    }

    fn insert(
        &mut self,
        record: &CodeRecord,
        function: Option<PythonFunction>,
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
        let first_line = record.first_line;
        let lines = line_table_kind(record.line_table_kind)
            .map(|kind| LineTable::decode(kind, line_table, first_line));
        self.definitions.insert(
            record.id,
            Definition {
                function,
                lines,
                first_line,
            },
        );
    }
}

/// Before the first instruction CPython shows the line of the definition. Instructions that prepare cells and free
/// variables come before all others, and have no line of their own.
fn is_before_first_line(lines: Option<&LineTable>, unit: i32) -> bool {
    const LAST_OF_THEM: i32 = 64;
    let has_none = |lines: &LineTable| (0..unit).all(|unit| lines.find(unit).is_none());
    unit < 0 || unit <= LAST_OF_THEM && lines.is_some_and(has_none)
}

/// CPython counts columns from 0.
fn as_source(position: Position) -> SourceRange {
    let from_1 = |column: Option<u32>| column.map_or(0, |column| column.saturating_add(1));
    if position.start_column.is_none() && position.end_line == position.line {
        // Up to 3.10 the end is not known.
        return SourceRange::from_line(position.line);
    }
    SourceRange {
        line: position.line,
        end_line: position.end_line,
        column: from_1(position.start_column),
        end_column: from_1(position.end_column),
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
