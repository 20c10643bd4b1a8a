//! Libraries as the distribution ships them: stripped, with exports.

use std::path::Path;

use viperf_symbolize::{NoSymbol, Symbolizer};

use crate::oracle;

const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";

#[test]
fn the_distributions_libc_gives_exports_by_size_and_nothing_between() {
    let libc = Path::new(LIBC);
    if !libc.exists() {
        eprintln!("skipped: {LIBC} is not there");
        return;
    }
    let exports = oracle::functions(libc, &["--dynamic"]);
    let text = exports.iter().map(|export| export.address).min().unwrap()
        ..exports
            .iter()
            .map(|export| export.address + export.size)
            .max()
            .unwrap();
    let addresses: Vec<u64> = text.step_by(61).collect();
    let found = Symbolizer::default().symbolize_file(libc, &addresses);
    let (mut named, mut unnamed) = (0, 0);
    for (&address, found) in addresses.iter().zip(found) {
        let covering: Vec<&str> = exports
            .iter()
            .filter(|export| (export.address..export.address + export.size).contains(&address))
            .map(|export| export.name.as_str())
            .collect();
        match found {
            // With the distribution's debug symbols installed there are more names than exports.
            Ok(symbol) if !covering.is_empty() => {
                named += 1;
                assert!(
                    covering.contains(&symbol.name.as_str()),
                    "{address:#x}: {symbol:?}"
                );
            }
            Ok(_) => {}
            Err(reason) => {
                unnamed += 1;
                assert_eq!(covering, [""; 0], "{address:#x} has an export");
                assert!(matches!(
                    reason,
                    NoSymbol::Stripped | NoSymbol::NoSymbolAtAddress
                ));
            }
        }
    }
    assert!(named > 1000, "{named} named, {unnamed} not");
}
