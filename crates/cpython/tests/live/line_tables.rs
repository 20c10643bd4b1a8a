//! Line tables, against `co_positions()` and `co_lines()` of the interpreter that wrote them.

use serde::Deserialize;
use viperf_cpython::line_table::{Position, entries, find_line, find_position};

use crate::interpreters;

/// Prints one JSON object per code object: of modules of the standard library, and of code that is built to have
/// what those lack (long lines, big columns, no columns at all, a first line far down).
const SCRIPT: &str = r#"
import importlib.util, json, sys, types

def walk(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from walk(constant)

def show(code):
    print(json.dumps({
        'name': code.co_qualname,
        'table': code.co_linetable.hex(),
        'first_line': code.co_firstlineno,
        'lines': list(code.co_lines()),
        'positions': list(code.co_positions()),
    }))

modules = '''
    abc argparse ast asyncio.base_events asyncio.tasks base64 bisect codecs collections contextlib copy csv ctypes
    dataclasses datetime decimal difflib dis doctest email.message enum functools heapq html.parser http.client
    inspect io ipaddress json.decoder logging mailbox multiprocessing.pool numbers optparse os pathlib pickle
    pickletools platform pydoc random re shutil socket sqlite3.dbapi2 ssl statistics string subprocess tarfile
    tempfile textwrap threading tokenize traceback typing unittest.mock urllib.parse urllib.request uuid warnings
    xml.dom.minidom xml.etree.ElementTree zipfile _pydecimal _pyio turtle
'''.split()
for name in modules:
    try:
        spec = importlib.util.find_spec(name) or sys.exit('no module ' + name)
        code = spec.loader.get_code(name)
    except ImportError:
        continue
    for one in walk(code):
        show(one)

wide = 'def f(a):\n    return [' + ', '.join('a[%d]' % i for i in range(3000)) + ']\n'
tall = 'x = [\n' + ',\n'.join(str(i) + ' .real' for i in range(3000)) + '\n]\n'
deep = '\n' * 70000 + 'def g():\n' + '\n' * 200 + '    try:\n        h()\n    finally:\n        i()\n'
back = 'def b(x):\n    for i in range(3):\n        x(\n            1,\n\n\n            2).y\n    return [j for j in x]\n'
for text in (wide, tall, deep, back, 'class A:\n  async def m(self):\n    async with self as s:\n      yield s\n'):
    for one in walk(compile(text, 'made', 'exec')):
        show(one)
        # As compiled under -X no_debug_ranges or by tools: without columns, and with no place at all.
        units = len(one.co_code) // 2
        full = ''.join('%02x' % (0xf8 | n) for n in [7] * (units // 8) + ([units % 8 - 1] if units % 8 else []))
        show(one.replace(co_linetable=bytes.fromhex(full)))
"#;

/// Line, end line, column, end column, each possibly unknown.
type Place = (Option<u32>, Option<u32>, Option<u32>, Option<u32>);

#[derive(Deserialize)]
struct Code {
    name: String,
    table: String,
    first_line: i32,
    lines: Vec<(usize, usize, Option<u32>)>,
    positions: Vec<Place>,
}

fn decode_hexadecimal(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Compares every instruction unit; gives their number.
fn compare(code: &Code) -> usize {
    let table = decode_hexadecimal(&code.table);
    let name = &code.name;
    let decoded: Vec<Option<Position>> = entries(&table, code.first_line)
        .flat_map(|entry| std::iter::repeat_n(entry.position, entry.units as usize))
        .collect();
    assert_eq!(decoded.len(), code.positions.len(), "{name}");
    for (unit, (&expected, position)) in code.positions.iter().zip(&decoded).enumerate() {
        let found = position.map_or((None, None, None, None), |position| {
            let Position {
                line,
                end_line,
                start_column,
                end_column,
            } = position;
            (Some(line), Some(end_line), start_column, end_column)
        });
        assert_eq!(found, expected, "{name}, unit {unit}");
    }
    for &(start, end, line) in &code.lines {
        for unit in start / 2..end / 2 {
            let position = decoded.get(unit).copied().flatten();
            assert_eq!(position.map(|position| position.line), line, "{name}");
        }
    }
    // The search for one instruction agrees with the whole table; long tables at some places only.
    let step = decoded.len() / 500 + 1;
    for unit in (0..decoded.len()).step_by(step) {
        let units = i32::try_from(unit).unwrap();
        assert_eq!(find_position(&table, code.first_line, units), decoded[unit]);
        assert_eq!(
            find_line(&table, code.first_line, units),
            decoded[unit].map(|position| position.line)
        );
    }
    let after = i32::try_from(decoded.len()).unwrap();
    assert_eq!(find_position(&table, code.first_line, after), None);
    decoded.len()
}

#[test]
fn every_instruction_of_the_standard_library_has_the_place_its_interpreter_gives_it() {
    for program in interpreters::supported() {
        let output = interpreters::run(&program, SCRIPT);
        let codes = output
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let units: Vec<usize> = codes.map(|code| compare(&code)).collect();
        assert!(units.len() > 3_000, "{}", program.display());
        println!(
            "{}: {} code objects, {} instruction units agree",
            program.display(),
            units.len(),
            units.iter().sum::<usize>()
        );
    }
}
