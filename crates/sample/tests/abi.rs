//! The records in C and in Rust are the same: every size, field, offset and enumerator, read from the BTF that clang
//! wrote for `abi.bpf.c`.

#![expect(
    clippy::too_many_lines,
    reason = "each test is one list of names, which rustfmt breaks into lines"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the functions beside the tests are part of them"
)]

use std::{collections::BTreeMap, mem::offset_of};

use libbpf_rs::btf::{
    Btf, HasSize,
    types::{Enum, MemberAttr, Struct},
};
use viperf_abi::{
    CODE_CLASS, CODE_OLD_CLASS, CODE_SHIM, CaptureRecord, CodeIdentity, CodeKey, CodeRecord,
    Configuration, GilPlaces, LAYOUT_BACK_LINKS, LAYOUT_BYTE_STRINGS, LAYOUT_CALL_PER_FRAME,
    LAYOUT_CFRAME, LAYOUT_CFRAME_PER_RUN, LAYOUT_GLIBC_KEYS, LAYOUT_MUSL_KEYS, LINE_TABLE_LNOTAB,
    LINE_TABLE_LNOTAB_UNSIGNED, LINE_TABLE_LOCATIONS, LINE_TABLE_RANGES, Lost, Mapping,
    PROCESS_NEVER_DEFER, PROCESS_PYTHON, PROCESS_READ, PROCESS_STARTS_TARGET, PROCESS_TARGET,
    Process, ProcessRecord, PythonLayout, Reason, RecordHeader, RecordKind, RowTable,
    SAMPLE_ATTACHMENT_KNOWN, SAMPLE_BORROWED_MEMORY, SAMPLE_CALL_PER_FRAME, SAMPLE_DEFERRED,
    SAMPLE_GIL_KNOWN, SAMPLE_HOLDS_GIL, SAMPLE_IS_ATTACHED, SAMPLE_LOOKED_AT,
    SAMPLE_NO_THREAD_STATE, SAMPLE_PYTHON, SampleRecord, StackRecord, THREAD_ENDS,
    THREAD_HAS_MOVED, THREAD_RUNS, TextHeader, ThreadRecord, UnwindRow, WordKind, limit,
};
use viperf_unwind::{CallerRbp, Cause, Cfa, Rule, Step};

fn abi() -> Btf<'static> {
    Btf::from_raw("abi", viperf_bpf::abi())
        .unwrap()
        .expect("clang writes BTF with -g")
}

/// Fields of a struct in C: name and offset in bytes, in order; and its size.
fn fields_in_c(btf: &Btf<'_>, name: &str) -> (Vec<(String, usize)>, usize) {
    let found: Struct<'_> = btf
        .type_by_name(name)
        .unwrap_or_else(|| panic!("struct {name} is not anchored"));
    let fields = found.iter().map(|member| {
        let MemberAttr::Normal { offset } = member.attr else {
            panic!("{name} has a bit field")
        };
        (
            member.name.unwrap().to_str().unwrap().to_owned(),
            offset as usize / 8,
        )
    });
    (fields.collect(), found.size())
}

/// Compares a struct; `tail` is a last field that only C has, because Rust reads it as a slice.
fn compare(
    btf: &Btf<'_>,
    name: &str,
    rust: &[(&str, usize)],
    rust_size: usize,
    tail: Option<&str>,
) {
    let (mut fields, mut size) = fields_in_c(btf, name);
    if let Some(tail) = tail {
        let (last, offset) = fields.pop().unwrap();
        assert_eq!(last, tail, "the last field of {name}");
        size = offset;
    }
    let rust: Vec<(String, usize)> = rust
        .iter()
        .map(|(name, offset)| ((*name).to_owned(), *offset))
        .collect();
    assert_eq!(rust, fields, "the fields of {name}");
    assert_eq!(rust_size, size, "the size of {name}");
}

macro_rules! compare {
    ($btf:expr, $c:literal, $rust:ident { $($field:ident),* $(,)? } $(+ $tail:literal)?) => {{
        // Taken apart whole, so that a new field does not compile unseen.
        let _ = |value: $rust| { let $rust { $($field: _),* } = value; };
        let tail: &[&str] = &[$($tail)?];
        let fields = [$((stringify!($field), offset_of!($rust, $field))),*];
        compare($btf, $c, &fields, size_of::<$rust>(), tail.first().copied());
    }};
}

#[test]
fn records_are_the_same_in_c_and_rust() {
    let btf = &abi();
    compare!(btf, "unwind_row", UnwindRow { pc, rule });
    compare!(
        btf,
        "row_table",
        RowTable {
            place,
            last_used,
            placement
        }
    );
    compare!(
        btf,
        "mapping",
        Mapping {
            start,
            end,
            load_bias,
            row_table,
            executable
        }
    );
    compare!(
        btf,
        "process",
        Process {
            epoch,
            flags,
            first_mapping,
            mapping_count,
            runtime,
            code_type,
            interpreter,
            eval_above_entry,
            eval_rule,
            last_thread,
            eval_word,
            layout
        }
    );
    compare!(btf, "record_header", RecordHeader { kind, size });
    compare!(
        btf,
        "sample_record",
        SampleRecord {
            header,
            time_ns,
            tgid,
            tid,
            cpu,
            slot,
            epoch,
            flags,
            thread_pointer,
            thread_name
        }
    );
    compare!(
        btf,
        "stack_record",
        StackRecord {
            sample,
            kernel_count,
            native_count,
            python_count,
            native_skipped,
            python_skipped,
            reserved
        } + "words"
    );
    compare!(
        btf,
        "text_header",
        TextHeader {
            address,
            length,
            captured,
            kind,
            ascii
        }
    );
    compare!(
        btf,
        "process_record",
        ProcessRecord {
            header,
            time_ns,
            tgid,
            parent_tgid,
            epoch,
            reserved
        }
    );
    compare!(
        btf,
        "capture_record",
        CaptureRecord {
            header,
            tgid,
            cpu,
            captured,
            below,
            offset,
            reserved,
            ip,
            sp,
            bp,
            registers
        } + "stack"
    );
    compare!(
        btf,
        "thread_record",
        ThreadRecord {
            header,
            tgid,
            tid,
            epoch,
            state,
            flags,
            system_call,
            arguments,
            thread_pointer,
            thread_state,
            gil,
            switches,
            thread_name
        }
    );
    compare!(
        btf,
        "gil_places",
        GilPlaces {
            current_thread_state,
            gil,
            interpreter_gil,
            gil_holder,
            gil_locked,
            thread_attached,
            epoch,
            reserved
        }
    );
    compare!(
        btf,
        "code_key",
        CodeKey {
            address,
            epoch,
            reserved
        }
    );
    compare!(
        btf,
        "code_identity",
        CodeIdentity {
            contents,
            qualname,
            filename,
            line_table,
            first_line,
            id,
            version,
            reserved
        }
    );
    compare!(
        btf,
        "configuration",
        Configuration {
            native,
            kernel,
            follow_children,
            capture,
            report_every_exec,
            gil,
            adopt,
            in_control_group,
            has_name,
            own_tgid,
            name
        }
    );
    compare!(
        btf,
        "code_record",
        CodeRecord {
            header,
            id,
            epoch,
            tgid,
            first_line,
            address,
            flags,
            line_table_size,
            line_table_captured,
            line_table_kind,
            line_table_address,
            qualname,
            filename,
            class_address,
            class_name,
            qualname_bytes,
            filename_bytes,
        } + "line_table"
    );
    compare!(
        btf,
        "python_layout",
        PythonLayout {
            runtime_interpreters_head,
            runtime_auto_tss_key,
            interpreter_next,
            interpreter_threads_head,
            thread_previous,
            thread_next,
            thread_interpreter,
            thread_id,
            thread_frame,
            thread_cframe,
            thread_root_cframe,
            thread_base_frame,
            cframe_current_frame,
            cframe_previous,
            frame_size,
            frame_code,
            frame_previous,
            frame_instruction,
            frame_owner,
            frame_is_entry,
            frame_stack_top,
            entry_owner,
            frame_copy,
            frame_locals,
            code_size,
            code_first_line,
            code_filename,
            code_qualname,
            code_name,
            code_line_table,
            code_instructions,
            code_copies,
            code_version,
            code_argument_count,
            code_local_count,
            code_variable_names,
            code_cell_names,
            code_flags,
            text_length,
            text_state,
            text_kind_shift,
            text_ascii_data,
            text_compact_data,
            bytes_size,
            bytes_data,
            object_type,
            type_name,
            type_flags,
            tuple_items,
            line_table_kind,
            flags,
            thread_state_tls,
        }
    );
}

fn compare_enum<'name>(
    btf: &Btf<'_>,
    name: &str,
    rust: impl IntoIterator<Item = (&'name str, i64)>,
) {
    let found: Enum<'_> = btf
        .type_by_name(name)
        .unwrap_or_else(|| panic!("enum {name} is not anchored"));
    let c: BTreeMap<String, i64> = found
        .iter()
        .map(|member| {
            (
                member.name.unwrap().to_str().unwrap().to_owned(),
                member.value,
            )
        })
        .collect();
    let rust: BTreeMap<String, i64> = rust
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    assert_eq!(rust, c, "the enumerators of {name}");
}

#[test]
fn numbers_are_the_same_in_c_and_rust() {
    let btf = &abi();
    compare_enum(
        btf,
        "limit",
        limit::ALL
            .iter()
            .map(|(name, value)| (*name, *value as i64)),
    );
    compare_enum(
        btf,
        "record_kind",
        RecordKind::ALL
            .iter()
            .map(|(kind, name)| (*name, *kind as i64)),
    );
    compare_enum(
        btf,
        "word_kind",
        WordKind::ALL
            .iter()
            .map(|(kind, name)| (*name, *kind as i64)),
    );
    compare_enum(
        btf,
        "reason",
        Reason::ALL
            .iter()
            .map(|reason| (reason.c_name(), *reason as i64)),
    );
    compare_enum(
        btf,
        "line_table_kind",
        [
            (
                "LINE_TABLE_LNOTAB_UNSIGNED",
                LINE_TABLE_LNOTAB_UNSIGNED.into(),
            ),
            ("LINE_TABLE_LNOTAB", LINE_TABLE_LNOTAB.into()),
            ("LINE_TABLE_RANGES", LINE_TABLE_RANGES.into()),
            ("LINE_TABLE_LOCATIONS", LINE_TABLE_LOCATIONS.into()),
        ],
    );
    compare_enum(
        btf,
        "layout_flag",
        [
            ("LAYOUT_CFRAME", LAYOUT_CFRAME.into()),
            ("LAYOUT_CFRAME_PER_RUN", LAYOUT_CFRAME_PER_RUN.into()),
            ("LAYOUT_GLIBC_KEYS", LAYOUT_GLIBC_KEYS.into()),
            ("LAYOUT_MUSL_KEYS", LAYOUT_MUSL_KEYS.into()),
            ("LAYOUT_CALL_PER_FRAME", LAYOUT_CALL_PER_FRAME.into()),
            ("LAYOUT_BYTE_STRINGS", LAYOUT_BYTE_STRINGS.into()),
            ("LAYOUT_BACK_LINKS", LAYOUT_BACK_LINKS.into()),
        ],
    );
    compare_enum(
        btf,
        "process_flag",
        [
            ("PROCESS_TARGET", PROCESS_TARGET.into()),
            ("PROCESS_READ", PROCESS_READ.into()),
            ("PROCESS_PYTHON", PROCESS_PYTHON.into()),
            ("PROCESS_NEVER_DEFER", PROCESS_NEVER_DEFER.into()),
            ("PROCESS_STARTS_TARGET", PROCESS_STARTS_TARGET.into()),
        ],
    );
    compare_enum(
        btf,
        "sample_flag",
        [
            ("SAMPLE_DEFERRED", SAMPLE_DEFERRED.into()),
            ("SAMPLE_PYTHON", SAMPLE_PYTHON.into()),
            ("SAMPLE_CALL_PER_FRAME", SAMPLE_CALL_PER_FRAME.into()),
            ("SAMPLE_NO_THREAD_STATE", SAMPLE_NO_THREAD_STATE.into()),
            ("SAMPLE_BORROWED_MEMORY", SAMPLE_BORROWED_MEMORY.into()),
            ("SAMPLE_LOOKED_AT", SAMPLE_LOOKED_AT.into()),
            ("SAMPLE_GIL_KNOWN", SAMPLE_GIL_KNOWN.into()),
            ("SAMPLE_HOLDS_GIL", SAMPLE_HOLDS_GIL.into()),
            ("SAMPLE_ATTACHMENT_KNOWN", SAMPLE_ATTACHMENT_KNOWN.into()),
            ("SAMPLE_IS_ATTACHED", SAMPLE_IS_ATTACHED.into()),
        ],
    );
    compare_enum(
        btf,
        "thread_flag",
        [
            ("THREAD_RUNS", THREAD_RUNS.into()),
            ("THREAD_HAS_MOVED", THREAD_HAS_MOVED.into()),
            ("THREAD_ENDS", THREAD_ENDS.into()),
        ],
    );
    compare_enum(
        btf,
        "code_flag",
        [
            ("CODE_SHIM", CODE_SHIM.into()),
            ("CODE_CLASS", CODE_CLASS.into()),
            ("CODE_OLD_CLASS", CODE_OLD_CLASS.into()),
        ],
    );
    compare_enum(
        btf,
        "lost",
        [
            ("LOST_SAMPLES", Lost::Samples as i64),
            ("LOST_CODES", Lost::Codes as i64),
            ("LOST_PROCESS_EVENTS", Lost::ProcessEvents as i64),
            ("LOST_KINDS", Lost::KINDS as i64),
        ],
    );
}

/// The rules are packed by `viperf-unwind`, which knows nothing of the kernel: its own encoding tells the numbers.
#[test]
fn rules_are_the_same_in_c_and_rust() {
    let kind = |step| i64::from(Rule::encode(step).0 & 15);
    let caller = |cfa| Step::Caller {
        cfa,
        rbp: CallerRbp::Unchanged,
    };
    let btf = &abi();
    compare_enum(
        btf,
        "rule_kind",
        [
            ("RULE_NONE", kind(Step::NoInformation)),
            ("RULE_RSP", kind(caller(Cfa::Rsp { offset: 8 }))),
            ("RULE_RBP", kind(caller(Cfa::Rbp { offset: 16 }))),
            (
                "RULE_DEREF_RSP",
                kind(caller(Cfa::DerefRsp { pre: 8, post: 8 })),
            ),
            (
                "RULE_DEREF_RBP",
                kind(caller(Cfa::DerefRbp { pre: -8, post: 0 })),
            ),
            ("RULE_PLT", kind(caller(Cfa::Plt { threshold: 11 }))),
            ("RULE_SIGNAL", kind(Step::Signal)),
            ("RULE_END", kind(Step::Root)),
            (
                "RULE_REGISTER",
                kind(caller(Cfa::Register {
                    number: 10,
                    offset: 0,
                })),
            ),
            (
                "RULE_UNSUPPORTED",
                kind(Step::Unsupported(Cause::Malformed)),
            ),
            (
                "RULE_DEREF_INDEX",
                kind(caller(Cfa::DerefIndex {
                    number: 9,
                    pre: 40,
                    post: 8,
                })),
            ),
            (
                "RULE_RETURN_REGISTER",
                kind(Step::ReturnInRegister {
                    number: 5,
                    offset: 0,
                }),
            ),
        ],
    );
    let rbp = |rbp| {
        i64::from(
            Rule::encode(Step::Caller {
                cfa: Cfa::Rsp { offset: 8 },
                rbp,
            })
            .0 >> 4
                & 255,
        )
    };
    compare_enum(
        btf,
        "rbp_rule",
        [
            ("RBP_AT_RBP", rbp(CallerRbp::AtRbp)),
            ("RBP_UNKNOWN", rbp(CallerRbp::Unknown)),
        ],
    );
}
