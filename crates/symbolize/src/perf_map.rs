//! Perf maps: the names that a process gives to the code it generated.
//!
//! A line is `START SIZE NAME`, both numbers hexadecimal.
//! <https://github.com/torvalds/linux/blob/v6.12/tools/perf/Documentation/jit-interface.txt>
//! Lines are in the order in which the functions were made.

use std::io::{self, BufRead, Read};

use crate::code_map::{Code, CodeMap, LONGEST_NAME, readable_name};

/// A line is two numbers and a name; a longer one is left out.
const LONGEST_LINE: u64 = LONGEST_NAME as u64 + 64;

/// The functions of one perf map. A line that cannot be understood, or is not finished yet, is left out.
pub(crate) fn decode_perf_map(mut map: impl BufRead) -> io::Result<CodeMap> {
    let mut functions = CodeMap::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut map).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(functions);
        }
        match line.strip_suffix(b"\n") {
            Some(line) => {
                if let Some((start, code)) = decode_line(line) {
                    functions.insert(start, code);
                }
            }
            // Too long, or the end of the file.
            None => {
                map.skip_until(b'\n')?;
            }
        }
    }
}

fn decode_line(line: &[u8]) -> Option<(u64, Code)> {
    let mut parts = line.trim_ascii().splitn(3, |&byte| byte == b' ');
    let start = decode_number(parts.next()?)?;
    let size = decode_number(parts.next()?)?;
    let name = readable_name(parts.next()?);
    let code = Code {
        end: start.checked_add(size)?,
        name: name.into(),
        lines: Box::default(),
    };
    Some((start, code))
}

fn decode_number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    // `from_str_radix` takes a sign, too.
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    are_digits.then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &[u8] = b"\
7f0000001000 10 py::first:/srv/app.py
0x7f0000001010 0x10 py::second with spaces:/srv/app.py
7f0000002000 20 old
7f0000002000 8 new
nonsense
7f0000009000 0 empty
ffffffffffffffff 10 too far
-1 10 signed
7f0000003000 10 half a li";

    fn name_at(map: &CodeMap, address: u64) -> Option<String> {
        map.find(address).map(|symbol| symbol.name)
    }

    #[test]
    fn an_address_belongs_to_the_function_whose_size_covers_it() {
        let map = decode_perf_map(MAP).unwrap();
        assert_eq!(name_at(&map, 0x7f00_0000_100f).unwrap(), "py::first");
        let file = map.find(0x7f00_0000_1000).unwrap().file;
        assert_eq!(file.as_deref(), Some("/srv/app.py"));
        assert_eq!(
            name_at(&map, 0x7f00_0000_1010).unwrap(),
            "py::second with spaces"
        );
        assert_eq!(name_at(&map, 0x7f00_0000_1020), None);
        assert_eq!(name_at(&map, 0), None);
    }

    #[test]
    fn of_two_lines_about_one_address_the_later_holds() {
        let map = decode_perf_map(MAP).unwrap();
        assert_eq!(name_at(&map, 0x7f00_0000_2000).unwrap(), "new");
        assert_eq!(name_at(&map, 0x7f00_0000_2010), None);
    }

    #[test]
    fn lines_that_make_no_sense_or_are_not_finished_are_left_out() {
        assert_eq!(decode_perf_map(MAP).unwrap().len(), 3);
    }

    #[test]
    fn an_endless_line_costs_no_memory_and_hides_no_other() {
        let mut map = b"1000 10 ".to_vec();
        map.extend(std::iter::repeat_n(b'x', 1 << 20));
        map.extend(b"\n2000 10 after\n");
        let functions = decode_perf_map(&*map).unwrap();
        assert_eq!(functions.len(), 1);
        assert_eq!(name_at(&functions, 0x2000).unwrap(), "after");
    }
}
