//! The running kernel's functions, from `/proc/kallsyms`.
//!
//! A line is `ADDRESS TYPE NAME[\t[MODULE]]`; the list has no sizes, so a function ends where the next
//! one of the same module begins.
//! <https://github.com/torvalds/linux/blob/v6.12/kernel/kallsyms.c#L776-L800>
//!
//! A general library for symbols would read the same list, but keep neither modules nor symbol types; a data symbol would name code.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use crate::{KernelSymbol, NoSymbol};

const KALLSYMS: &str = "/proc/kallsyms";

/// Where a function of unknown end is taken to end: behind the last symbol of the list, and between
/// the kernel and its modules. The largest functions of the kernel have some tens of kilobytes.
const LARGEST_FUNCTION: u64 = 64 * 1024;

/// One function: where it starts and where its texts are.
#[derive(Debug)]
struct Function {
    address: u64,
    /// Start of the name in [`KernelSymbols::names`].
    name: usize,
    name_length: usize,
    /// Index into [`KernelSymbols::modules`].
    module: Option<usize>,
    /// Which of several names at one address is shown: a global one before a local or weak one.
    global: bool,
}

/// The functions of the kernel and its modules, sorted by address.
#[derive(Debug, Default)]
pub(crate) struct KernelSymbols {
    functions: Vec<Function>,
    /// All names, one behind the other: 200,000 strings of their own would cost three times as much.
    names: String,
    modules: Vec<String>,
}

/// Whether the caller may know where the kernel's functions are: any of the first lines has an address other than zero.
#[must_use]
pub fn shows_kernel_addresses() -> bool {
    let mut start = Vec::new();
    let read = File::open(KALLSYMS).and_then(|file| file.take(1 << 12).read_to_end(&mut start));
    let is_address = |line: &[u8]| {
        line.iter()
            .take_while(|byte| **byte != b' ')
            .any(|byte| *byte != b'0')
    };
    read.is_ok() && start.split(|byte| *byte == b'\n').any(is_address)
}

/// The running kernel's functions, or why they cannot be known.
pub(crate) fn read_kernel_symbols() -> Result<KernelSymbols, NoSymbol> {
    File::open(KALLSYMS)
        .map(BufReader::new)
        .and_then(decode_kallsyms)
        .map_err(|error| NoSymbol::Unreadable(format!("{KALLSYMS} cannot be read: {error}")))
        .and_then(|symbols| {
            if symbols.functions.is_empty() {
                Err(NoSymbol::KernelAddressesHidden)
            } else {
                Ok(symbols)
            }
        })
}

/// The functions listed in `kallsyms`; those at address zero, the way the kernel hides, are left out.
fn decode_kallsyms(mut kallsyms: impl BufRead) -> io::Result<KernelSymbols> {
    let mut symbols = KernelSymbols::default();
    let mut line = String::new();
    while kallsyms.read_line(&mut line)? > 0 {
        symbols.add_line(&line);
        line.clear();
    }
    symbols
        .functions
        .sort_by_key(|function| (function.address, !function.global));
    symbols.functions.dedup_by_key(|function| function.address);
    Ok(symbols)
}

impl KernelSymbols {
    fn add_line(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        let is_code = matches!(kind, "t" | "T" | "w" | "W");
        let Ok(address) = u64::from_str_radix(address, 16) else {
            return;
        };
        if address == 0 || !is_code {
            return;
        }
        let module = words
            .next()
            .and_then(|word| word.strip_prefix('[')?.strip_suffix(']'))
            .map(|module| self.intern_module(module));
        self.functions.push(Function {
            address,
            name: self.names.len(),
            name_length: name.len(),
            module,
            global: kind == "T",
        });
        self.names.push_str(name);
    }

    /// Modules are listed one after the other, so the last one is nearly always the one asked for.
    fn intern_module(&mut self, module: &str) -> usize {
        let known = self.modules.iter().rposition(|known| known == module);
        known.unwrap_or_else(|| {
            self.modules.push(module.to_owned());
            self.modules.len() - 1
        })
    }

    /// The function that `address` lies in.
    pub(crate) fn find(&self, address: u64) -> Option<KernelSymbol> {
        let behind = self
            .functions
            .partition_point(|function| function.address <= address);
        let function = self.functions.get(behind.checked_sub(1)?)?;
        let next_is_neighbour = self
            .functions
            .get(behind)
            .is_some_and(|next| next.module == function.module);
        if !next_is_neighbour && address - function.address >= LARGEST_FUNCTION {
            return None;
        }
        let end = function.name.checked_add(function.name_length)?;
        Some(KernelSymbol {
            name: self.names.get(function.name..end)?.to_owned(),
            module: function
                .module
                .and_then(|module| self.modules.get(module))
                .cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 t _local_start
ffffffff81000000 T _text
ffffffff81000100 T do_syscall_64
ffffffff81000180 D a_table
ffffffff81000200 W weak_one
ffffffffc0000000 t xfs_read\t[xfs]
ffffffffc0000100 t bpf_prog_1234_on_cpu\t[bpf]
not a line
";

    fn name_at(symbols: &KernelSymbols, address: u64) -> Option<String> {
        symbols.find(address).map(|symbol| symbol.name)
    }

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = decode_kallsyms(LIST.as_bytes()).unwrap();
        assert_eq!(
            name_at(&symbols, 0xffff_ffff_8100_01ff).unwrap(),
            "do_syscall_64"
        );
        assert_eq!(
            name_at(&symbols, 0xffff_ffff_8100_0200).unwrap(),
            "weak_one"
        );
        assert_eq!(name_at(&symbols, 0xffff_ffff_80ff_ffff), None);
    }

    #[test]
    fn of_two_names_at_one_address_the_global_one_is_shown() {
        let symbols = decode_kallsyms(LIST.as_bytes()).unwrap();
        assert_eq!(name_at(&symbols, 0xffff_ffff_8100_0000).unwrap(), "_text");
    }

    #[test]
    fn modules_and_bpf_programs_are_named() {
        let symbols = decode_kallsyms(LIST.as_bytes()).unwrap();
        let module = |address| symbols.find(address).unwrap().module;
        assert_eq!(module(0xffff_ffff_c000_0080).as_deref(), Some("xfs"));
        assert_eq!(module(0xffff_ffff_c000_0110).as_deref(), Some("bpf"));
        assert_eq!(module(0xffff_ffff_8100_0100), None);
    }

    #[test]
    fn the_gap_between_kernel_and_modules_belongs_to_nobody() {
        let symbols = decode_kallsyms(LIST.as_bytes()).unwrap();
        assert_eq!(name_at(&symbols, 0xffff_ffff_9000_0000), None);
        assert_eq!(name_at(&symbols, u64::MAX), None);
    }

    #[test]
    fn hidden_addresses_leave_no_function() {
        let hidden = "0000000000000000 T _text\n0000000000000000 T do_syscall_64\n";
        assert!(
            decode_kallsyms(hidden.as_bytes())
                .unwrap()
                .functions
                .is_empty()
        );
    }
}
