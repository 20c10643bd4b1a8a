//! Names of the kernel's functions, by the look-up that the kernel has itself.

use std::fmt;

use libbpf_rs::{MapCore, MapFlags, MapHandle, Object, ObjectBuilder, ProgramInput};
use viperf_abi::limit::{KERNEL_NAME_BYTES, KERNEL_NAMES};

use crate::{SampleError, kernel_log, load::explain_refusal, sampler::find_map};

/// The loaded program that looks names up. Reading the kernel's list of all functions takes 40 to 70 ms of CPU time instead,
/// a tenth of what a short recording costs.
pub struct KernelNames {
    object: Object,
    addresses: MapHandle,
    names: MapHandle,
}

/// A function of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFunction {
    /// As `/proc/kallsyms` has it.
    pub name: String,
    /// The module that it is in, `bpf` for one of BPF; `None` for the kernel itself.
    pub module: Option<String>,
}

impl fmt::Debug for KernelNames {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KernelNames")
            .finish_non_exhaustive()
    }
}

impl KernelNames {
    /// Loads the program.
    ///
    /// # Errors
    /// Not permitted, or a kernel before 5.14.
    pub fn load() -> Result<Self, SampleError> {
        kernel_log::capture();
        let object = ObjectBuilder::default()
            .name("viperf_names")
            .and_then(|builder| builder.open_memory(viperf_bpf::name_programs()))
            .map_err(|source| SampleError::from_bpf("opening the embedded programs", source))?
            .load()
            .map_err(explain_refusal)?;
        Ok(Self {
            addresses: find_map(&object, ".data.addresses")?,
            names: find_map(&object, ".data.names")?,
            object,
        })
    }

    /// The functions that the addresses lie in, in their order; `None` for what is not in any.
    ///
    /// # Errors
    /// The kernel does not run the program.
    pub fn find(&self, addresses: &[u64]) -> Result<Vec<Option<KernelFunction>>, SampleError> {
        let mut found = Vec::with_capacity(addresses.len());
        for part in addresses.chunks(KERNEL_NAMES) {
            let texts = self.look_up(part)?;
            let texts = texts.chunks(KERNEL_NAME_BYTES).take(part.len());
            found.extend(texts.map(parse_text));
        }
        found.resize(addresses.len(), None);
        Ok(found)
    }

    /// The texts of so many addresses as there is room for.
    fn look_up(&self, addresses: &[u64]) -> Result<Vec<u8>, SampleError> {
        // Behind the last one is a zero, where the program stops; it would also stop at one among them.
        let mut bytes = vec![0; KERNEL_NAMES * size_of::<u64>()];
        for (room, address) in bytes.chunks_mut(size_of::<u64>()).zip(addresses) {
            room.copy_from_slice(&(*address).max(1).to_ne_bytes());
        }
        let failed = |source| SampleError::from_bpf("naming the kernel's functions", source);
        let key = 0_u32.to_ne_bytes();
        self.addresses
            .update(&key, &bytes, MapFlags::ANY)
            .map_err(failed)?;
        for program in self.object.progs_mut() {
            program.test_run(ProgramInput::default()).map_err(failed)?;
        }
        let texts = self.names.lookup(&key, MapFlags::ANY).map_err(failed)?;
        Ok(texts.unwrap_or_default())
    }
}

/// `NAME`, or `NAME [MODULE]`, up to a NUL; what is in no function is written as its address.
fn parse_text(text: &[u8]) -> Option<KernelFunction> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let mut words = text.split_ascii_whitespace();
    let name = words.next().filter(|name| !name.starts_with("0x"))?;
    let module = words
        .next()
        .and_then(|word| word.strip_prefix('[')?.strip_suffix(']'));
    Some(KernelFunction {
        name: name.to_owned(),
        module: module.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs};

    use super::*;

    #[test]
    fn a_text_is_a_name_with_its_module_or_an_address() {
        let parse =
            |text: &str| parse_text(text.as_bytes()).map(|found| (found.name, found.module));
        let named =
            |name: &str, module: Option<&str>| Some((name.to_owned(), module.map(str::to_owned)));
        assert_eq!(parse("do_syscall_64\0old"), named("do_syscall_64", None));
        assert_eq!(parse("xfs_read [xfs]\0"), named("xfs_read", Some("xfs")));
        assert_eq!(parse("0xffffffff81000000"), None);
        assert_eq!(parse(""), None);
    }

    /// More addresses than one call takes, among them some that are in no function.
    #[test]
    fn functions_have_the_names_of_the_kernels_list() {
        let names = match KernelNames::load() {
            Ok(names) => names,
            Err(error) => {
                return println!("skipped: functions_have_the_names_of_the_kernels_list: {error}");
            }
        };
        let list = fs::read_to_string("/proc/kallsyms").unwrap();
        let mut functions: HashMap<u64, Vec<&str>> = HashMap::new();
        for line in list.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some("t" | "T" | "w" | "W"), Some(name), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            let address = u64::from_str_radix(address, 16).unwrap();
            functions.entry(address).or_default().push(name);
        }
        functions.retain(|address, names| {
            *address != 0 && names.iter().any(|name| name.starts_with("do_sys"))
        });
        if functions.is_empty() {
            return println!(
                "skipped: functions_have_the_names_of_the_kernels_list: they are hidden"
            );
        }
        let mut addresses: Vec<u64> = functions.keys().copied().collect();
        let repeated = KERNEL_NAMES + 3;
        addresses = addresses.iter().copied().cycle().take(repeated).collect();
        addresses.insert(1, 0);
        addresses.push(1);
        let found = names.find(&addresses).unwrap();
        assert_eq!(found.len(), addresses.len());
        assert_eq!(found[1], None);
        assert_eq!(found.last().unwrap(), &None);
        for (address, found) in addresses.iter().zip(&found) {
            let Some(found) = found else { continue };
            // Several names can be at one address.
            assert!(
                functions[address].contains(&found.name.as_str()),
                "{found:?}"
            );
            assert_eq!(found.module, None);
        }
        assert_eq!(found.iter().flatten().count(), repeated);
    }
}
