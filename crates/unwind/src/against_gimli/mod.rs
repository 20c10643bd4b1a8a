//! Tests of rows against gimli's own evaluation of the same entries.
//!
//! Both sides step through the same made-up machine: every register and every word of memory has a
//! value that depends on its name alone. If the rule and the file agree on CFA, return address and
//! rbp there, they read the same places.

#[cfg(test)]
mod against_readelf;
#[cfg(test)]
mod compilers;
#[cfg(test)]
mod files;
#[cfg(test)]
mod generated;

use std::collections::BTreeMap;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EndianSlice, EvaluationResult, FrameDescriptionEntry,
    LittleEndian, Location, Register, RegisterRule, UnwindContext, UnwindExpression, UnwindSection,
    UnwindTableRow, Value, X86_64,
};

use crate::walk::Frame;
use crate::{CallerRbp, Cfa, Row, Rule, Step, WalkEnd, find_rule};

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

struct Oracle<'a, 'data, S> {
    section: &'a S,
    fde: &'a FrameDescriptionEntry<Bytes<'data>>,
    pc: u64,
}

impl<'data, S: UnwindSection<Bytes<'data>>> Oracle<'_, 'data, S> {
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

/// Where rbp is said to be at rbp and that is no place in the frame, a walk takes it for the caller's, against the file:
/// so does gcc's code behind `leave`. The walk's own tests have the stack of such a program.
fn is_behind_leave(rule: Rule, cfa: u64) -> bool {
    let (sp, bp) = (register(X86_64::RSP), register(X86_64::RBP));
    let is_at_rbp = matches!(
        rule.decode(),
        Step::Caller {
            rbp: CallerRbp::AtRbp,
            ..
        }
    );
    is_at_rbp && !(sp..cfa).contains(&bp)
}

/// What was compared, in addresses and in bytes of code.
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
    fn compare<'data, S: UnwindSection<Bytes<'data>>>(
        &mut self,
        rule: Rule,
        oracle: &Oracle<'_, 'data, S>,
        row: &UnwindTableRow<usize>,
    ) {
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
                let bp = match is_behind_leave(rule, expected.cfa) {
                    true => Some(register(X86_64::RBP)),
                    false => expected.bp,
                };
                assert!(ours.bp.is_none() || ours.bp == bp, "at {pc:#x}");
            }
            Err(WalkEnd::Root) => assert_eq!(expected.ip, None, "at {pc:#x}"),
            // A rule that leads down the stack, or not up, is refused by a walk.
            Err(WalkEnd::StackNotAscending) => {
                assert!(expected.cfa <= register(X86_64::RSP), "at {pc:#x}");
            }
            Err(WalkEnd::UnsupportedRule { .. }) => {}
            Err(other) => panic!("{other:?} at {pc:#x}: {:?}", rule.decode()),
        }
    }

    /// Compares at every address of a row of the file, up to `end`.
    fn compare_row<'data, S: UnwindSection<Bytes<'data>>>(
        &mut self,
        section: &S,
        fde: &FrameDescriptionEntry<Bytes<'data>>,
        row: &UnwindTableRow<usize>,
        rows: &[Row],
        end: u64,
    ) {
        let end = row.end_address().min(end);
        let mut pc = row.start_address();
        while pc < end {
            let (rule, rule_end) = rule_with_end(rows, pc);
            let part_end = rule_end.min(end);
            let singly = match row.cfa() {
                CfaRule::Expression(_) => pc..part_end.min(pc + 64),
                CfaRule::RegisterAndOffset { .. } => pc..pc + 1,
            };
            for pc in singly.chain([part_end - 1]) {
                let oracle = Oracle { section, fde, pc };
                self.compare(rule, &oracle, row);
            }
            self.count(rule, part_end - pc);
            pc = part_end;
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

/// Compares the rows at every address: each row of the section's functions with each of ours that it overlaps, of rows
/// with an expression, which may depend on the address, the first bytes one by one. What no function covers has no rule.
///
/// Where functions overlap, the one that starts later holds, of equal ones the first that can be read; `counts` says which
/// are looked at.
fn compare_all<'data, S: UnwindSection<Bytes<'data>>>(
    section: &S,
    bases: &BaseAddresses,
    rows: &[Row],
    counts: impl Fn(&FrameDescriptionEntry<Bytes<'data>>) -> bool,
) -> Comparison {
    let mut context = UnwindContext::new();
    let mut functions: Vec<FrameDescriptionEntry<Bytes<'data>>> = Vec::new();
    let mut entries = section.entries(bases);
    while let Some(entry) = entries.next().unwrap() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(fde) = partial.parse(S::cie_from_offset)
            && counts(&fde)
        {
            functions.push(fde);
        }
    }
    functions.sort_by_key(FrameDescriptionEntry::initial_address); // stable
    let mut comparison = Comparison::default();
    let mut covered_to = 0;
    let mut groups = functions
        .chunk_by(|a, b| a.initial_address() == b.initial_address())
        .peekable();
    while let Some(group) = groups.next() {
        let next = groups.peek().and_then(|next| next.first());
        let limit = next.map_or(u64::MAX, FrameDescriptionEntry::initial_address);
        let first_readable = group.iter().find_map(|fde| {
            let end = fde.end_address().min(limit);
            let mut table = fde.rows(section, bases, &mut context).ok()?;
            let mut expected = Vec::new();
            while let Some(row) = table.next_row().ok()? {
                if row.start_address() >= end {
                    break;
                }
                expected.push(row.clone());
            }
            Some((fde, end, expected))
        });
        let Some((fde, end, expected)) = first_readable else {
            continue;
        };
        check_gap(rows, covered_to, fde.initial_address());
        covered_to = end;
        for row in &expected {
            comparison.compare_row(section, fde, row, rows, end);
        }
    }
    check_gap(rows, covered_to, 1 << 32);
    comparison
}

/// The rule at an address and where the next one starts.
fn rule_with_end(rows: &[Row], pc: u64) -> (Rule, u64) {
    let after = rows.partition_point(|row| u64::from(row.pc) <= pc);
    let end = rows.get(after).map_or(1 << 32, |row| u64::from(row.pc));
    (find_rule(rows, u32::try_from(pc).unwrap()), end)
}

/// No rule reaches into a gap.
fn check_gap(rows: &[Row], start: u64, end: u64) {
    if start < end {
        let (rule, rule_end) = rule_with_end(rows, start);
        assert_eq!(rule, Rule::NONE, "{start:#x}");
        assert!(
            rule_end >= end,
            "a rule at {rule_end:#x}, where no function is"
        );
    }
}

/// The rows keep the promises of their type.
fn check_shape(rows: &[Row]) {
    for pair in rows.windows(2) {
        assert!(pair[0].pc < pair[1].pc);
        assert!(pair[0].rule != pair[1].rule);
    }
    assert!(rows.last().is_none_or(|last| last.rule == Rule::NONE));
    assert!(rows.first().is_none_or(|first| first.rule != Rule::NONE));
}
