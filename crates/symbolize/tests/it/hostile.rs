//! Files made to break what reads them: thousands of mutations, the same in every run.
//!
//! What must hold: every address gets an answer, nothing panics, and memory stays bounded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use viperf_symbolize::{GeneratedCode, NativeFile, Options, SearchRoot, Symbolizer};

use crate::compiled::{build_c, path_text};
use crate::oracle;

/// Numbers that look random and are the same each time (Knuth's MMIX generator).
struct Mutations(u64);

impl Mutations {
    fn next(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    /// Changes some bytes, most of them within `hot`, to values that hurt.
    fn mutate(&mut self, original: &[u8], hot: &[(usize, usize)]) -> Vec<u8> {
        const VALUES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
        let mut bytes = original.to_vec();
        for _ in 0..=self.next(6) {
            let (start, size) = match hot.is_empty() || self.next(4) == 0 {
                true => (0, bytes.len()),
                false => hot[self.next(hot.len())],
            };
            let at = (start + self.next(size)).min(bytes.len() - 1);
            let run = 1 + self.next(8);
            let value = match self.next(3) {
                0 => u8::try_from(self.next(256)).unwrap(),
                _ => VALUES[self.next(VALUES.len())],
            };
            for byte in bytes.iter_mut().skip(at).take(run) {
                *byte = value;
            }
        }
        if self.next(20) == 0 {
            bytes.truncate(self.next(original.len()));
        }
        bytes
    }
}

/// The kernel counts by processor and adds up later, so that it may be a little less than before.
fn peak_memory_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Offset and size of each section that is read, and of the headers.
fn hot_parts(path: &Path, length: usize) -> Vec<(usize, usize)> {
    let listing = oracle::run("readelf", &["-SW", path_text(path)]);
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let mut parts = vec![(0, 64), (length.saturating_sub(64 * 40), 64 * 40)];
    for line in listing.lines() {
        let Some((_, line)) = line.split_once("] ") else {
            continue;
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_read = [
            ".debug",
            ".symtab",
            ".strtab",
            ".dynsym",
            ".gnu_debug",
            ".note",
            ".shstrtab",
        ];
        if words.len() > 5 && is_read.iter().any(|name| words[0].starts_with(name)) {
            parts.push((number(words[3]), number(words[4])));
        }
    }
    parts
}

/// A library as it is, one with compressed sections, one with a mini symbol table and a debug link.
fn variants(library: &Path, folder: &Path) -> [PathBuf; 3] {
    let library = path_text(library);
    let compressed = folder.join("compressed.so");
    let compress = "--compress-debug-sections=zlib";
    oracle::run("objcopy", &[compress, library, path_text(&compressed)]);
    let mini = folder.join("mini.so");
    oracle::run("strip", &["-o", path_text(&mini), library]);
    let table = folder.join("table");
    oracle::run("objcopy", &["--strip-debug", library, path_text(&table)]);
    oracle::run("xz", &["-0", path_text(&table)]);
    let section = format!("--add-section=.gnu_debugdata={}.xz", path_text(&table));
    let link = format!("--add-gnu-debuglink={library}");
    oracle::run("objcopy", &[&section, &link, path_text(&mini)]);
    [PathBuf::from(library), compressed, mini]
}

#[test]
fn mutated_libraries_never_do_worse_than_give_no_names() {
    let built = build_c();
    let folder = tempfile::TempDir::new().unwrap();
    let variants = variants(&built.library, folder.path());
    let mut mutations = Mutations(2026);
    let before = peak_memory_kilobytes();
    let started = Instant::now();
    let addresses: Vec<u64> = (0..200)
        .map(|index| 0x1000 + index * 7)
        .chain([0, u64::MAX])
        .collect();
    let root = SearchRoot::open(folder.path()).unwrap();
    for original in &variants {
        let bytes = fs::read(original).unwrap();
        let hot = hot_parts(original, bytes.len());
        let damaged = folder.path().join("damaged.so");
        for round in 0..1000 {
            fs::write(&damaged, mutations.mutate(&bytes, &hot)).unwrap();
            let symbolizer = Symbolizer::new(Options {
                inlined_functions: round % 2 == 0,
                largest_debug_information: 64 << 20,
                ..Options::default()
            });
            let file = NativeFile {
                path: &damaged,
                original_path: Some(Path::new("/damaged.so")),
                root: Some(&root),
            };
            let found = symbolizer.symbolize_native(&file, &addresses);
            assert_eq!(found.len(), addresses.len());
        }
    }
    let (grown, elapsed) = (
        peak_memory_kilobytes().saturating_sub(before),
        started.elapsed(),
    );
    assert!(grown < 512 << 10, "{grown} kB more at the peak");
    assert!(elapsed < Duration::from_secs(600), "{elapsed:?}");
}

#[test]
fn mutated_perf_maps_are_read_as_far_as_they_make_sense() {
    let map: String = (0..200)
        .map(|i| {
            format!(
                "{:x} {:x} py::function_{i}:/srv/file.py\n",
                0x1000 + i * 64,
                64
            )
        })
        .collect();
    let pid = std::process::id();
    let child = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let path = format!("/tmp/perf-{}.map", child.id());
    assert_ne!(pid, child.id());
    let mut mutations = Mutations(7);
    for _ in 0..2000 {
        fs::write(&path, mutations.mutate(map.as_bytes(), &[])).unwrap();
        let mut code = GeneratedCode::of_process(child.id());
        code.refresh();
        for address in (0x1000..0x5000).step_by(32) {
            drop(code.find(address));
        }
        assert!(code.functions() <= 220);
    }
    fs::remove_file(&path).unwrap();
    let mut child = child;
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A function and a unit of DWARF 4 whose line program makes a row out of every byte.
const ROW_PER_BYTE: &str = r#"
.text
.globl sampled
.type sampled,@function
sampled: .fill 64,1,0x90
.size sampled,.-sampled
.section .debug_abbrev
.byte 1,0x11,0, 0x10,0x17, 0x11,1, 0x12,7, 0,0, 0
.section .debug_info
.long 2f-1f
1: .value 4
.long .debug_abbrev
.byte 8, 1
.long .debug_line
.quad sampled, 64
2:
.section .debug_line
.long 4f-3f
3: .value 4
.long 6f-5f
5: .byte 1,1,1,0xfb,14,13, 0,1,1,1,1,0,0,0,1,0,0,1, 0
.asciz "hostile.c"
.byte 0,0,0, 0
6: .byte 0,9,2
.quad sampled
.fill 24000000,1,0x20
.byte 2,64, 0,1,1
4:
"#;

#[test]
fn a_line_program_that_makes_a_row_of_every_byte_costs_no_memory() {
    let folder = tempfile::TempDir::new().unwrap();
    let (source, library) = (
        folder.path().join("hostile.s"),
        folder.path().join("hostile.so"),
    );
    fs::write(&source, ROW_PER_BYTE).unwrap();
    oracle::run(
        "gcc",
        &[
            "-shared",
            "-nostdlib",
            "-o",
            path_text(&library),
            path_text(&source),
        ],
    );
    let sampled = oracle::functions(&library, &[]).remove(0);
    let before = peak_memory_kilobytes();
    let found = Symbolizer::default().symbolize_file(&library, &[sampled.address + 3]);
    let grown = peak_memory_kilobytes().saturating_sub(before);
    let symbol = found[0].as_ref().unwrap();
    assert_eq!(symbol.name, "sampled");
    assert!(
        symbol
            .file
            .as_deref()
            .is_some_and(|file| file.ends_with("hostile.c")),
        "{symbol:?}"
    );
    // Kept, the rows would be 600 MB. Other tests run at the same time, in the same process.
    assert!(grown < 350 << 10, "{grown} kB more at the peak");
}
