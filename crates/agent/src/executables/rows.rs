//! The unwind rows of one file: those of its tables at once, those of its instructions from a thread of their own, for they
//! can take a second, and samples wait for nobody.

use std::{
    fs::File,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use viperf_abi::UnwindRow;
use viperf_elf::Image;
use viperf_unwind::{Row, RowTable, Rule, Step};

use super::{GREENLET_PREFIX, read_code_at, read_file};

/// greenlet's function that starts a greenlet.
const GREENLET_START: &[u8] = b"g_initialstub";

/// So many bytes of code are looked at within a third of a second. Compilers, which many builds run for a moment each, have more.
const CHEAP: usize = 1 << 20;

/// And so many in no time.
const AT_ONCE: usize = 64 << 10;
const FEW_ROWS: usize = 1000;

/// The rows of a file's tables; and whether its instructions can tell more.
#[derive(Debug, Default)]
pub(super) struct FileRows {
    pub(super) rows: Vec<UnwindRow>,
    pub(super) can_be_more: bool,
    /// And whether that takes little time.
    pub(super) is_cheap: bool,
    /// Bytes of code that would be looked at.
    code: usize,
}

/// Rows by the tables of a file; none when it cannot be read. `name` is the last part of its path.
pub(super) fn build_rows(file: &File, name: &str) -> FileRows {
    let built = build(file, name, false).unwrap_or_default();
    // Little code; or a file that its tables say next to nothing of, as musl, which every stack of its processes goes through.
    let is_wanted_at_once =
        built.code <= AT_ONCE || (built.is_cheap && built.rows.len() < FEW_ROWS);
    if built.can_be_more && is_wanted_at_once {
        return FileRows {
            rows: build_all_rows(file, name),
            ..FileRows::default()
        };
    }
    built
}

/// Rows by the tables and the instructions of a file.
fn build_all_rows(file: &File, name: &str) -> Vec<UnwindRow> {
    let built = build(file, name, true);
    built.map(|built| built.rows).unwrap_or_default()
}

fn build(file: &File, name: &str, with_instructions: bool) -> Option<FileRows> {
    let is_greenlet = name.starts_with(GREENLET_PREFIX);
    let wanted = match is_greenlet {
        true => is_wanted_for_rows_and_symbols,
        false => is_wanted_for_rows,
    };
    let mut bytes = read_file(file, wanted)?;
    let image = Image::parse(&bytes).ok()?;
    // Without any tables the instructions may still tell.
    let mut table = viperf_unwind::build_rows_of_images(&image, None).unwrap_or_default();
    let code = viperf_unwind::find_code_to_analyse(&image, &table);
    let code: Vec<(u64, usize)> = code
        .into_iter()
        .filter_map(|(offset, size)| Some((offset, usize::try_from(size).ok()?)))
        .collect();
    let can_be_more = !code.is_empty();
    let size = code.iter().map(|(_, size)| *size).sum();
    if is_greenlet {
        end_at_greenlets(&image, &mut table);
    }
    if with_instructions {
        read_code_at(file, &mut bytes, code);
        viperf_unwind::analyse_code(&Image::parse(&bytes).ok()?, &mut table);
    }
    let rows = table.rows.iter().map(|row| UnwindRow {
        pc: row.pc,
        rule: row.rule.0,
    });
    Some(FileRows {
        rows: rows.collect(),
        can_be_more,
        is_cheap: size <= CHEAP,
        code: size,
    })
}

/// A greenlet's stack begins where greenlet's library starts it. What lies above is not its caller: the library copies parts
/// of stacks away and back
/// (<https://github.com/python-greenlet/greenlet/blob/3.1.1/src/greenlet/TUserGreenlet.cpp>).
fn end_at_greenlets(image: &Image<'_>, table: &mut RowTable) {
    for (name, symbol) in image.symbols() {
        let is_start = name
            .windows(GREENLET_START.len())
            .any(|part| part == GREENLET_START);
        let end = symbol.svma.0.saturating_add(symbol.size);
        let (Ok(start), Ok(end)) = (u32::try_from(symbol.svma.0), u32::try_from(end)) else {
            continue;
        };
        if !is_start || start >= end {
            continue;
        }
        let behind = viperf_unwind::find_rule(&table.rows, end);
        table.rows.retain(|row| !(start..=end).contains(&row.pc));
        let place = table.rows.partition_point(|row| row.pc < start);
        let rows = [(start, Rule::encode(Step::Root)), (end, behind)];
        let rows = rows.map(|(pc, rule)| Row { pc, rule });
        table.rows.splice(place..place, rows);
    }
}

fn is_wanted_for_rows(section: &str, _all: &[&str]) -> bool {
    viperf_unwind::is_wanted_for_rows(section)
}

fn is_wanted_for_rows_and_symbols(section: &str, all: &[&str]) -> bool {
    is_wanted_for_rows(section, all)
        || matches!(section, ".symtab" | ".strtab" | ".dynsym" | ".dynstr")
}

struct Job {
    number: u32,
    file: File,
    name: String,
}

/// The thread that looks at instructions, one file after the other. It ends with this value.
#[derive(Debug)]
pub(super) struct Analyser {
    jobs: Sender<Job>,
    done: Receiver<(u32, Vec<UnwindRow>)>,
}

impl Analyser {
    /// `None` when the system gives no thread: then files keep the rows of their tables.
    pub(super) fn start() -> Option<Self> {
        let (jobs, to_do) = mpsc::channel::<Job>();
        let (found, done) = mpsc::channel();
        let work = move || {
            for job in to_do {
                let rows = build_all_rows(&job.file, &job.name);
                if found.send((job.number, rows)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("viperf-rows".to_owned())
            .spawn(work)
            .ok()?;
        Some(Self { jobs, done })
    }

    /// Has a file looked at.
    pub(super) fn add(&self, number: u32, file: &File, name: &str) {
        if let Ok(file) = file.try_clone() {
            let name = name.to_owned();
            // The thread is gone only if the analysis has panicked: the rows of the tables remain.
            let _ = self.jobs.send(Job { number, file, name });
        }
    }

    /// What is done by now: rows by the number of the file.
    pub(super) fn take(&self) -> Vec<(u32, Vec<UnwindRow>)> {
        self.done.try_iter().collect()
    }
}
