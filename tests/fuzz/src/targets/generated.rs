//! What processes say of the code that they generate, and the links to separate debug files.

use std::fs;

use viperf_symbolize::readers;
use viperf_unwind::{GeneratedFrames, build_rows_of_generated_code};

use super::elf::{sections, small_libraries};
use crate::Target;

/// Perf maps.
#[must_use]
pub fn perf_map() -> Target {
    Target {
        name: "perf-map",
        seeds: || {
            let lines = (0..200_u64).map(|number| {
                let start = 0x7f00_0000_1000 + number * 64;
                format!("{start:x} 40 py::function_{number}:/srv/file.py\n")
            });
            let other = "0x7f0000002000 0x20 old\n7f0000002010 8 new\nffffffffffffffff 10 far\n";
            vec![lines.collect::<String>().into_bytes(), other.into()]
        },
        read: |bytes| {
            let functions = readers::count_perf_map_functions(bytes).unwrap_or_default();
            let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
            assert!(functions <= lines, "more functions than lines");
        },
        allocation_limit: |length| length * 64 + (1 << 16),
    }
}

/// Jitdumps.
#[must_use]
pub fn jitdump() -> Target {
    Target {
        name: "jitdump",
        seeds: || vec![made_up_jitdump(3), made_up_jitdump(40)],
        read: |bytes| {
            let functions = readers::count_jitdump_functions(bytes).unwrap_or_default();
            assert!(functions * 16 <= bytes.len(), "more functions than records");
        },
        allocation_limit: |length| length * 64 + (1 << 18),
    }
}

/// Object files in the memory of a process: real ones, whose sections are said to lie somewhere.
#[must_use]
pub fn jit_object() -> Target {
    Target {
        name: "jit-object",
        seeds: || {
            let names = ["Scrt1.o", "crt1.o", "crti.o", "gcrt1.o"];
            let paths = names.map(|name| format!("/usr/lib/x86_64-linux-gnu/{name}"));
            let files = paths.iter().filter_map(|path| fs::read(path).ok());
            files.map(placed).chain(small_libraries()).collect()
        },
        read: |bytes| {
            std::hint::black_box(readers::count_object_functions(bytes));
        },
        allocation_limit: |length| length * 64 + (1 << 18),
    }
}

/// `.eh_frame` sections of generated code, with the code before them.
#[must_use]
pub fn generated_frames() -> Target {
    const START: u64 = 0x7f00_0000_0000;
    const CODE: usize = 256;
    const MAPPED: usize = 0x3000;
    Target {
        name: "generated-frames",
        seeds: || sections(|image| Some(image.eh_frame()?.data.to_vec())),
        read: |bytes| {
            let (code, frames) = bytes.split_at(bytes.len().min(CODE));
            let mut code = code.to_vec();
            code.resize(MAPPED, 0);
            let half = frames.len() / 2;
            // So far behind its functions as in a small library; and a part of it as another one.
            let frames = [(0, frames), (half, frames.get(half..).unwrap_or_default())];
            let frames = frames.map(|(skipped, bytes)| GeneratedFrames {
                address: START + 0x2000 + skipped as u64,
                bytes: bytes.to_vec(),
            });
            let rows = build_rows_of_generated_code(&code, START, &frames);
            let in_order = |pair: &[_]| matches!(pair, [row, next] if pc(row) < pc(next));
            assert!(rows.windows(2).all(in_order), "the rows are not in order");
            let end = u32::try_from(code.len()).unwrap_or(u32::MAX);
            assert!(
                rows.iter().all(|row| row.pc <= end),
                "a row is not of the code"
            );
        },
        allocation_limit: |length| length * 256 + (1 << 20),
    }
}

/// `.gnu_debuglink` sections.
#[must_use]
pub fn debug_link() -> Target {
    Target {
        name: "debug-link",
        seeds: || {
            let mut seeds = sections(|image| Some(image.section(".gnu_debuglink")?.data.to_vec()));
            seeds.push(b"libexample.so.1.debug\0\0\0\x12\x34\x56\x78".to_vec());
            seeds.push(b"../../etc/passwd\0\0\0\0\x12\x34\x56\x78".to_vec());
            seeds
        },
        read: |bytes| {
            if let Some(name) = readers::find_debug_link(bytes) {
                assert!(!name.contains(&b'/') && !name.contains(&0), "a path");
                assert!(!matches!(&*name, b"" | b"." | b".."), "no file");
            }
        },
        allocation_limit: |length| length * 2 + (1 << 12),
    }
}

fn pc(row: &viperf_unwind::Row) -> u32 {
    row.pc
}

/// Functions with lines, one of which moves.
fn made_up_jitdump(functions: u64) -> Vec<u8> {
    let mut dump = Vec::new();
    for word in [0x4a69_5444_u32, 1, 40, 62, 0, 7] {
        dump.extend(word.to_le_bytes());
    }
    dump.extend([0; 16]);
    let mut record = |kind: u32, body: &[u8]| {
        let size = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
        dump.extend([kind, size].map(u32::to_le_bytes).concat());
        dump.extend(1_u64.to_le_bytes());
        dump.extend(body);
    };
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for number in 0..functions {
        let start = 0x7f00_0000_0000 + number * 64;
        let mut lines: Vec<u8> = words(&[start, 1, start]);
        lines.extend([7_u32, 0].map(u32::to_le_bytes).concat());
        lines.extend(b"/srv/file.py\0");
        record(2, &lines);
        let mut load = [7_u32, 7].map(u32::to_le_bytes).concat();
        let place: Vec<u8> = words(&[start, start, 32, number]);
        load.extend(place);
        load.extend(format!("function_{number}\0").bytes());
        load.extend([0x90; 32]);
        record(0, &load);
    }
    let mut moved = [7_u32, 7].map(u32::to_le_bytes).concat();
    let place: Vec<u8> = words(&[0x7f00_0000_0000, 0x7f00_0000_0000, 0x7f00_1000_0000, 32, 0]);
    moved.extend(place);
    record(1, &moved);
    dump
}

/// An object file with an address for each section, as the linker of a compiler at run time fills them in.
fn placed(mut object: Vec<u8>) -> Vec<u8> {
    const HEADER: usize = 64;
    let number = |at: usize, size: usize| {
        let bytes = object.get(at..at + size).unwrap_or_default().iter().rev();
        bytes.fold(0_usize, |number, &byte| number << 8 | usize::from(byte))
    };
    let (headers, count) = (number(40, 8), number(60, 2));
    for index in 1..count {
        let address = 0x7f00_0000_0000 + 0x1000 * index as u64;
        let at = headers + HEADER * index + 16;
        if let Some(place) = object.get_mut(at..at + 8) {
            place.copy_from_slice(&address.to_le_bytes());
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_what_they_should_be() {
        for seed in (perf_map().seeds)() {
            assert!(readers::count_perf_map_functions(&seed).is_some_and(|count| count > 0));
        }
        for (seed, functions) in (jitdump().seeds)().into_iter().zip([3, 40]) {
            assert_eq!(readers::count_jitdump_functions(&seed), Some(functions));
        }
        if !fs::exists("/usr/lib/x86_64-linux-gnu/Scrt1.o").unwrap_or(false) {
            println!("skipped: objects: there is no Scrt1.o");
            return;
        }
        let objects = (jit_object().seeds)();
        let functions = objects
            .iter()
            .filter_map(|seed| readers::count_object_functions(seed));
        assert!(functions.sum::<usize>() > 0);
    }
}
