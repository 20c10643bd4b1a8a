//! How long naming many addresses of one file takes: `measure FILE ADDRESSES names|lines|inlines START END`,
//! the addresses spread over `[START, END)`, both hexadecimal as `readelf -S` shows them.

use std::path::Path;
use std::time::Instant;

use viperf_symbolize::{Options, Symbolizer};

fn resident_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes / 1024)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, count, what, start, end] = arguments.as_slice() else {
        eprintln!("measure FILE ADDRESSES names|lines|inlines START END");
        return;
    };
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
    let (start, end) = (hexadecimal(start), hexadecimal(end));
    let count: u64 = count.parse().unwrap_or(1);
    let addresses: Vec<u64> = (0..count)
        .map(|index| start + (end - start) / count * index)
        .collect();
    let symbolizer = Symbolizer::new(Options {
        native_lines: what != "names",
        inlined_functions: what == "inlines",
        ..Options::default()
    });
    for round in ["first", "again"] {
        let before = Instant::now();
        let found = symbolizer.symbolize_file(Path::new(file), &addresses);
        let named = found.iter().flatten().count();
        let with_line = found.iter().flatten().filter(|s| s.line.is_some()).count();
        let inlined: usize = found.iter().flatten().map(|s| s.inlined.len()).sum();
        eprintln!(
            "{round}: {:?}, {named} named, {with_line} with a line, {inlined} inlined, peak {} MB",
            before.elapsed(),
            resident_megabytes()
        );
    }
}
