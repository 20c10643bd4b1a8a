//! The running kernel.

use std::fs;

use viperf_symbolize::{NoSymbol, Symbolizer};

#[test]
fn kernel_addresses_have_the_names_of_kallsyms_or_are_said_to_be_hidden() {
    let kallsyms = fs::read_to_string("/proc/kallsyms").unwrap();
    let line = kallsyms
        .lines()
        .find(|line| line.ends_with(" vfs_read"))
        .expect("every kernel has vfs_read");
    let address = u64::from_str_radix(&line[..16], 16).unwrap();
    let found = Symbolizer::default().symbolize_kernel(&[address.max(1) + 4, 1]);
    if address == 0 {
        assert_eq!(found[0], Err(NoSymbol::KernelAddressesHidden));
        return;
    }
    assert_eq!(found[0].as_ref().unwrap().name, "vfs_read");
    assert_eq!(found[0].as_ref().unwrap().module, None);
    assert_eq!(found[1], Err(NoSymbol::NoSymbolAtAddress));
}
