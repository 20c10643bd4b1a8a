//! Layout files, against the debug information of the interpreters that have some.

use std::{path::Path, process::Command};

use viperf_cpython::{
    BytesLayout, CframeLayout, CodeLayout, FrameLayout, InterpreterLayout, Layout, RuntimeLayout,
    ThreadStateLayout, TssLayout, UnicodeLayout,
};

use crate::interpreters::{self, Running};

/// Every number of a layout, with the C expression for it. Full destructuring, so that none is forgotten.
fn expressions(layout: &Layout) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let members = [
        state_members(layout),
        frame_members(layout),
        object_members(layout),
    ];
    for (structure, member, value) in members.into_iter().flatten() {
        let expression = format!("(unsigned long)&(({structure} *)0)->{member}");
        // Members of another version have no value in this layout.
        all.extend(value.map(|value| (expression, u64::from(value))));
    }
    let UnicodeLayout {
        ascii_data,
        compact_data,
        ..
    } = layout.unicode;
    all.push(("sizeof(PyASCIIObject)".to_owned(), u64::from(ascii_data)));
    all.push((
        "sizeof(PyCompactUnicodeObject)".to_owned(),
        u64::from(compact_data),
    ));
    let owner = layout.frame.entry_owner;
    all.extend(owner.map(|owner| ("(int)FRAME_OWNED_BY_CSTACK".to_owned(), u64::from(owner))));
    all
}

/// Struct, member, and its offset in a layout.
type Member = (&'static str, &'static str, Option<u16>);

fn state_members(layout: &Layout) -> Vec<Member> {
    let RuntimeLayout {
        interpreters_head,
        auto_tss_key,
    } = layout.runtime;
    let auto_tss_key_member = match layout.minor {
        11 => "gilstate.autoTSSkey",
        _ => "autoTSSkey",
    };
    let TssLayout {
        is_initialized,
        key,
    } = layout.tss;
    let InterpreterLayout {
        next: next_interpreter,
        threads_head,
    } = layout.interpreter;
    let ThreadStateLayout {
        next,
        interp,
        thread_id,
        native_thread_id,
        cframe,
        root_cframe,
        current_frame,
    } = layout.thread_state;
    vec![
        (
            "_PyRuntimeState",
            "interpreters.head",
            Some(interpreters_head),
        ),
        ("_PyRuntimeState", auto_tss_key_member, Some(auto_tss_key)),
        ("Py_tss_t", "_is_initialized", Some(is_initialized)),
        ("Py_tss_t", "_key", Some(key)),
        ("PyInterpreterState", "next", Some(next_interpreter)),
        ("PyInterpreterState", "threads.head", Some(threads_head)),
        ("PyThreadState", "next", Some(next)),
        ("PyThreadState", "interp", Some(interp)),
        ("PyThreadState", "thread_id", Some(thread_id)),
        ("PyThreadState", "native_thread_id", Some(native_thread_id)),
        ("PyThreadState", "cframe", cframe),
        ("PyThreadState", "root_cframe", root_cframe),
        ("PyThreadState", "current_frame", current_frame),
    ]
}

fn frame_members(layout: &Layout) -> Vec<Member> {
    const FRAME: &str = "struct _PyInterpreterFrame";
    let FrameLayout {
        size,
        code,
        previous,
        instruction_pointer,
        owner,
        is_entry,
        entry_owner: _no_offset,
    } = layout.frame;
    let (code_member, instruction_member) = match layout.minor {
        11 | 12 => ("f_code", "prev_instr"),
        _ => ("f_executable", "instr_ptr"),
    };
    let mut members = vec![
        (FRAME, "localsplus", Some(size)),
        (FRAME, code_member, Some(code)),
        (FRAME, "previous", Some(previous)),
        (FRAME, instruction_member, Some(instruction_pointer)),
        (FRAME, "owner", Some(owner)),
        (FRAME, "is_entry", is_entry),
    ];
    if let Some(CframeLayout {
        current_frame,
        previous,
    }) = layout.cframe
    {
        members.push(("_PyCFrame", "current_frame", Some(current_frame)));
        members.push(("_PyCFrame", "previous", Some(previous)));
    }
    members
}

fn object_members(layout: &Layout) -> Vec<Member> {
    let CodeLayout {
        ob_type,
        ob_size,
        version,
        first_line,
        filename,
        name,
        qualname,
        line_table,
        first_traceable,
        instructions,
    } = layout.code;
    let UnicodeLayout {
        length,
        state,
        ascii_data: _a_size,
        compact_data: _another_size,
        // No C expression gives the place of a bit field; the names of all three kinds in `stacks` prove these.
        kind_shift: _,
        kind_mask: _,
        compact_bit: _,
        ascii_bit: _,
    } = layout.unicode;
    let BytesLayout { size, data } = layout.bytes;
    vec![
        ("PyCodeObject", "ob_base.ob_base.ob_type", Some(ob_type)),
        ("PyCodeObject", "ob_base.ob_size", Some(ob_size)),
        ("PyCodeObject", "co_version", version),
        ("PyCodeObject", "co_firstlineno", Some(first_line)),
        ("PyCodeObject", "co_filename", Some(filename)),
        ("PyCodeObject", "co_name", Some(name)),
        ("PyCodeObject", "co_qualname", Some(qualname)),
        ("PyCodeObject", "co_linetable", Some(line_table)),
        ("PyCodeObject", "_co_firsttraceable", Some(first_traceable)),
        ("PyCodeObject", "co_code_adaptive", Some(instructions)),
        ("PyASCIIObject", "length", Some(length)),
        ("PyASCIIObject", "state", Some(state)),
        ("PyBytesObject", "ob_base.ob_size", Some(size)),
        ("PyBytesObject", "ob_sval", Some(data)),
    ]
}

/// Evaluates C expressions without a process; `None` where the file has no debug information.
fn evaluate(file: &Path, expressions: &[(String, u64)]) -> Option<Vec<Option<u64>>> {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-ex", "set debuginfod enabled off"]);
    for (expression, _) in expressions {
        // Each in a `print` of its own: one that fails does not end the others.
        command.arg("-ex").arg(format!(
            "printf \"\\n=%lu\\n\", (unsigned long)({expression})"
        ));
        command.arg("-ex").arg("printf \"\\n;\\n\"");
    }
    let output = command.arg(file).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut values = Vec::new();
    let mut last = None;
    for line in text.lines() {
        if let Some(value) = line.strip_prefix('=') {
            last = value.parse().ok();
        } else if line == ";" {
            values.push(last.take());
        }
    }
    (values.iter().any(Option::is_some)).then_some(values)
}

#[test]
fn every_number_of_a_layout_is_what_the_debug_information_says() {
    let script = "import sys; print(1, flush=True); sys.stdin.read()";
    for program in interpreters::supported() {
        let running = Running::start(&program, script);
        let (interpreter, _) = running.interpreter();
        let detections = running.detections().into_iter();
        let file = detections
            .filter(|(_, (detection, _))| matches!(detection, viperf_cpython::Detection::Python(_)))
            .map(|(path, _)| path)
            .next()
            .unwrap();
        let expressions = expressions(&interpreter.layout);
        let Some(values) = evaluate(&file, &expressions) else {
            eprintln!(
                "skipped: no debugger, or no debug information in {}",
                file.display()
            );
            continue;
        };
        assert_eq!(values.len(), expressions.len());
        for ((expression, ours), value) in expressions.iter().zip(values) {
            assert_eq!(value, Some(*ours), "{}: {expression}", file.display());
        }
        println!("{}: {} numbers agree", file.display(), expressions.len());
    }
}
