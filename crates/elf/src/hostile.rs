//! Tests with files that are cut off or damaged: no answer may panic or hang.

use crate::this_process::read_vdso;
use crate::{Image, Svma};

/// Asks everything there is to ask.
fn interrogate(bytes: &[u8]) -> usize {
    let Ok(image) = Image::parse(bytes) else {
        return 0;
    };
    let mut answers = image.symbols().count() + image.load_segments().len();
    for segment in image.load_segments() {
        answers += usize::from(image.load_bias(0x1000, segment.file_offset).is_some());
        for length in [0, 1, 4096, usize::MAX] {
            answers += image.bytes_at(segment.svma, length).map_or(0, <[u8]>::len);
        }
    }
    answers += image.bytes_at(Svma(u64::MAX), 1).map_or(0, <[u8]>::len);
    answers += image.build_id().map_or(0, <[u8]>::len);
    answers += image.eh_frame().map_or(0, |section| section.data.len());
    answers += usize::from(image.section(".dynsym").is_some());
    answers += usize::from(image.symbol("__vdso_time").is_some());
    answers += usize::from(image.thread_local_segment().is_some());
    answers + format!("{image:?}").len()
}

/// xorshift64*: the same flips every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(value).unwrap() % limit
    }
}

#[test]
fn every_truncation_is_an_error_or_fewer_answers() {
    let Some((bytes, _)) = read_vdso() else {
        println!("skipped: this process has no vDSO");
        return;
    };
    let whole = interrogate(&bytes);
    assert!(whole > 1000);
    for length in 0..bytes.len() {
        assert!(interrogate(&bytes[..length]) <= whole + 64, "{length}");
    }
    assert!(Image::parse(&bytes[..63]).is_err());
}

#[test]
fn flipped_bytes_are_survived() {
    let Some((bytes, _)) = read_vdso() else {
        println!("skipped: this process has no vDSO");
        return;
    };
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    for round in 0..20_000 {
        let mut damaged = bytes.clone();
        // Half the rounds in the headers, where a byte weighs most.
        let limit = if round % 2 == 0 { 0x400 } else { bytes.len() };
        for _ in 0..=random.below(4) {
            let position = random.below(limit);
            damaged[position] = u8::try_from(random.below(256)).unwrap();
        }
        interrogate(&damaged);
    }
}

#[test]
fn without_section_headers_the_running_parts_are_still_found() {
    let Some((mut bytes, _)) = read_vdso() else {
        println!("skipped: this process has no vDSO");
        return;
    };
    let whole = bytes.clone();
    let whole = Image::parse(&whole).unwrap();
    bytes[40..48].fill(0); // e_shoff
    bytes[58..64].fill(0); // e_shentsize, e_shnum, e_shstrndx
    let stripped = Image::parse(&bytes).unwrap();
    assert!(stripped.section(".eh_frame").is_none());
    assert_eq!(stripped.build_id(), whole.build_id());
    assert!(stripped.build_id().is_some());
    let (by_header, by_section) = (stripped.eh_frame().unwrap(), whole.eh_frame().unwrap());
    assert_eq!(by_header.svma, by_section.svma);
    let common = by_header.data.len().min(by_section.data.len());
    assert_eq!(by_header.data[..common], by_section.data[..common]);
    // Sections may be padded behind the terminator, or have none.
    assert!(by_header.data.len().abs_diff(by_section.data.len()) <= 8);
}

#[test]
fn other_files_are_refused_by_name() {
    let refusal = |bytes: &[u8]| Image::parse(bytes).unwrap_err().to_string();
    assert!(refusal(b"#!/bin/sh\n").contains("not an ELF file: 10 bytes"));
    let mut header = [0; 64];
    header[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    assert!(refusal(&header).contains("class 1"));
    header[4] = 2;
    header[18] = 183;
    assert!(refusal(&header).contains("machine 183"));
    header[18] = 62;
    assert!(Image::parse(&header).unwrap().load_segments().is_empty());
    header[32] = 1; // program headers far outside
    header[38] = 1;
    header[54] = 56;
    header[56] = 1;
    assert!(refusal(&header).contains("cut off"));
}
