//! Tests against the process that runs them: the loader has already done what we compute.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use crate::{Image, LoadBias, SymbolKind};

/// One line of `/proc/self/maps`.
struct Mapping {
    start: u64,
    end: u64,
    executable: bool,
    file_offset: u64,
    path: String,
}

fn mappings() -> Vec<Mapping> {
    let parse = |line: &str| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let executable = fields.next()?.contains('x');
        let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
        Some(Mapping {
            start: hexadecimal(start)?,
            end: hexadecimal(end)?,
            executable,
            file_offset: hexadecimal(fields.next()?)?,
            path: fields.nth(2).unwrap_or_default().to_owned(),
        })
    };
    let text = fs::read_to_string("/proc/self/maps").unwrap();
    text.lines().map(|line| parse(line).unwrap()).collect()
}

/// The memory image of this process's vDSO and its address; a complete ELF file of two pages.
pub(crate) fn read_vdso() -> Option<(Vec<u8>, u64)> {
    let vdso = mappings().into_iter().find(|m| m.path == "[vdso]")?;
    let mut bytes = vec![0; usize::try_from(vdso.end - vdso.start).unwrap()];
    let memory = File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut bytes, vdso.start).unwrap();
    Some((bytes, vdso.start))
}

#[inline(never)]
fn a_function_to_be_found() -> u32 {
    std::process::id()
}

#[test]
fn every_mapping_of_this_executable_has_the_same_bias_and_it_leads_to_our_own_functions() {
    let executable = fs::read_link("/proc/self/exe").unwrap();
    let bytes = fs::read(&executable).unwrap();
    let image = Image::parse(&bytes).unwrap();
    // The loader's mappings are the first ones; a backtrace in another test may map the file again.
    let biases: Vec<LoadBias> = mappings()
        .iter()
        .take_while(|mapping| mapping.path == executable.to_str().unwrap())
        .map(|mapping| image.load_bias(mapping.start, mapping.file_offset).unwrap())
        .collect();
    assert!(biases.len() > 2);
    assert!(biases.iter().all(|bias| *bias == biases[0]), "{biases:x?}");

    assert!(a_function_to_be_found() > 0);
    let address = a_function_to_be_found as fn() -> u32 as usize as u64;
    let svma = biases[0].svma(address);
    let (name, symbol) = image
        .symbols()
        .find(|(_, symbol)| symbol.svma == svma && symbol.kind == SymbolKind::Function)
        .unwrap();
    let name = str::from_utf8(name).unwrap();
    assert!(name.contains("a_function_to_be_found"), "{name}");
    assert_eq!(image.symbol(name), Some(symbol));
    assert!(image.bytes_at(svma, 4).is_some());
}

#[test]
fn the_vdso_is_read_from_memory_at_any_alignment() {
    let Some((bytes, start)) = read_vdso() else {
        println!("skipped: this process has no vDSO");
        return;
    };
    let mut shifted = vec![0];
    shifted.extend(&bytes);
    for bytes in [&bytes[..], &shifted[1..]] {
        let image = Image::parse(bytes).unwrap();
        assert!(image.is_position_independent());
        let bias = image.load_bias(start, 0).unwrap();
        let function = image.symbol("__vdso_clock_gettime").unwrap();
        let address = bias.avma(function.svma);
        assert!(
            mappings()
                .iter()
                .any(|m| m.executable && m.start <= address && address < m.end)
        );
        assert!(image.eh_frame().is_some());
        assert!(image.thread_local_segment().is_none());
    }
}
