//! The running kernel.

use std::fs;

use viperf_symbolize::{NoSymbol, Symbolizer};

/// Address, name and module of the functions that the kernel lists.
fn functions() -> Vec<(u64, String, Option<String>)> {
    let kallsyms = fs::read_to_string("/proc/kallsyms").unwrap();
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let module = words
            .get(3)
            .map(|word| word.trim_matches(['[', ']']).to_owned());
        let address = u64::from_str_radix(words[0], 16).unwrap();
        matches!(words[1], "t" | "T" | "w" | "W").then(|| (address, words[2].to_owned(), module))
    };
    kallsyms.lines().filter_map(parse).collect()
}

#[test]
fn kernel_addresses_have_the_names_of_kallsyms_or_are_said_to_be_hidden() {
    let functions = functions();
    let (address, ..) = functions
        .iter()
        .find(|(_, name, _)| name == "vfs_read")
        .expect("every kernel has vfs_read");
    let found = Symbolizer::default().symbolize_kernel(&[(*address).max(1) + 4, 1]);
    if *address == 0 {
        assert_eq!(found[0], Err(NoSymbol::KernelAddressesHidden));
        let reason = NoSymbol::KernelAddressesHidden.to_string();
        assert!(
            reason.contains("root") && reason.contains("kptr_restrict"),
            "{reason}"
        );
        return;
    }
    assert_eq!(found[0].as_ref().unwrap().name, "vfs_read");
    assert_eq!(found[0].as_ref().unwrap().module, None);
    assert_eq!(found[1], Err(NoSymbol::NoSymbolAtAddress));
}

#[test]
fn functions_of_modules_have_their_names_and_modules() {
    let functions = functions();
    let of_modules: Vec<_> = functions
        .iter()
        .filter(|(address, _, module)| *address != 0 && module.is_some())
        .collect();
    if of_modules.is_empty() {
        eprintln!("skipped: kernel modules: none is loaded, or addresses are hidden");
        return;
    }
    let addresses: Vec<u64> = of_modules.iter().map(|(address, ..)| *address).collect();
    let found = Symbolizer::default().symbolize_kernel(&addresses);
    for (found, (address, ..)) in found.into_iter().zip(&of_modules) {
        let found = found.unwrap();
        let listed = functions.iter().any(|(at, name, module)| {
            at == address && *name == found.name && *module == found.module
        });
        assert!(listed, "{found:?} at {address:#x}");
    }
}
