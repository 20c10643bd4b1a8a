//! Functions with drop glue, bounds checks and closures.
use std::collections::BTreeMap;

#[unsafe(no_mangle)]
pub extern "C" fn counts(seed: u64) -> usize {
    let mut words: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for number in 0..seed {
        words.entry(format!("{}", number % 7)).or_default().push(number);
    }
    words.values().map(|numbers| numbers[numbers.len() / 2] as usize).sum()
}

#[unsafe(no_mangle)]
pub extern "C" fn catches(seed: u64) -> bool {
    std::panic::catch_unwind(|| counts(seed)).is_err()
}
