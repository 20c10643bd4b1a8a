//! Where the machine code of the evaluation loop is: needed up to 3.10, where each Python frame is one call of it.

use std::ops::Range;

use viperf_elf::{Image, Symbol, SymbolKind};

/// The function that runs a frame: from 3.6 on the first, in 2.7 the second, which is but a wrapper later.
const NAMES: [&str; 2] = ["_PyEval_EvalFrameDefault", "PyEval_EvalFrameEx"];

/// A file can say anything; the largest that was seen has 90 KB.
const LARGEST: u64 = 1 << 20;

fn is_of_a_size(symbol: &Symbol) -> bool {
    symbol.size <= LARGEST
}

/// The address ranges (SVMA) of the evaluation loop, its main part first.
///
/// Compilers move what they think is rarely run away from the function; up to nine tenths of this one. Files that are not
/// stripped name such a part (`….cold`). In others it is the one of `moved_parts` that the function jumps into most often:
/// ranges that do not begin as functions do, as unwind information tells, sorted.
///
/// `image` must have the code of the function in it, for its jumps. Empty when there is no such function.
#[must_use]
pub fn find_eval_function(image: &Image, moved_parts: &[Range<u64>]) -> Vec<Range<u64>> {
    let found = NAMES.iter().find_map(|&name| {
        let symbol = image.symbol(name).filter(is_of_a_size)?;
        Some((name, symbol.svma.0..symbol.svma.0.checked_add(symbol.size)?))
    });
    let Some((name, main)) = found else {
        return Vec::new();
    };
    let mut parts = vec![main.clone()];
    parts.extend(find_named_parts(image, name));
    if parts.len() == 1 {
        parts.extend(find_part_by_jumps(image, &main, moved_parts));
    }
    parts
}

/// Where the code is that [`find_eval_function`] reads: SVMA and size.
#[must_use]
pub fn eval_function_code(image: &Image) -> Option<(viperf_elf::Svma, usize)> {
    let symbol = NAMES.iter().find_map(|name| image.symbol(name))?;
    is_of_a_size(&symbol).then_some(())?;
    Some((symbol.svma, usize::try_from(symbol.size).ok()?))
}

/// `_PyEval_EvalFrameDefault.cold`, `….cold.123`, `….part.0`.
fn find_named_parts(image: &Image, name: &str) -> Vec<Range<u64>> {
    let is_part = |found: &[u8]| {
        let rest = found.strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b".cold") || rest.starts_with(b".part"))
    };
    let symbols = image
        .symbols()
        .filter(|(name, symbol)| symbol.kind == SymbolKind::Function && is_part(name));
    symbols
        .filter_map(|(_, symbol)| Some(symbol.svma.0..symbol.svma.0.checked_add(symbol.size)?))
        .collect()
}

fn find_part_by_jumps(
    image: &Image,
    main: &Range<u64>,
    moved_parts: &[Range<u64>],
) -> Option<Range<u64>> {
    let size = usize::try_from(main.end.checked_sub(main.start)?).ok()?;
    let code = image.bytes_at(viperf_elf::Svma(main.start), size)?;
    let mut counts = vec![0_u32; moved_parts.len()];
    for target in jump_targets(code, main.start) {
        let after = moved_parts.partition_point(|part| part.start <= target);
        let part = after
            .checked_sub(1)
            .and_then(|index| Some((index, moved_parts.get(index)?)));
        if let Some((index, part)) = part
            && part.contains(&target)
            && !main.contains(&target)
            && let Some(count) = counts.get_mut(index)
        {
            *count += 1;
        }
    }
    let most = (0..counts.len()).max_by_key(|&index| counts.get(index))?;
    let is_jumped_into = counts.get(most).is_some_and(|&count| count > 0);
    is_jumped_into
        .then(|| moved_parts.get(most).cloned())
        .flatten()
}

/// Where `jmp rel32` and `jcc rel32` go. Bytes are not decoded from one instruction to the next, so a few of these are no
/// jumps; they hit moved parts by chance only.
fn jump_targets(code: &[u8], start: u64) -> impl Iterator<Item = u64> {
    const JMP: u8 = 0xe9;
    const JCC_PREFIX: u8 = 0x0f;
    (0..code.len()).filter_map(move |at| {
        let length = match code.get(at..)? {
            [JMP, ..] => 1,
            [JCC_PREFIX, 0x80..=0x8f, ..] => 2,
            _ => return None,
        };
        let displacement = code.get(at + length..)?.first_chunk()?;
        let next = start.checked_add(u64::try_from(at + length + 4).ok()?)?;
        next.checked_add_signed(i32::from_le_bytes(*displacement).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_count_from_the_end_of_the_jump() {
        // nop; jmp +0x100; je -0x10; ret
        let code = [
            0x90, 0xe9, 0, 1, 0, 0, 0x0f, 0x84, 0xf0, 0xff, 0xff, 0xff, 0xc3,
        ];
        let targets: Vec<u64> = jump_targets(&code, 0x1000).collect();
        assert_eq!(targets, [0x1006 + 0x100, 0x100c - 0x10]);
        assert_eq!(jump_targets(&code[..5], 0x1000).count(), 0);
    }
}
