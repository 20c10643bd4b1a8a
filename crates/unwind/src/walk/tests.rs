//! Walks of processes small enough to write down.

use std::collections::BTreeMap;

use super::*;
use crate::rule::{Cause, Row, find_rule};

/// Rules by address and a stack by address: a process small enough to write down.
struct Process<'a> {
    rules: &'a [(u32, Step)],
    stack: &'a [(u64, u64)],
}

impl Process<'_> {
    fn walk(&self, registers: Registers, max_frames: usize) -> (Vec<NativeFrame>, WalkEnd) {
        let rows: Vec<Row> = self
            .rules
            .iter()
            .map(|&(pc, step)| Row {
                pc,
                rule: Rule::encode(step),
            })
            .collect();
        let stack: BTreeMap<u64, u64> = self.stack.iter().copied().collect();
        let find = |address: u64| {
            let pc = u32::try_from(address).ok()?;
            (pc >= 0x1000).then(|| find_rule(&rows, pc))
        };
        walk(
            registers,
            find,
            |address| stack.get(&address).copied(),
            max_frames,
        )
    }
}

fn at(ip: u64, sp: u64, bp: u64) -> Registers {
    Registers {
        ip,
        sp,
        bp,
        general: None,
    }
}

const fn rsp(offset: i64) -> Step {
    rsp_with(offset, CallerRbp::Unchanged)
}

const fn rsp_with(offset: i64, rbp: CallerRbp) -> Step {
    let cfa = Cfa::Rsp { offset };
    Step::Caller { cfa, rbp }
}

const SAVED_RBP: CallerRbp = CallerRbp::BelowCfa { distance: 16 };

const RBP_FRAME: Step = Step::Caller {
    cfa: Cfa::Rbp { offset: 16 },
    rbp: SAVED_RBP,
};

fn addresses(frames: &[NativeFrame]) -> Vec<u64> {
    frames.iter().map(|frame| frame.address).collect()
}

/// What `_start`, `main` and what follows look like at the bottom of these stacks.
///
/// ```text
/// 1000 _start: xor %ebp,%ebp        the end
/// 1010         call main
/// 1100 main:   push %rbp            CFA = rsp + 8
/// 1101         mov %rsp,%rbp        CFA = rsp + 16, rbp at CFA - 16
/// 1104         call work            CFA = rbp + 16, rbp at CFA - 16
/// ```
const START_AND_MAIN: [(u32, Step); 4] = [
    (0x1000, Step::Root),
    (0x1100, rsp(8)),
    (0x1101, rsp_with(16, SAVED_RBP)),
    (0x1104, RBP_FRAME),
];

/// `main`'s frame: its return address to `_start` and the rbp of 0 that it pushed.
const STACK_OF_MAIN: [(u64, u64); 2] = [(0x7ff8, 0x1015), (0x7ff0, 0)];
/// rbp in `main`.
const BP_OF_MAIN: u64 = 0x7ff0;

fn below_main<T: Copy>(main: &[T], rest: &[T]) -> Vec<T> {
    main.iter().chain(rest).copied().collect()
}

#[test]
fn frames_with_and_without_frame_pointer_lead_to_the_root() {
    // 1200 work: sub $24,%rsp         CFA = rsp + 8
    // 1204       call leaf            CFA = rsp + 32
    // 1300 leaf: ret                  CFA = rsp + 8
    let rules = below_main(
        &START_AND_MAIN,
        &[(0x1200, rsp(8)), (0x1204, rsp(32)), (0x1300, rsp(8))],
    );
    let stack = below_main(
        &STACK_OF_MAIN,
        &[
            (0x7fe8, 0x1109), // work returns to main
            (0x7fc8, 0x1209), // leaf returns to work
        ],
    );
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    let (frames, end) = process.walk(at(0x1300, 0x7fc8, BP_OF_MAIN), 16);
    assert_eq!(end, WalkEnd::Root);
    let frame = |address, cfa, is_return_address| NativeFrame {
        address,
        cfa,
        is_return_address,
    };
    assert_eq!(
        frames,
        [
            frame(0x1300, 0x7fd0, false),
            frame(0x1209, 0x7ff0, true),
            frame(0x1109, 0x8000, true),
            frame(0x1015, u64::MAX, true),
        ]
    );

    // The same stack at each instruction of main's prologue.
    for (ip, sp) in [(0x1100, 0x7ff8), (0x1101, 0x7ff0)] {
        let (frames, end) = process.walk(at(ip, sp, 0), 16);
        assert_eq!((addresses(&frames), end), (vec![ip, 0x1015], WalkEnd::Root));
    }

    let (frames, end) = process.walk(at(0x1300, 0x7fc8, BP_OF_MAIN), 2);
    assert_eq!((frames.len(), end), (2, WalkEnd::TooManyFrames));
}

#[test]
fn a_call_at_the_very_end_of_a_function_belongs_to_that_function() {
    // 1200 fail:  sub $8,%rsp        CFA = rsp + 8
    // 1204        call abort         CFA = rsp + 16; the call's last byte is 1208
    // 1209 next:  ret                CFA = rsp + 8: would be wrong by one word
    let rules = below_main(
        &START_AND_MAIN,
        &[
            (0x1200, rsp(8)),
            (0x1204, rsp(16)),
            (0x1209, rsp(8)),
            (0x1300, rsp(8)),
        ],
    );
    let stack = below_main(
        &STACK_OF_MAIN,
        &[(0x7fe8, 0x1109), (0x7fe0, 0xdead), (0x7fd8, 0x1209)],
    );
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    let (frames, end) = process.walk(at(0x1300, 0x7fd8, BP_OF_MAIN), 16);
    assert_eq!(end, WalkEnd::Root);
    assert_eq!(addresses(&frames), [0x1300, 0x1209, 0x1109, 0x1015]);
    assert_eq!(frames[1].lookup_address(), 0x1208);
}

#[test]
fn a_signal_on_another_stack_leads_back_to_the_interrupted_instruction() {
    // 1200 work: sub $24,%rsp       CFA = rsp + 8; interrupted here, at its first byte
    // 11ff                          the byte before belongs to nothing
    // 4fff       nop                glibc: the FDE of __restore_rt starts a byte early
    // 5000 __restore_rt: mov $15,%rax
    // 6000 handler: push %rbp       CFA = rsp + 8
    // 6001          ...             CFA = rsp + 16, rbp at CFA - 16
    let rules = below_main(
        &START_AND_MAIN,
        &[
            (0x1180, Step::NoInformation),
            (0x1200, rsp(8)),
            (0x1204, rsp(32)),
            (0x4fff, Step::Signal),
            (0x6000, rsp(8)),
            (0x6001, rsp_with(16, SAVED_RBP)),
        ],
    );
    // The alternate stack is above the thread's, so that the way back descends.
    let ucontext = 0x9_0000;
    let stack = below_main(
        &STACK_OF_MAIN,
        &[
            (0x7fe8, 0x1109),         // work returns to main
            (ucontext + 168, 0x1200), // rip
            (ucontext + 160, 0x7fe8), // rsp
            (ucontext + 120, 0x7ff0), // rbp
            (ucontext - 8, 0x5000),   // handler returns to __restore_rt
            (ucontext - 16, 0x6666),  // what handler pushed: rbp is anything there
        ],
    );
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    let (frames, end) = process.walk(at(0x6001, ucontext - 16, 0xbad), 16);
    assert_eq!(end, WalkEnd::Root);
    assert_eq!(addresses(&frames), [0x6001, 0x5000, 0x1200, 0x1109, 0x1015]);
    let cfas: Vec<u64> = frames.iter().map(|frame| frame.cfa).collect();
    assert_eq!(cfas, [ucontext, ucontext + 8, 0x7ff0, 0x8000, u64::MAX]);
    assert!(frames[1].is_return_address && !frames[2].is_return_address);
}

#[test]
fn assembly_that_keeps_the_callers_rsp_on_its_own_stack_is_left_through_it() {
    // OpenSSL, rsaz-x86_64.pl and others:
    // 1200 mul:  mov %rsp,%rax       CFA = rsp + 8
    // 1203       sub $128,%rsp       CFA = rax + 8
    // 120a       and $-64,%rsp
    // 120e       mov %rax,40(%rsp)
    // 1213       ...                 CFA = *(rsp + 40) + 8
    let rax = Step::Caller {
        cfa: Cfa::Register {
            number: 0,
            offset: 8,
        },
        rbp: CallerRbp::Unchanged,
    };
    let saved = Step::Caller {
        cfa: Cfa::DerefRsp { pre: 40, post: 8 },
        rbp: CallerRbp::Unchanged,
    };
    let rules = below_main(
        &START_AND_MAIN,
        &[(0x1200, rsp(8)), (0x1203, rax), (0x1213, saved)],
    );
    let stack = below_main(&STACK_OF_MAIN, &[(0x7fe8, 0x1109), (0x7f40 + 40, 0x7fe8)]);
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    let expected = [0x1109, 0x1015];
    let mut general = [0; 16];
    general[0] = 0x7fe8;
    for (ip, sp) in [(0x1200, 0x7fe8), (0x120a, 0x7f68), (0x1213, 0x7f40)] {
        let registers = Registers {
            general: Some(general),
            ..at(ip, sp, BP_OF_MAIN)
        };
        let (frames, end) = process.walk(registers, 16);
        assert_eq!(
            (addresses(&frames[1..]), end),
            (expected.to_vec(), WalkEnd::Root)
        );
    }
    // Without rax, the one row that needs it is the end.
    let (frames, end) = process.walk(at(0x120a, 0x7f68, BP_OF_MAIN), 16);
    assert_eq!((frames.len(), end), (1, WalkEnd::RegisterLost));
}

#[test]
fn a_frame_as_long_as_a_register_says_is_left_through_the_word_behind_it() {
    // OpenSSL, x86_64-mont.pl: CFA = *(rsp + 8 * r9 + 8) + 8.
    let index = Step::Caller {
        cfa: Cfa::DerefIndex {
            number: 9,
            pre: 8,
            post: 8,
        },
        rbp: CallerRbp::Unchanged,
    };
    let rules = below_main(&START_AND_MAIN, &[(0x1200, index)]);
    let stack = below_main(
        &STACK_OF_MAIN,
        &[(0x7fe8, 0x1109), (0x7e00 + 8 * 16 + 8, 0x7fe8)],
    );
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    let mut general = [0; 16];
    general[9] = 16;
    let registers = Registers {
        general: Some(general),
        ..at(0x1210, 0x7e00, BP_OF_MAIN)
    };
    let (frames, end) = process.walk(registers, 16);
    assert_eq!(addresses(&frames), [0x1210, 0x1109, 0x1015]);
    assert_eq!(end, WalkEnd::Root);
}

#[test]
fn a_stack_that_gcc_realigned_gives_back_rsp_and_rbp() {
    // 1200 work: lea 8(%rsp),%r10   CFA = rsp + 8
    // 1205       and $-64,%rsp      CFA = r10
    // 1209       push -8(%r10)
    // 120d       push %rbp
    // 120e       mov %rsp,%rbp
    // 1211       push %r10          CFA = r10, rbp at rbp
    // 1213       ... call leaf      CFA = *(rbp - 8), rbp at rbp
    // 1300 leaf: ret                CFA = rsp + 8
    let r10 = |rbp| Step::Caller {
        cfa: Cfa::Register {
            number: 10,
            offset: 0,
        },
        rbp,
    };
    let realigned = Step::Caller {
        cfa: Cfa::DerefRbp { pre: -8, post: 0 },
        rbp: CallerRbp::AtRbp,
    };
    let rules = below_main(
        &START_AND_MAIN,
        &[
            (0x1200, rsp(8)),
            (0x1205, r10(CallerRbp::Unchanged)),
            (0x1211, r10(CallerRbp::AtRbp)),
            (0x1213, realigned),
            (0x1300, rsp(8)),
        ],
    );
    let stack = below_main(
        &STACK_OF_MAIN,
        &[
            (0x7fe8, 0x1109),     // work returns to main
            (0x7fb8, 0x1109),     // the copy of that below the aligned place
            (0x7fb0, BP_OF_MAIN), // push %rbp; rbp = 0x7fb0
            (0x7fa8, 0x7ff0),     // push %r10
            (0x7f78, 0x1240),     // leaf returns to work
        ],
    );
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    let (frames, end) = process.walk(at(0x1300, 0x7f78, 0x7fb0), 16);
    assert_eq!(end, WalkEnd::Root);
    assert_eq!(addresses(&frames), [0x1300, 0x1240, 0x1109, 0x1015]);
    assert_eq!(frames[1].cfa, 0x7ff0);

    let mut general = [0; 16];
    general[10] = 0x7ff0;
    // The last one is behind `leave`, where gcc says again that CFA = r10, and still that rbp is at rbp.
    for (ip, sp, bp) in [
        (0x1205, 0x7fe8, BP_OF_MAIN),
        (0x1211, 0x7fb0, 0x7fb0),
        (0x1211, 0x7fb8, BP_OF_MAIN),
    ] {
        let registers = Registers {
            general: Some(general),
            ..at(ip, sp, bp)
        };
        let (frames, end) = process.walk(registers, 16);
        assert_eq!((frames.len(), end), (3, WalkEnd::Root));
    }
}

#[test]
fn a_saved_rbp_that_cannot_be_read_is_missed_only_where_it_is_needed() {
    // 1200 work: has saved rbp three words below its CFA, or two, or where rbp points to.
    let places = [
        CallerRbp::BelowCfa { distance: 24 },
        CallerRbp::BelowCfa { distance: 16 },
        CallerRbp::AtRbp,
    ];
    for place in places {
        let rules = below_main(&START_AND_MAIN, &[(0x1200, rsp_with(32, place))]);
        for (return_address, expected) in [(0x1102, WalkEnd::Root), (0x1109, WalkEnd::RegisterLost)]
        {
            // main pushes nothing but rbp: at 1101 its CFA is counted from rsp, from 1104 on from rbp.
            let process = Process {
                rules: &rules,
                stack: &[(0x7ff8, 0x1015), (0x7fe8, return_address)],
            };
            let (frames, end) = process.walk(at(0x1210, 0x7fd0, 0x7fd8), 16);
            assert_eq!(end, expected, "{place:?}");
            let whole = [0x1210, return_address, 0x1015];
            assert!(whole.starts_with(&addresses(&frames)), "{place:?}");
        }
    }
}

#[test]
fn a_return_address_in_a_register_leads_on_in_the_innermost_frame() {
    // 1200 vfork: pop %rdi          CFA = rsp + 8
    // 1201        mov $58,%eax      CFA = rsp, return address in rdi
    // 1206        syscall
    // 1208        push %rdi         CFA = rsp + 8, return address in rdi
    let popped = |offset| Step::ReturnInRegister { number: 5, offset };
    let rules = below_main(
        &START_AND_MAIN,
        &[(0x1200, rsp(8)), (0x1201, popped(0)), (0x1209, popped(8))],
    );
    let stack = below_main(&STACK_OF_MAIN, &[(0x7fe8, 0x1109)]);
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    let mut general = [0; 16];
    general[5] = 0x1109;
    for (ip, sp) in [(0x1200, 0x7fe8), (0x1208, 0x7ff0), (0x1209, 0x7fe8)] {
        let registers = Registers {
            general: Some(general),
            ..at(ip, sp, BP_OF_MAIN)
        };
        let (frames, end) = process.walk(registers, 16);
        assert_eq!(addresses(&frames), [ip, 0x1109, 0x1015]);
        assert_eq!((frames[0].cfa, end), (0x7ff0, WalkEnd::Root));
    }
    let (frames, end) = process.walk(at(0x1208, 0x7ff0, BP_OF_MAIN), 16);
    assert_eq!((frames.len(), end), (1, WalkEnd::RegisterLost));
}

#[test]
fn an_entry_of_the_linkage_table_knows_whether_it_has_pushed() {
    // 1210 f@plt: jmp *(got)        CFA = rsp + 8
    // 1216        push $1           CFA = rsp + 8
    // 121b        jmp resolver      CFA = rsp + 16
    let plt = Step::Caller {
        cfa: Cfa::Plt { threshold: 11 },
        rbp: CallerRbp::Unchanged,
    };
    let rules = below_main(&START_AND_MAIN, &[(0x1200, plt)]);
    let stack = below_main(&STACK_OF_MAIN, &[(0x7fe8, 0x1109), (0x7fe0, 1)]);
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    for (ip, sp) in [(0x1210, 0x7fe8), (0x1216, 0x7fe8), (0x121b, 0x7fe0)] {
        let (frames, end) = process.walk(at(ip, sp, BP_OF_MAIN), 16);
        assert_eq!(addresses(&frames), [ip, 0x1109, 0x1015]);
        assert_eq!(end, WalkEnd::Root);
    }
}

#[test]
fn a_lost_rbp_ends_the_walk_only_where_it_is_needed_and_is_found_again_where_saved() {
    let loses = rsp_with(16, CallerRbp::Unknown);
    let saves = rsp_with(24, CallerRbp::BelowCfa { distance: 24 });
    let rules = below_main(&START_AND_MAIN, &[(0x1200, loses), (0x1300, saves)]);
    // 1200 lost rbp, 1300 called it and had saved main's rbp, which main needs.
    let stack = below_main(
        &STACK_OF_MAIN,
        &[(0x7fe8, 0x1109), (0x7fd8, BP_OF_MAIN), (0x7fd0, 0x1310)],
    );
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    let (frames, end) = process.walk(at(0x1200, 0x7fc8, 0xbad), 16);
    assert_eq!(addresses(&frames), [0x1200, 0x1310, 0x1109, 0x1015]);
    assert_eq!(end, WalkEnd::Root);

    let stack = below_main(&STACK_OF_MAIN, &[(0x7fe8, 0x1109)]);
    let process = Process {
        rules: &rules,
        stack: &stack,
    };
    let (frames, end) = process.walk(at(0x1200, 0x7fe0, 0xbad), 16);
    assert_eq!(addresses(&frames), [0x1200, 0x1109]);
    assert_eq!((end, frames[1].cfa), (WalkEnd::RegisterLost, u64::MAX));
}

#[test]
fn every_way_to_break_has_its_name_and_keeps_the_frames_before() {
    let rules = [
        (0x1000, Step::NoInformation),
        (0x1200, rsp(8)),
        (0x1300, rsp(-8)),
        (0x1400, Step::Unsupported(Cause::CfaExpression)),
        (0x1500, rsp(0)),
    ];
    let process = Process {
        rules: &rules,
        stack: &[
            (0x100, 0x1201), // to the same function, one word up
            (0x108, 0x20),   // to nowhere
            (0x200, 0x1101), // to the gap
            (0x300, 0),
        ],
    };
    let ends = |ip, sp| {
        let (frames, end) = process.walk(at(ip, sp, 0), 16);
        (frames.len(), end)
    };
    let no_mapping = WalkEnd::NoMapping { address: 0x1f };
    let no_information = WalkEnd::NoUnwindInformation { address: 0x1100 };
    let rule = Rule::encode(rules[3].1);
    assert_eq!(ends(0x1200, 0x100), (3, no_mapping));
    assert_eq!(ends(0x1200, 0x200), (2, no_information));
    assert_eq!(ends(0x1200, 0x300), (1, WalkEnd::Root));
    assert_eq!(ends(0x1300, 0x100), (1, WalkEnd::StackNotAscending));
    assert_eq!(ends(0x1500, 0x100), (1, WalkEnd::StackNotAscending));
    assert_eq!(ends(0x1400, 0x100), (1, WalkEnd::UnsupportedRule { rule }));
    let address = 0x500;
    assert_eq!(
        ends(0x1200, address),
        (1, WalkEnd::UnreadableMemory { address })
    );
    // A CFA that wraps around the address space does not ascend.
    assert_eq!(ends(0x1200, u64::MAX - 3), (1, WalkEnd::StackNotAscending));
}
