//! Line tables, against the interpreters that wrote them.
//!
//! Each interpreter of this machine compiles its whole standard library, and says itself on which line each
//! instruction is (`fixtures/python/line_oracle.py`); each answer is compared with ours.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the whole file is tests")]

use std::{
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use viperf_cpython::line_table::{LineTable, LineTableKind, Position};
use viperf_e2e::Interpreter;

const ORACLE: &str = include_str!("../../../fixtures/python/line_oracle.py");

/// Most differences that are shown of one interpreter.
const SHOWN: usize = 5;

/// What an interpreter says of one code object; the fields are described in the script.
struct Code {
    name: String,
    first_line: i32,
    table: Vec<u8>,
    step: i32,
    positions: usize,
    lines: Vec<i32>,
    stride: usize,
    addresses: Vec<i32>,
    after: i32,
    places: Vec<i32>,
    live: Vec<i32>,
}

struct Stream<R>(R);

impl<R: BufRead> Stream<R> {
    fn read_number(&mut self) -> io::Result<i32> {
        let mut bytes = [0; 4];
        self.0.read_exact(&mut bytes)?;
        Ok(i32::from_le_bytes(bytes))
    }

    fn read_count(&mut self) -> io::Result<usize> {
        usize::try_from(self.read_number()?).map_err(io::Error::other)
    }

    fn read_text(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.read_count()?];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn read_array(&mut self) -> io::Result<Vec<i32>> {
        let mut bytes = vec![0; 4 * self.read_count()?];
        self.0.read_exact(&mut bytes)?;
        let (numbers, _) = bytes.as_chunks();
        Ok(numbers
            .iter()
            .map(|bytes| i32::from_le_bytes(*bytes))
            .collect())
    }

    /// The next code object; `None` at the end.
    fn read_code(&mut self) -> io::Result<Option<Code>> {
        if self.0.fill_buf()?.is_empty() {
            return Ok(None);
        }
        Ok(Some(Code {
            name: String::from_utf8_lossy(&self.read_text()?).into_owned(),
            first_line: self.read_number()?,
            table: self.read_text()?,
            step: self.read_number()?,
            positions: self.read_count()?,
            lines: self.read_array()?,
            stride: self.read_count()?,
            addresses: self.read_array()?,
            after: self.read_number()?,
            places: self.read_array()?,
            live: self.read_array()?,
        }))
    }
}

/// What came out of the comparison with one interpreter.
#[derive(Default)]
struct Figures {
    code_objects: usize,
    positions: usize,
    by_address: usize,
    live: usize,
    different: usize,
    shown: Vec<String>,
}

impl Figures {
    fn expect<T: PartialEq + std::fmt::Debug>(
        &mut self,
        code: &Code,
        position: i32,
        found: T,
        expected: T,
    ) {
        if found == expected {
            return;
        }
        self.different += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(format!(
                "{}: position {position}: found {found:?}, the interpreter says {expected:?}",
                code.name
            ));
        }
    }

    fn compare(&mut self, kind: LineTableKind, code: &Code) {
        let table = LineTable::decode(kind, code.table.clone(), code.first_line);
        let positions = (0..).step_by(code.step as usize).take(code.positions);
        let found: Vec<Option<Position>> = positions.map(|position| table.find(position)).collect();
        self.code_objects += 1;
        self.positions += found.len();
        let position_at = |index: usize| i32::try_from(index).unwrap() * code.step;

        let (places, _) = code.places.as_chunks::<4>();
        for (index, (found, expected)) in found.iter().zip(places).enumerate() {
            self.expect(code, position_at(index), numbers(*found), *expected);
        }
        assert!(places.is_empty() || places.len() == found.len());

        let (ranges, _) = code.lines.as_chunks::<3>();
        let expected = ranges.iter().flat_map(|&[start, end, line]| {
            let positions = usize::try_from((end - start) / code.step).unwrap();
            std::iter::repeat_n(line, positions)
        });
        let expected: Vec<i32> = expected.collect();
        assert_eq!(expected.len(), found.len(), "{}", code.name);
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            self.expect(code, position_at(index), line(*found), expected);
        }

        let strided = (0..found.len()).step_by(code.stride);
        assert!(code.addresses.is_empty() || code.addresses.len() == strided.len());
        for (index, &expected) in strided.zip(&code.addresses) {
            self.expect(code, position_at(index), line(found[index]), expected);
        }
        self.by_address += code.addresses.len();

        let (live, _) = code.live.as_chunks::<2>();
        for &[position, expected] in live {
            self.expect(code, position, line(table.find(position)), expected);
            self.live += 1;
        }

        // One look at a table agrees with the many; and before and after the code it is as in the interpreter.
        for index in (0..found.len()).step_by(found.len() / 500 + 1) {
            let position = position_at(index);
            let once = kind.find_position(&code.table, code.first_line, position);
            self.expect(code, position, once, found[index]);
        }
        self.expect(code, -1, line(table.find(-1)), code.first_line);
        if !code.addresses.is_empty() {
            self.expect(code, i32::MAX, line(table.find(i32::MAX)), code.after);
        }
    }
}

/// The line, with −1 for none.
fn line(position: Option<Position>) -> i32 {
    numbers(position)[0]
}

/// As `co_positions()` gives it, with −1 for none.
fn numbers(position: Option<Position>) -> [i32; 4] {
    let number = |number: Option<u32>| number.map_or(-1, |number| i32::try_from(number).unwrap());
    [
        number(position.map(|position| position.line)),
        number(position.map(|position| position.end_line)),
        number(position.and_then(|position| position.start_column)),
        number(position.and_then(|position| position.end_column)),
    ]
}

fn kind_of(major: i32, minor: i32) -> LineTableKind {
    match (major, minor) {
        (2, 7) => LineTableKind::LnotabUnsigned,
        (3, 6..=9) => LineTableKind::LnotabSigned,
        (3, 10) => LineTableKind::Ranges,
        (3, 11..) => LineTableKind::Locations,
        _ => panic!("no table kind for {major}.{minor}"),
    }
}

/// Compares everything with one interpreter; gives a line to print, and the number of differences.
fn compare_with(program: &Path) -> (String, usize) {
    let mut child = Command::new(program)
        .args(["-c", ORACLE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut stream = Stream(BufReader::with_capacity(
        1 << 20,
        child.stdout.take().unwrap(),
    ));
    let mut read_numbers = || -> io::Result<[i32; 4]> {
        Ok([
            stream.read_number()?,
            stream.read_number()?,
            stream.read_number()?,
            stream.read_number()?,
        ])
    };
    let [major, minor, micro, by_address] =
        read_numbers().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let kind = kind_of(major, minor);
    let mut figures = Figures::default();
    while let Some(code) = stream.read_code().unwrap() {
        figures.compare(kind, &code);
    }
    assert!(child.wait().unwrap().success(), "{}", program.display());
    assert!(figures.code_objects > 3_000, "{}", program.display());
    assert!(figures.live > 20_000, "{}", program.display());
    assert_eq!(by_address == 1, figures.by_address != 0);
    let mut text = format!(
        "line tables {major}.{minor}.{micro}: {} code objects, {} positions, {} different \
         ({} asked of PyCode_Addr2Line, {} seen in live frames; {})",
        with_commas(figures.code_objects),
        with_commas(figures.positions),
        with_commas(figures.different),
        with_commas(figures.by_address),
        with_commas(figures.live),
        program.display(),
    );
    for difference in &figures.shown {
        text += "\n    ";
        text += difference;
    }
    (text, figures.different)
}

fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One of each version, by path.
fn find_interpreters() -> Vec<PathBuf> {
    let found = Interpreter::find_one_of_each();
    found
        .into_iter()
        .map(|interpreter| interpreter.path)
        .collect()
}

#[test]
fn every_instruction_of_every_standard_library_is_on_the_line_its_interpreter_says() {
    let programs = find_interpreters();
    if programs.is_empty() {
        println!("skipped: no Python interpreter on this machine to compare line tables with");
        return;
    }
    let waiting = Mutex::new(programs.into_iter());
    let next = || waiting.lock().unwrap().next();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let different: usize = thread::scope(|scope| {
        let work = || {
            let mut different = 0;
            while let Some(program) = next() {
                let (text, count) = compare_with(&program);
                println!("{text}");
                different += count;
            }
            different
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    assert_eq!(different, 0, "positions on another line, see above");
}
