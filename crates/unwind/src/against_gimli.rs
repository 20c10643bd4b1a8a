//! Tests of the rows of real libraries against gimli's own evaluation of the same entries.
//!
//! Both sides step through the same made-up machine: every register and every word of memory has a
//! value that depends on its name alone. If the rule and the file agree on CFA, return address and
//! rbp there, they read the same places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, EndianSlice, EvaluationResult,
    FrameDescriptionEntry, LittleEndian, Location, Register, RegisterRule, UnwindContext,
    UnwindExpression, UnwindSection as _, UnwindTableRow, Value, X86_64,
};
use viperf_elf::Image;

use crate::walk::Frame;
use crate::{CallerRbp, Cfa, Row, Rule, Step, WalkEnd, build_rows_of_image, find_rule};

type Bytes<'data> = EndianSlice<'data, LittleEndian>;

/// Any fixed mixing of the bits will do; multiples of 8 keep it like a stack.
fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (value ^ (value >> 32)) & 0x0000_7fff_ffff_fff8
}

fn memory(address: u64) -> u64 {
    mixed(address ^ 0x1234_5678_9abc)
}

fn register(register: Register) -> u64 {
    match register {
        X86_64::RSP => 0x1000, // below everything else, so that stacks ascend
        _ => mixed(u64::from(register.0) + 0x77),
    }
}

/// The caller's registers as the file has them.
#[derive(Debug, PartialEq, Eq)]
struct Caller {
    cfa: u64,
    ip: Option<u64>,
    bp: Option<u64>,
}

struct Oracle<'a, 'data> {
    section: &'a EhFrame<Bytes<'data>>,
    fde: &'a FrameDescriptionEntry<Bytes<'data>>,
    pc: u64,
}

impl Oracle<'_, '_> {
    fn value_of(&self, number: Register) -> u64 {
        match number {
            X86_64::RA => self.pc,
            _ => register(number),
        }
    }

    fn evaluate(&self, expression: &UnwindExpression<usize>, initial: Option<u64>) -> u64 {
        let expression = expression.get(self.section).unwrap();
        let mut evaluation = expression.evaluation(self.fde.cie().encoding());
        if let Some(initial) = initial {
            evaluation.set_initial_value(initial);
        }
        let mut result = evaluation.evaluate().unwrap();
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = Value::Generic(self.value_of(register));
                    evaluation.resume_with_register(value).unwrap()
                }
                EvaluationResult::RequiresMemory { address, .. } => {
                    let value = Value::Generic(memory(address));
                    evaluation.resume_with_memory(value).unwrap()
                }
                other => panic!("{other:?}"),
            };
        }
        match evaluation.result()[0].location {
            Location::Address { address } => address,
            other => panic!("{other:?}"),
        }
    }

    fn caller(&self, row: &UnwindTableRow<usize>) -> Caller {
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.value_of(*register).wrapping_add_signed(*offset)
            }
            CfaRule::Expression(expression) => self.evaluate(expression, None),
        };
        let restored = |number| match row.register(number) {
            None if number == X86_64::RA => None,
            None | Some(RegisterRule::SameValue) => Some(self.value_of(number)),
            Some(RegisterRule::Undefined) => None,
            Some(RegisterRule::Offset(offset)) => Some(memory(cfa.wrapping_add_signed(offset))),
            Some(RegisterRule::ValOffset(offset)) => Some(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::Register(other)) => Some(self.value_of(other)),
            Some(RegisterRule::Expression(expression)) => {
                Some(memory(self.evaluate(&expression, Some(cfa))))
            }
            Some(RegisterRule::ValExpression(expression)) => {
                Some(self.evaluate(&expression, Some(cfa)))
            }
            other => panic!("{other:?}"),
        };
        Caller {
            cfa,
            ip: restored(X86_64::RA),
            bp: restored(X86_64::RBP),
        }
    }
}

/// The caller by our rule, in the same machine.
fn caller_by_rule(rule: Rule, pc: u64) -> Result<Caller, WalkEnd> {
    let frame = Frame {
        ip: pc,
        sp: register(X86_64::RSP),
        bp: Some(register(X86_64::RBP)),
        general: Some(std::array::from_fn(|number| {
            register(Register(u16::try_from(number).unwrap()))
        })),
        is_return_address: false,
    };
    let caller = frame.step(rule, pc, &mut 0, &mut |address| Some(memory(address)))?;
    Ok(Caller {
        cfa: caller.sp,
        ip: Some(caller.ip),
        bp: caller.bp,
    })
}

#[derive(Debug, Default)]
struct Comparison {
    addresses: usize,
    bytes: u64,
    unsupported_bytes: u64,
    rbp_unknown_bytes: u64,
    innermost_only_bytes: u64,
    causes: BTreeMap<String, usize>,
}

impl Comparison {
    /// Compares at one address; the step that the rule says.
    fn compare(&mut self, rule: Rule, oracle: &Oracle<'_, '_>, row: &UnwindTableRow<usize>) {
        self.addresses += 1;
        let pc = oracle.pc;
        let expected = oracle.caller(row);
        match caller_by_rule(rule, pc) {
            Ok(ours) => {
                assert_eq!(
                    (ours.cfa, ours.ip),
                    (expected.cfa, expected.ip),
                    "at {pc:#x}"
                );
                assert!(ours.bp.is_none() || ours.bp == expected.bp, "at {pc:#x}");
            }
            Err(WalkEnd::Root) => assert_eq!(expected.ip, None, "at {pc:#x}"),
            Err(WalkEnd::UnsupportedRule { .. }) => {}
            Err(other) => panic!("{other:?} at {pc:#x}: {:?}", rule.decode()),
        }
    }

    fn count(&mut self, rule: Rule, bytes: u64) {
        self.bytes += bytes;
        match rule.decode() {
            Step::Unsupported(cause) => {
                self.unsupported_bytes += bytes;
                *self.causes.entry(format!("{cause:?}")).or_default() += 1;
            }
            Step::Caller { cfa, rbp } => {
                if rbp == CallerRbp::Unknown {
                    self.rbp_unknown_bytes += bytes;
                }
                if matches!(cfa, Cfa::Register { .. } | Cfa::DerefIndex { .. }) {
                    self.innermost_only_bytes += bytes;
                }
            }
            _ => {}
        }
    }

    fn share(&self, bytes: u64) -> f64 {
        100.0 * bytes as f64 / self.bytes.max(1) as f64
    }
}

/// Compares the rows at the start and the last byte of every row of every function; of rows with an
/// expression, which may depend on the address, at all of the first bytes.
fn compare_all(image: &Image<'_>, rows: &[Row]) -> Comparison {
    let eh_frame = image.eh_frame().unwrap();
    let section = EhFrame::new(eh_frame.data, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(eh_frame.svma.0);
    let mut context = UnwindContext::new();
    let mut comparison = Comparison::default();
    let mut entries = section.entries(&bases);
    while let Some(entry) = entries.next().unwrap() {
        let CieOrFde::Fde(partial) = entry else {
            continue;
        };
        let fde = partial.parse(EhFrame::cie_from_offset).unwrap();
        let mut table = fde.rows(&section, &bases, &mut context).unwrap();
        while let Some(row) = table.next_row().unwrap() {
            let (start, end) = (row.start_address(), row.end_address());
            if start == end {
                continue;
            }
            let every_byte = match row.cfa() {
                CfaRule::Expression(_) => start..end.min(start + 64),
                CfaRule::RegisterAndOffset { .. } => start..start + 1,
            };
            let rule_at = |pc: u64| find_rule(rows, u32::try_from(pc).unwrap());
            for pc in every_byte.chain([end - 1]) {
                let oracle = Oracle {
                    section: &section,
                    fde: &fde,
                    pc,
                };
                comparison.compare(rule_at(pc), &oracle, row);
            }
            comparison.count(rule_at(start), end - start);
        }
    }
    comparison
}

/// The gaps between functions have no rule, and the rows keep the promises of their type.
fn check_shape(rows: &[Row]) {
    for pair in rows.windows(2) {
        assert!(pair[0].pc < pair[1].pc);
        assert!(pair[0].rule != pair[1].rule);
    }
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    assert_eq!(last.rule, Rule::NONE);
    assert_eq!(find_rule(rows, first.pc - 1), Rule::NONE);
    assert_eq!(find_rule(rows, u32::MAX), Rule::NONE);
}

/// The share of bytes that rules cannot say must be at most this, in percent.
const MOST_UNSUPPORTED: f64 = 0.1;

fn compare_file(path: &Path) {
    let Ok(bytes) = std::fs::read(path) else {
        println!("skipped: no file {}", path.display());
        return;
    };
    let image = Image::parse(&bytes).unwrap();
    let started = Instant::now();
    let table = build_rows_of_image(&image).unwrap();
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    check_shape(&table.rows);
    let comparison = compare_all(&image, &table.rows);
    let unsupported = comparison.share(comparison.unsupported_bytes);
    println!(
        "{}: {} rows of {} functions in {milliseconds:.1} ms, {} skipped, {} unsupported rows \
         ({unsupported:.4} % of {} bytes, {:?}), rbp unknown in {:.4} %, innermost only {:.4} %, {} addresses compared",
        path.display(),
        table.rows.len(),
        table.fdes,
        table.skipped_fdes,
        table.unsupported_rows,
        comparison.bytes,
        comparison.causes,
        comparison.share(comparison.rbp_unknown_bytes),
        comparison.share(comparison.innermost_only_bytes),
        comparison.addresses,
    );
    assert_eq!(table.skipped_fdes, 0);
    assert!(unsupported <= MOST_UNSUPPORTED);
}

#[test]
fn rules_of_libpython_find_what_gimli_finds() {
    let versions = std::env::var_os("HOME")
        .map(|home| PathBuf::from(home).join(".pyenv/versions"))
        .and_then(|folder| std::fs::read_dir(folder).ok());
    let mut libraries: Vec<PathBuf> = versions
        .into_iter()
        .flatten()
        .flat_map(|version| std::fs::read_dir(version.ok()?.path().join("lib")).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".so.1.0"))
        .collect();
    libraries.sort();
    if libraries.is_empty() {
        libraries.push(PathBuf::from("/usr/bin/python3.11"));
    }
    for library in libraries.iter().filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with("libpython2")
    }) {
        compare_file(library);
    }
}

#[test]
fn rules_of_libc_find_what_gimli_finds() {
    compare_file(Path::new("/lib/x86_64-linux-gnu/libc.so.6"));
}

#[test]
fn rules_of_a_cpp_library_find_what_gimli_finds() {
    compare_file(Path::new("/lib/x86_64-linux-gnu/libstdc++.so.6"));
}

#[test]
fn rules_of_libcrypto_find_what_gimli_finds() {
    compare_file(Path::new("/lib/x86_64-linux-gnu/libcrypto.so.3"));
}

/// For files found nowhere by default, such as numpy's: paths separated by colons.
#[test]
fn rules_of_files_in_the_environment_find_what_gimli_finds() {
    let Some(paths) = std::env::var_os("VIPERF_UNWIND_TEST_FILES") else {
        println!("skipped: VIPERF_UNWIND_TEST_FILES names no files");
        return;
    };
    std::env::split_paths(&paths).for_each(|path| compare_file(&path));
}
