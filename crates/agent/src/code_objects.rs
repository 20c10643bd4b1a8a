//! Code objects by the numbers that the kernel gave them: names and lines.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

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

/// What a code object says. Each process has code objects of its own, and most of them say what those of others do.
#[derive(Debug, PartialEq, Eq, Hash)]
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

/// So many distinct definitions are kept before those that no process has any more are looked for.
const FEWEST_KEPT: usize = 4096;

/// All definitions of a recording.
#[derive(Debug, Default)]
pub(crate) struct CodeObjects {
    definitions: HashMap<u32, Rc<Definition>>,
    /// The ids that belong to a process, by its epoch.
    by_epoch: HashMap<u32, Vec<u32>>,
    /// Each that is in use, once; and some that were.
    distinct: HashSet<Rc<Definition>>,
    /// How many there may be until those that were are let go.
    sweep_at: usize,
    /// Those of the distinct definitions. One that was let go and comes again has another number, and the same row in a profile.
    by_function: HashMap<PythonFunction, u32>,
    next_function: u32,
    /// Those that have not been handed over, in the order of their numbers.
    new_functions: Vec<PythonFunction>,
    /// Numbers that come in no new stack any more, and of which that has not been said.
    gone_functions: Vec<u32>,
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

    /// The functions that are new since the last call, in the order of their numbers.
    pub(crate) fn take_new(&mut self) -> Vec<PythonFunction> {
        std::mem::take(&mut self.new_functions)
    }

    /// The functions that no process has any more. Stacks with frames of them have been defined before, and no other ones are.
    pub(crate) fn take_gone(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.gone_functions)
    }

    /// The number of a function.
    fn number(&mut self, function: PythonFunction) -> u32 {
        let next = self.next_function;
        let number = self
            .by_function
            .entry(function)
            .or_insert_with_key(|function| {
                self.new_functions.push(function.clone());
                next
            });
        if *number == next {
            self.next_function += 1;
        }
        *number
    }

    fn insert(
        &mut self,
        record: &CodeRecord,
        function: Option<PythonFunction>,
        line_table: Vec<u8>,
    ) {
        // Before the function has its number: nothing else holds it until its definition does.
        self.sweep();
        let function = function.map(|function| self.number(function));
        let first_line = record.first_line;
        let lines = line_table_kind(record.line_table_kind)
            .map(|kind| LineTable::decode(kind, line_table, first_line));
        let definition = Definition {
            function,
            lines,
            first_line,
        };
        let definition = match self.distinct.get(&definition) {
            Some(known) => Rc::clone(known),
            None => {
                let new = Rc::new(definition);
                self.distinct.insert(Rc::clone(&new));
                new
            }
        };
        self.definitions.insert(record.id, definition);
        self.by_epoch
            .entry(record.epoch)
            .or_default()
            .push(record.id);
    }

    /// A process is gone, and all of its stacks have come.
    pub(crate) fn forget(&mut self, epoch: u32) {
        for id in self.by_epoch.remove(&epoch).into_iter().flatten() {
            self.definitions.remove(&id);
        }
    }

    /// Lets definitions go that no process has any more, and their functions, once they may be half of all.
    fn sweep(&mut self) {
        if self.distinct.len() < self.sweep_at.max(FEWEST_KEPT) {
            return;
        }
        self.distinct.retain(|kept| Rc::strong_count(kept) > 1);
        self.sweep_at = 2 * self.distinct.len();
        let functions = self.distinct.iter().filter_map(|kept| kept.function);
        let in_use: HashSet<u32> = functions.collect();
        let gone = self
            .by_function
            .extract_if(|_, number| !in_use.contains(number));
        self.gone_functions.extend(gone.map(|(_, number)| number));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u32, epoch: u32) -> CodeRecord {
        CodeRecord {
            header: viperf_abi::RecordHeader::default(),
            id,
            epoch,
            tgid: 1,
            first_line: 7,
            address: 0x1000,
            flags: 0,
            line_table_size: 0,
            line_table_captured: 0,
            line_table_kind: 0,
            line_table_address: 0,
            qualname: viperf_abi::TextHeader::default(),
            filename: viperf_abi::TextHeader::default(),
            class_address: 0,
            class_name: [0; viperf_abi::limit::CLASS_NAME_BYTES],
            qualname_bytes: [0; viperf_abi::limit::MAX_TEXT_BYTES],
            filename_bytes: [0; viperf_abi::limit::MAX_TEXT_BYTES],
        }
    }

    fn function(name: &str) -> Option<PythonFunction> {
        Some(PythonFunction {
            qualname: name.to_owned(),
            filename: "a.py".to_owned(),
            first_line: 7,
        })
    }

    #[test]
    fn what_two_processes_have_in_common_is_kept_once_and_as_long_as_one_lives() {
        let mut codes = CodeObjects::default();
        codes.insert(&record(1, 10), function("f"), vec![1, 2]);
        codes.insert(&record(2, 20), function("f"), vec![1, 2]);
        codes.insert(&record(3, 20), function("g"), vec![1, 2]);
        assert_eq!((codes.definitions.len(), codes.distinct.len()), (3, 2));
        codes.forget(20);
        assert_eq!(codes.place(2, 0), Place::Unknown);
        assert!(matches!(codes.place(1, 0), Place::Line { function: 0, .. }));
        codes.forget(10);
        assert!(codes.definitions.is_empty() && codes.by_epoch.is_empty());
    }

    #[test]
    fn definitions_that_no_process_has_are_let_go_and_others_stay() {
        let mut codes = CodeObjects::default();
        codes.insert(&record(0, 1), function("stays"), Vec::new());
        for id in 1..=3 * FEWEST_KEPT as u32 {
            codes.insert(&record(id, 2), function(&format!("f{id}")), Vec::new());
            codes.forget(2);
        }
        assert!(
            codes.distinct.len() <= FEWEST_KEPT,
            "{}",
            codes.distinct.len()
        );
        assert!(matches!(codes.place(0, 0), Place::Line { .. }));
        assert_eq!(codes.by_function.len(), codes.distinct.len());
    }

    #[test]
    fn a_function_whose_code_is_gone_is_let_go_once_and_has_another_number_when_it_comes_again() {
        let mut codes = CodeObjects::default();
        codes.insert(&record(0, 1), function("stays"), Vec::new());
        for id in 1..=FEWEST_KEPT as u32 {
            codes.insert(&record(id, 2), function(&format!("f{id}")), Vec::new());
            codes.forget(2);
        }
        let told = codes.take_new();
        let gone = codes.take_gone();
        assert_eq!(gone.len(), FEWEST_KEPT - 1);
        assert!(gone.iter().all(|number| (*number as usize) < told.len()));
        assert!(codes.take_gone().is_empty());
        codes.insert(&record(9, 3), function("f1"), Vec::new());
        codes.insert(&record(10, 3), function("stays"), Vec::new());
        let number_of = |id| match codes.place(id, 0) {
            Place::Line { function, .. } => function,
            other => unreachable!("{other:?}"),
        };
        assert_eq!((number_of(9), number_of(10)), (told.len() as u32, 0));
        assert_eq!(codes.take_new(), [function("f1").unwrap()]);
    }
}
