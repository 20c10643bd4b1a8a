//! Tests with as many rows as the largest executables have.

use std::time::Instant;

use viperf_elf::Svma;

use crate::{CallerRbp, Cfa, Rule, Step, build_rows, find_rule};

const ROWS_PER_FUNCTION: u32 = 10;
const BYTES_PER_ROW: u32 = 16;
const FUNCTION_LENGTH: u32 = ROWS_PER_FUNCTION * BYTES_PER_ROW;
const CODE: u32 = 0x1000;

/// An `.eh_frame` of so many functions that touch, each pushing nine times, in an order that is not that of the addresses.
fn section_of(functions: u32) -> Vec<u8> {
    let mut section = vec![20, 0, 0, 0, 0, 0, 0, 0, 1];
    section.extend(b"zR\0\x01\x78\x10\x01\x00\x0c\x07\x08\x90\x01\0\0");
    let mut instructions = Vec::new();
    for row in 1..ROWS_PER_FUNCTION {
        let offset = u8::try_from(8 + 8 * row).unwrap();
        instructions.extend([0x40 | u8::try_from(BYTES_PER_ROW).unwrap(), 0x0e, offset]);
    }
    for number in 0..functions {
        // Odd ones first, as a linker that sorts by name could have it.
        let place = if number % 2 == 0 {
            functions - 1 - number / 2
        } else {
            number / 2
        };
        let start = section.len();
        section.extend([0; 4]);
        section.extend(u32::try_from(start + 4).unwrap().to_le_bytes());
        section.extend(u64::from(CODE + place * FUNCTION_LENGTH).to_le_bytes());
        section.extend(u64::from(FUNCTION_LENGTH).to_le_bytes());
        section.push(0);
        section.extend(&instructions);
        section.resize(section.len().next_multiple_of(4), 0);
        let length = u32::try_from(section.len() - start - 4).unwrap();
        section[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
    section
}

/// Half a million rows; `VIPERF_SCALE_ROWS` says another number, such as ten million.
#[test]
fn millions_of_rows_are_built_in_time_that_grows_with_their_number() {
    let wanted = std::env::var("VIPERF_SCALE_ROWS").ok();
    let wanted: u32 = wanted.and_then(|text| text.parse().ok()).unwrap_or(500_000);
    let functions = wanted / ROWS_PER_FUNCTION;
    let mut seconds = Vec::new();
    for functions in [functions / 4, functions] {
        let section = section_of(functions);
        let started = Instant::now();
        let table = build_rows(&section, Svma(0)).unwrap();
        seconds.push(started.elapsed().as_secs_f64());
        println!(
            "{} rows of {functions} functions, {} bytes of .eh_frame: {:.3} s",
            table.rows.len(),
            section.len(),
            started.elapsed().as_secs_f64(),
        );
        assert_eq!(table.fdes, functions as usize);
        assert_eq!(
            table.rows.len(),
            (functions * ROWS_PER_FUNCTION) as usize + 1
        );
        assert_eq!(table.rows.capacity(), table.rows.len());
        for function in (0..functions).step_by(997) {
            let pc = CODE + function * FUNCTION_LENGTH + 3 * BYTES_PER_ROW + 5;
            let expected = Rule::encode(Step::Caller {
                cfa: Cfa::Rsp { offset: 32 },
                rbp: CallerRbp::Unchanged,
            });
            assert_eq!(find_rule(&table.rows, pc), expected);
        }
    }
    // Four times the rows: sixteen times the time if a step were quadratic.
    assert!(seconds[1] < 10.0 * seconds[0] + 0.5, "{seconds:?}");
}
