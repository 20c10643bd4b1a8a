//! Tests against what binutils' `readelf` says about the same files.

use std::collections::BTreeSet;
use std::process::Command;

use crate::{Image, Svma};

/// Files of every Debian and Ubuntu machine; the last one has a fixed address where it is static.
const FILES: [&str; 3] = [
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
    "/usr/bin/python3.11",
];

/// Runs the check on each file there is with `readelf`'s output.
fn with_each_file(arguments: &str, check: impl Fn(&Image<'_>, &str)) {
    for path in FILES {
        let Ok(bytes) = std::fs::read(path) else {
            println!("skipped: no file {path}");
            continue;
        };
        let Ok(output) = Command::new("readelf").arg(arguments).arg(path).output() else {
            println!("skipped: no readelf");
            return;
        };
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        check(&Image::parse(&bytes).unwrap(), &output);
    }
}

fn hexadecimal(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

#[test]
fn the_build_id_is_the_one_that_readelf_prints() {
    with_each_file("-nW", |image, output| {
        let printed = output
            .lines()
            .find_map(|line| Some(line.split_once("Build ID: ")?.1));
        let ours: String = image
            .build_id()
            .unwrap()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(Some(ours.as_str()), printed);
    });
}

#[test]
fn sections_have_the_addresses_and_sizes_that_readelf_prints() {
    with_each_file("-SW", |image, output| {
        let mut compared = 0;
        for line in output.lines() {
            // "  [ 1] .name TYPE address offset size ..."
            let Some((_, rest)) = line.split_once("] ") else {
                continue;
            };
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let [name, kind, address, _, size, ..] = fields[..] else {
                continue;
            };
            if !name.starts_with('.') {
                continue;
            }
            let section = image.section(name).unwrap();
            assert_eq!(section.svma, Svma(hexadecimal(address)), "{name}");
            assert_eq!(section.size, hexadecimal(size), "{name}");
            let data_length = section.data.len() as u64;
            assert_eq!(data_length, if kind == "NOBITS" { 0 } else { section.size });
            compared += 1;
        }
        assert!(compared > 20);
    });
}

#[test]
fn sections_with_code_are_those_that_readelf_marks() {
    with_each_file("-SW", |image, output| {
        let code = |line: &str| {
            // "  [ 1] name TYPE address offset size 00 AX ..."
            let (_, rest) = line.split_once("] ")?;
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let [_, _, address, _, size, _, "AX", ..] = fields[..] else {
                return None;
            };
            let start = hexadecimal(address);
            Some(start..start + hexadecimal(size))
        };
        let printed: Vec<_> = output.lines().filter_map(code).collect();
        assert!(!printed.is_empty());
        assert_eq!(image.code_sections(), printed);
    });
}

#[test]
fn segments_are_those_that_readelf_prints() {
    with_each_file("-lW", |image, output| {
        let segment = |line: &str, kind| {
            let rest = line.trim().strip_prefix(kind)?.replace("R E", "RE");
            let fields: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
            let numbers: Vec<u64> = fields[..5].iter().map(|text| hexadecimal(text)).collect();
            Some((numbers, fields[5].clone(), hexadecimal(&fields[6])))
        };
        let printed: Vec<_> = output
            .lines()
            .filter_map(|line| segment(line, "LOAD "))
            .collect();
        assert_eq!(image.load_segments().len(), printed.len());
        for (ours, (numbers, flags, align)) in image.load_segments().iter().zip(printed) {
            assert_eq!(ours.file_offset, numbers[0]);
            assert_eq!(ours.svma, Svma(numbers[1]));
            assert_eq!((ours.file_size, ours.memory_size), (numbers[3], numbers[4]));
            assert_eq!(
                (ours.executable, ours.writable),
                (flags.contains('E'), flags.contains('W'))
            );
            assert_eq!(ours.align, align);
        }
        let printed = output.lines().find_map(|line| segment(line, "TLS "));
        let ours = image.thread_local_segment();
        assert_eq!(
            ours.map(|ours| (ours.svma.0, ours.memory_size, ours.align)),
            printed.map(|(numbers, _, align)| (numbers[1], numbers[4], align))
        );
        assert_eq!(
            image.is_position_independent(),
            output.contains("Elf file type is DYN")
        );
    });
}

#[test]
fn symbols_are_those_that_readelf_prints() {
    with_each_file("-sW", |image, output| {
        let mut printed = BTreeSet::new();
        for line in output.lines() {
            // "   1: value size TYPE BIND VISIBILITY section name"
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [number, value, _, kind, _, _, section, name, ..] = fields[..] else {
                continue;
            };
            if !number.ends_with(':') || ["UND", "Ndx"].contains(&section) {
                continue;
            }
            if ["SECTION", "FILE"].contains(&kind) {
                continue;
            }
            let name = name.split('@').next().unwrap().to_owned();
            printed.insert((name, hexadecimal(value)));
        }
        let ours: BTreeSet<(String, u64)> = image
            .symbols()
            .map(|(name, symbol)| {
                let name = String::from_utf8_lossy(name);
                let name = name.split('@').next().unwrap().to_owned();
                (name, symbol.svma.0)
            })
            .collect();
        assert!(ours.len() > 20);
        assert_eq!(ours, printed);
        for (name, _) in ours.iter().step_by(97) {
            let found = image.symbol(name).unwrap();
            assert!(ours.contains(&(name.clone(), found.svma.0)));
        }
    });
}
