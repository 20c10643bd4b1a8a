//! Tests with code small enough to write down, and with the C libraries of this machine.

use std::path::Path;

use viperf_elf::Image;

use super::flow::{Flow, Part};
use super::frame::Frame;
use super::{analyse_code, find_code_to_analyse, find_lazy_linkage_table, find_signal_returns};
use crate::{CallerRbp, Cfa, Row, RowTable, Rule, Step, build_rows_of_image, find_rule};

const START: u64 = 0x1000;

/// The rows of one function with these bytes.
fn analysed(code: &[u8]) -> Vec<(u32, Rule)> {
    let mut flow = Flow::new(vec![Part::new(START, code)]);
    flow.add_start(START..START + code.len() as u64, Frame::ENTRY);
    let rows = flow.into_rows();
    rows.iter().map(|row| (row.pc, row.rule)).collect()
}

fn caller(cfa: Cfa, rbp: CallerRbp) -> Rule {
    Rule::encode(Step::Caller { cfa, rbp })
}

fn rsp(offset: i64) -> Rule {
    caller(Cfa::Rsp { offset }, CallerRbp::Unchanged)
}

const SAVED: CallerRbp = CallerRbp::BelowCfa { distance: 16 };

#[test]
fn pushes_and_pops_are_counted_along_both_ways_of_a_branch() {
    // 1000 push %rbx
    // 1001 sub $32,%rsp
    // 1005 test %edi,%edi
    // 1007 je 100e
    // 1009 add $32,%rsp
    // 100d ret                 with rbx still there: what the code says is not judged
    // 100e add $32,%rsp
    // 1012 pop %rbx
    // 1013 ret
    let code = [
        0x53, 0x48, 0x83, 0xec, 32, 0x85, 0xff, 0x74, 5, 0x48, 0x83, 0xc4, 32, 0xc3, 0x48, 0x83,
        0xc4, 32, 0x5b, 0xc3,
    ];
    assert_eq!(
        analysed(&code),
        [
            (0x1000, rsp(8)),
            (0x1001, rsp(16)),
            (0x1005, rsp(48)),
            (0x100d, rsp(16)),
            (0x100e, rsp(48)),
            (0x1012, rsp(16)),
            (0x1013, rsp(8)),
            (0x1014, Rule::NONE),
        ]
    );
}

#[test]
fn a_frame_pointer_is_followed_where_rsp_is_lost() {
    // 1000 push %rbp
    // 1001 mov %rsp,%rbp
    // 1004 sub %rax,%rsp
    // 1007 leave
    // 1008 ret
    let code = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x29, 0xc4, 0xc9, 0xc3];
    assert_eq!(
        analysed(&code),
        [
            (0x1000, rsp(8)),
            (0x1001, caller(Cfa::Rsp { offset: 16 }, SAVED)),
            (0x1004, caller(Cfa::Rbp { offset: 16 }, SAVED)),
            (0x1008, rsp(8)),
            (0x1009, Rule::NONE),
        ]
    );
}

#[test]
fn without_a_frame_pointer_a_lost_rsp_has_no_row() {
    // 1000 and $-64,%rsp
    // 1004 nop
    // 1005 ret
    let code = [0x48, 0x83, 0xe4, 0xc0, 0x90, 0xc3];
    assert_eq!(analysed(&code), [(0x1000, rsp(8)), (0x1004, Rule::NONE)]);
}

#[test]
fn a_lost_rsp_is_known_by_its_copy_until_that_is_overwritten() {
    // As OpenBLAS's gemm_kernel_4x8_sandy.S begins and ends.
    // 1000 sub $16,%rsp
    // 1004 mov %rbp,(%rsp)
    // 1008 mov %rsp,%rbx
    // 100b and $-4096,%rsp
    // 1012 add %rbx,%rax       reads the copy only
    // 1015 mov %rbx,%rsp
    // 1018 mov (%rsp),%rbp
    // 101c add $16,%rsp
    // 1020 ret
    let code = [
        0x48, 0x83, 0xec, 0x10, 0x48, 0x89, 0x2c, 0x24, 0x48, 0x89, 0xe3, 0x48, 0x81, 0xe4, 0x00,
        0xf0, 0xff, 0xff, 0x48, 0x01, 0xd8, 0x48, 0x89, 0xdc, 0x48, 0x8b, 0x2c, 0x24, 0x48, 0x83,
        0xc4, 0x10, 0xc3,
    ];
    let saved = CallerRbp::BelowCfa { distance: 24 };
    let by_copy = |offset| caller(Cfa::Register { number: 3, offset }, saved);
    assert_eq!(
        analysed(&code),
        [
            (0x1000, rsp(8)),
            (0x1004, rsp(24)),
            (0x1008, caller(Cfa::Rsp { offset: 24 }, saved)),
            (0x1012, by_copy(24)),
            (0x1018, caller(Cfa::Rsp { offset: 24 }, saved)),
            (0x101c, rsp(24)),
            (0x1020, rsp(8)),
            (0x1021, Rule::NONE),
        ]
    );
    // The same with `add %rax,%rbx`: there is no copy any more.
    let mut code = code;
    code[0x14] = 0xc3;
    assert_eq!(
        analysed(&code)[3..],
        [(0x1012, by_copy(24)), (0x1015, Rule::NONE)]
    );
}

#[test]
fn a_zero_in_rbp_that_was_not_saved_marks_the_root() {
    // 1000 xor %ebp,%ebp
    // 1002 call 1007
    // 1007 hlt
    let code = [0x31, 0xed, 0xe8, 0, 0, 0, 0, 0xf4];
    let root = Rule::encode(Step::Root);
    assert_eq!(analysed(&code)[..2], [(0x1000, rsp(8)), (0x1002, root)]);
}

#[test]
fn linkage_entries_know_what_they_have_pushed() {
    // lld: 1000 push got+8(%rip); jmp *got+16(%rip); nop
    //      1010 jmp *got+24(%rip); push $0; jmp 1000
    let mut code = vec![
        0xff, 0x35, 0, 0, 0, 0, 0xff, 0x25, 0, 0, 0, 0, 0x0f, 0x1f, 0x40, 0,
    ];
    code.extend([
        0xff, 0x25, 0, 0, 0, 0, 0x68, 0, 0, 0, 0, 0xe9, 0xe0, 0xff, 0xff, 0xff,
    ]);
    let mut flow = Flow::new(vec![Part::new(START, &code)]);
    flow.add_start(START..START + 16, Frame::entry_with(16));
    flow.add_start(START + 16..START + 32, Frame::ENTRY);
    let rows = flow.into_rows();
    let at = |pc| find_rule(&rows, pc);
    assert_eq!([at(0x1000), at(0x1006)], [rsp(16), rsp(24)]);
    assert_eq!(
        [at(0x1010), at(0x1016), at(0x101b)],
        [rsp(8), rsp(8), rsp(16)]
    );
    // The same in one row for all entries.
    let row = |pc, rule| Row { pc, rule };
    let plt = caller(Cfa::Plt { threshold: 11 }, CallerRbp::Unchanged);
    let expected = [
        row(0x1000, rsp(16)),
        row(0x1006, rsp(24)),
        row(0x1010, plt),
        row(0x1020, Rule::NONE),
    ];
    assert_eq!(find_lazy_linkage_table(START, &code), expected);
    assert_eq!(find_lazy_linkage_table(START, &code[..26]), []);
    assert_eq!(find_lazy_linkage_table(START + 8, &code), []);
}

#[test]
fn a_return_from_a_signal_handler_is_known_by_its_code() {
    // nop; mov $15,%rax; syscall; nop; mov $15,%eax; syscall
    let code = [
        0x90, 0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 5, 0x90, 0xb8, 15, 0, 0, 0, 0x0f, 5,
    ];
    let signal = Rule::encode(Step::Signal);
    let row = |pc, rule| Row { pc, rule };
    assert_eq!(
        find_signal_returns(START, &code),
        [row(0x1000, signal), row(0x1012, Rule::NONE)]
    );
    assert_eq!(find_signal_returns(START, &code[..9]), []);
}

fn with_image(path: &str, check: impl Fn(&Image<'_>)) {
    match std::fs::read(Path::new(path)) {
        Ok(bytes) => check(&Image::parse(&bytes).unwrap()),
        Err(_) => println!("skipped: no file {path}"),
    }
}

#[test]
fn a_parent_in_glibcs_clone_is_led_to_its_caller() {
    with_image("/lib/x86_64-linux-gnu/libc.so.6", |image| {
        let mut table = build_rows_of_image(image).unwrap();
        let clone = image.symbol("clone").unwrap();
        let start = u32::try_from(clone.svma.0).unwrap();
        let end = start + u32::try_from(clone.size).unwrap();
        let code = image
            .bytes_at(clone.svma, usize::try_from(clone.size).unwrap())
            .unwrap();
        let syscall = code
            .windows(2)
            .position(|bytes| bytes == [0x0f, 5])
            .unwrap();
        let syscall = start + u32::try_from(syscall).unwrap();
        assert_eq!(find_rule(&table.rows, syscall), Rule::NONE);
        assert!(!find_code_to_analyse(image, &table).is_empty());
        analyse_code(image, &mut table);
        assert_eq!(find_rule(&table.rows, syscall), rsp(8));
        // The child's part, which the file calls a root, stays one.
        let is_root = |pc| find_rule(&table.rows, pc).decode() == Step::Root;
        assert!((start..end).any(is_root));
    });
}

#[test]
fn musl_built_without_tables_gets_rows() {
    with_image("/lib/ld-musl-x86_64.so.1", |image| {
        let mut table = build_rows_of_image(image).unwrap_or_default();
        analyse_code(image, &mut table);
        for name in ["printf", "qsort", "malloc", "pthread_create"] {
            let function = image.symbol(name).unwrap();
            let start = u32::try_from(function.svma.0).unwrap();
            assert_eq!(find_rule(&table.rows, start), rsp(8), "{name}");
        }
        let is_signal = |row: &&Row| row.rule.decode() == Step::Signal;
        assert_eq!(table.rows.iter().filter(is_signal).count(), 1);
    });
}

#[test]
fn code_that_is_covered_is_not_looked_at() {
    with_image("/lib/x86_64-linux-gnu/libc.so.6", |image| {
        let before = build_rows_of_image(image).unwrap();
        let mut after: RowTable = before.clone();
        analyse_code(image, &mut after);
        for pair in before.rows.windows(2) {
            if pair[0].rule != Rule::NONE {
                assert_eq!(find_rule(&after.rows, pair[0].pc), pair[0].rule);
                assert_eq!(find_rule(&after.rows, pair[1].pc - 1), pair[0].rule);
            }
        }
    });
}
#[test]
fn functions_apart_by_an_odd_number_of_zeros_are_all_found() {
    // What `python -X perf` makes for each Python function (Python/asm_trampoline.S), padded to 16 bytes.
    let trampoline = [0x48, 0x83, 0xec, 8, 0xff, 0xd1, 0x48, 0x83, 0xc4, 8, 0xc3];
    let mut bytes = Vec::new();
    for _ in 0..64 {
        bytes.extend(trampoline);
        bytes.extend([0; 5]);
    }
    let rows = super::analyse_generated_code(&bytes);
    for number in 0..64 {
        let start = 16 * number;
        for (offset, cfa) in [(0, 8), (4, 16), (6, 16), (10, 8)] {
            let step = find_rule(&rows, start + offset).decode();
            let expected = Step::Caller {
                cfa: Cfa::Rsp { offset: cfa },
                rbp: CallerRbp::Unchanged,
            };
            assert_eq!(step, expected, "{start} + {offset}");
        }
        assert_eq!(find_rule(&rows, start + 11).decode(), Step::NoInformation);
    }
}

#[test]
fn cases_that_stand_before_their_switch_have_its_frame() {
    // 1000 push %rbx
    // 1001 sub $32,%rsp
    // 1005 jmp 100d
    // 1007 inc %eax            a case; nothing but the table leads here
    // 1009 jmp 1011
    // 100b inc %ecx            the last case before the switch
    // 100d jmp *(%rdx,%rsi,8)
    // 1010 clc
    // 1011 add $32,%rsp
    // 1015 pop %rbx
    // 1016 ret
    let code = [
        0x53, 0x48, 0x83, 0xec, 32, 0xeb, 6, 0xff, 0xc0, 0xeb, 6, 0xff, 0xc1, 0xff, 0x24, 0xf2,
        0xf8, 0x48, 0x83, 0xc4, 32, 0x5b, 0xc3,
    ];
    assert_eq!(
        analysed(&code),
        [
            (0x1000, rsp(8)),
            (0x1001, rsp(16)),
            (0x1005, rsp(48)),
            (0x1015, rsp(16)),
            (0x1016, rsp(8)),
            (0x1017, Rule::NONE),
        ]
    );
}

#[test]
fn much_code_is_looked_at_in_portions() {
    let mib = |start: u64, end: u64| start << 20..end << 20;
    let gaps = [
        mib(0, 10),
        mib(20, 26),
        mib(30, 31),
        mib(40, 56),
        mib(60, 61),
    ];
    let mut left = gaps.as_slice();
    let mut portions = Vec::new();
    while !left.is_empty() {
        let count = super::first_portion(left);
        portions.push(count);
        left = &left[count..];
    }
    assert_eq!(portions, [2, 1, 1, 1]);
}
