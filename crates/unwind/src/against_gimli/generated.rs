//! Sections of made-up entries, thousands of them: every instruction, in any order, in functions that touch, overlap, end
//! at pages and leave gaps. A seed gives the same ones every time.

use gimli::{BaseAddresses, DebugFrame, EhFrame, LittleEndian};
use viperf_elf::Svma;

use super::{check_shape, compare_all};
use crate::{build_rows, build_rows_of_debug_frame};

const SECTION_SVMA: u64 = 0x20_0000;
const CODE: std::ops::Range<u64> = 0x1000..0x10_0000;

/// xorshift64*: the same numbers every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit
    }

    fn byte_below(&mut self, limit: u64) -> u8 {
        u8::try_from(self.below(limit)).unwrap()
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    EhFrame,
    DebugFrame,
}

struct Section {
    kind: Kind,
    bytes: Vec<u8>,
}

fn unsigned(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A multiple of eight, of one or two bytes, in signed form.
fn signed(words: i64) -> Vec<u8> {
    let mut value = words;
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0) {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

impl Section {
    fn entry(&mut self, random: &mut Random, body: &[u8]) -> usize {
        let start = self.bytes.len();
        let padded = body.len().next_multiple_of(8);
        let length = u32::try_from(padded).unwrap();
        if self.kind == Kind::EhFrame && random.one_in(16) {
            self.bytes.extend([0xff; 4]);
            self.bytes.extend(u64::from(length).to_le_bytes());
        } else {
            self.bytes.extend(length.to_le_bytes());
        }
        self.bytes.extend(body);
        self.bytes.extend(vec![0; padded - body.len()]);
        start
    }

    fn common(&mut self, random: &mut Random) -> usize {
        let mut body = match self.kind {
            Kind::EhFrame => vec![0; 4],
            Kind::DebugFrame => vec![0xff; 4],
        };
        let augmentation: &[u8] = match self.kind {
            Kind::EhFrame => b"zR\0",
            Kind::DebugFrame => b"\0",
        };
        body.push(1);
        body.extend(augmentation);
        body.extend([1, 0x78, 16]); // code 1, data -8, return address 16
        if self.kind == Kind::EhFrame {
            body.extend([1, 0]); // absolute addresses of eight bytes
        }
        body.extend([0x0c, 7, 8, 0x90, 1]); // CFA = rsp + 8, return address at CFA - 8
        if random.one_in(4) {
            body.extend(instruction(random));
        }
        self.entry(random, &body)
    }

    fn function(&mut self, random: &mut Random, common: usize, start: u64, length: u64) {
        let mut body = match self.kind {
            Kind::EhFrame => u32::try_from(self.bytes.len() + 4 - common)
                .unwrap()
                .to_le_bytes()
                .to_vec(),
            Kind::DebugFrame => u32::try_from(common).unwrap().to_le_bytes().to_vec(),
        };
        body.extend(start.to_le_bytes());
        body.extend(length.to_le_bytes());
        if self.kind == Kind::EhFrame {
            body.push(0);
        }
        let mut depth = 0_u32;
        for _ in 0..random.below(24) {
            match random.below(12) {
                0 => {
                    body.push(0x0a); // remember
                    depth += 1;
                }
                1 if depth > 0 => {
                    body.push(0x0b); // restore
                    depth -= 1;
                }
                2..=6 => body.extend(advance(random)),
                _ => body.extend(instruction(random)),
            }
        }
        let padded = body.len().next_multiple_of(8);
        let length = u32::try_from(padded).unwrap();
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(&body);
        self.bytes.extend(vec![0; padded - body.len()]);
    }
}

fn advance(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 | 1 => vec![0x40 | random.byte_below(32)],
        2 => vec![0x02, random.byte_below(200)],
        _ => {
            let mut bytes = vec![0x03];
            bytes.extend(u16::try_from(random.below(600)).unwrap().to_le_bytes());
            bytes
        }
    }
}

/// An instruction that changes a rule: the common ones, and those that nobody writes.
fn instruction(random: &mut Random) -> Vec<u8> {
    let register = random.byte_below(17);
    let register = if random.one_in(2) { 6 } else { register };
    let words = random.below(300);
    let signed_words = i64::try_from(random.below(64)).unwrap() - 32;
    let displacement = signed(signed_words * 8);
    let with = |code: u8, parts: &[&[u8]]| {
        let mut bytes = vec![code];
        parts.iter().for_each(|part| bytes.extend(*part));
        bytes
    };
    match random.below(16) {
        0..=3 => with(0x0e, &[&unsigned(words * 8)]),
        4 => with(0x0e, &[&unsigned(words)]),
        5 => with(0x0d, &[&[[7, 6, 10, 3][usize::from(random.byte_below(4))]]]),
        6 => with(0x0c, &[&[random.byte_below(18)], &unsigned(words * 8)]),
        7 => with(0x80 | register, &[&unsigned(random.below(260))]),
        8 => with(0xc0 | register, &[]),
        9 => with(0x08, &[&[register]]),
        10 => with(0x07, &[&[register]]),
        11 => with(0x09, &[&[register], &[random.byte_below(16)]]),
        12 => with(0x14, &[&[register], &unsigned(words)]),
        13 => {
            // CFA = *(register + x) + y.
            let mut block = vec![0x70 | [7, 6, 10][usize::from(random.byte_below(3))]];
            block.extend(&displacement);
            block.push(0x06);
            if random.one_in(2) {
                block.push(0x23);
                block.extend(unsigned(random.below(40) * 8));
            }
            with(0x0f, &[&[u8::try_from(block.len()).unwrap()], &block])
        }
        14 => {
            // A register at, or being, rbp or rsp + x.
            let mut block = vec![0x76 + random.byte_below(2)];
            block.extend(if random.one_in(2) {
                vec![0]
            } else {
                displacement
            });
            let code = if random.one_in(4) { 0x16 } else { 0x10 };
            with(
                code,
                &[&[register], &[u8::try_from(block.len()).unwrap()], &block],
            )
        }
        // The linkage table's: rsp + 8 + (((rip & 15) >= 11) << 3).
        _ => with(
            0x0f,
            &[&[
                11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22,
            ]],
        ),
    }
}

/// Where functions begin: in any order, touching, overlapping, with and without gaps, at the ends of pages.
fn random_function(random: &mut Random, last_end: u64) -> (u64, u64) {
    let start = match random.below(6) {
        0 => CODE.start + random.below(CODE.end - CODE.start - 0x1000),
        1 => last_end.next_multiple_of(4096),
        2 => last_end + random.below(64),
        3 => last_end.saturating_sub(random.below(64)),
        4 => last_end.next_multiple_of(16),
        _ => last_end,
    };
    let length = match random.below(8) {
        0 => 1,
        1 => 4096 - start % 4096,
        2 => random.below(8),
        _ => 1 + random.below(400),
    };
    (start.clamp(CODE.start, CODE.end - 0x1000), length)
}

fn generate(random: &mut Random, kind: Kind) -> Vec<u8> {
    let mut section = Section {
        kind,
        bytes: Vec::new(),
    };
    let mut common = section.common(random);
    let mut last_end = CODE.start;
    for _ in 0..1 + random.below(30) {
        if random.one_in(5) {
            common = section.common(random);
        }
        let (start, length) = random_function(random, last_end);
        last_end = start + length;
        section.function(random, common, start, length);
    }
    section.bytes
}

/// How many sections of each kind; `VIPERF_PROPERTY_CASES` says another number.
fn cases() -> u64 {
    let wanted = std::env::var("VIPERF_PROPERTY_CASES").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(1500)
}

#[test]
fn rules_of_any_eh_frame_find_what_gimli_finds() {
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    let mut addresses = 0;
    for _ in 0..cases() {
        let bytes = generate(&mut random, Kind::EhFrame);
        let table = build_rows(&bytes, Svma(SECTION_SVMA)).unwrap();
        check_shape(&table.rows);
        let section = EhFrame::new(&bytes, LittleEndian);
        let bases = BaseAddresses::default().set_eh_frame(SECTION_SVMA);
        let compared = compare_all(&section, &bases, &table.rows, |fde| fde.len() > 0);
        addresses += compared.addresses;
    }
    assert!(addresses > 10_000, "{addresses}");
}

#[test]
fn rules_of_any_debug_frame_find_what_gimli_finds() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..cases() {
        let bytes = generate(&mut random, Kind::DebugFrame);
        let table = build_rows_of_debug_frame(&bytes, &[CODE]).unwrap();
        check_shape(&table.rows);
        let mut section = DebugFrame::new(&bytes, LittleEndian);
        section.set_address_size(8);
        let bases = BaseAddresses::default();
        compare_all(&section, &bases, &table.rows, |fde| fde.len() > 0);
    }
}

#[test]
fn every_truncation_of_any_section_is_survived_and_keeps_the_shape() {
    let mut random = Random(0xfeed_feed_feed_feed);
    for _ in 0..20 {
        let eh_frame = generate(&mut random, Kind::EhFrame);
        let debug_frame = generate(&mut random, Kind::DebugFrame);
        for length in 0..eh_frame.len() {
            check_shape(
                &build_rows(&eh_frame[..length], Svma(SECTION_SVMA))
                    .unwrap()
                    .rows,
            );
        }
        for length in 0..debug_frame.len() {
            let cut = &debug_frame[..length];
            check_shape(&build_rows_of_debug_frame(cut, &[CODE]).unwrap().rows);
        }
    }
}
