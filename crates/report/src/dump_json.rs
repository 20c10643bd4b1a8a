//! A dump as JSON, documented in `docs/formats/dump.md`.

use serde::Serialize;
use viperf_profile::{Dump, DumpedFrame, DumpedProcess, DumpedThread};

use crate::json::to_json;

/// The form of the keys; it grows when a key changes its meaning or goes.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct JsonDump<'dump> {
    version: u32,
    viperf: &'dump str,
    hostname: &'dump str,
    kernel: &'dump str,
    taken_unix_ns: u64,
    took_ns: u64,
    processes: Vec<JsonProcess<'dump>>,
}

#[derive(Serialize)]
struct JsonProcess<'dump> {
    pid: u32,
    parent_pid: Option<u32>,
    name: &'dump str,
    command_line: &'dump str,
    python: Option<&'dump str>,
    threads: Vec<JsonThread<'dump>>,
}

#[derive(Serialize)]
struct JsonThread<'dump> {
    tid: u32,
    name: &'dump str,
    activity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_call: Option<JsonSystemCall>,
    gil: Option<&'static str>,
    is_python: bool,
    complete: bool,
    /// Only where there is no stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_stack: Option<&'dump str>,
    /// Innermost first.
    frames: Vec<JsonFrame<'dump>>,
}

#[derive(Serialize)]
struct JsonSystemCall {
    number: u32,
    name: Option<&'static str>,
}

#[derive(Serialize)]
struct JsonFrame<'dump> {
    kind: &'static str,
    function: &'dump str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'dump str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    library: Option<&'dump str>,
    #[serde(skip_serializing_if = "is_zero")]
    line: u32,
    #[serde(skip_serializing_if = "is_zero")]
    end_line: u32,
    #[serde(skip_serializing_if = "is_zero")]
    column: u32,
    #[serde(skip_serializing_if = "is_zero")]
    end_column: u32,
    #[serde(skip_serializing_if = "is_zero")]
    first_line: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    inlined: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'dump str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locals: Option<Vec<JsonLocal<'dump>>>,
}

#[derive(Serialize)]
struct JsonLocal<'dump> {
    name: &'dump str,
    value: &'dump str,
}

/// The dump as one JSON object, with an end of line; names are as the program has them.
#[must_use]
pub fn dump_json(dump: &Dump) -> String {
    to_json(&JsonDump {
        version: VERSION,
        viperf: &dump.viperf_version,
        hostname: &dump.hostname,
        kernel: &dump.kernel,
        taken_unix_ns: dump.taken_unix_ns,
        took_ns: dump.took_ns,
        processes: dump.processes.iter().map(JsonProcess::of).collect(),
    })
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives references to what it may leave out"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives references to what it may leave out"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl<'dump> JsonProcess<'dump> {
    fn of(process: &'dump DumpedProcess) -> Self {
        Self {
            pid: process.pid,
            parent_pid: process.parent_pid,
            name: &process.name,
            command_line: &process.command_line,
            python: process.python_version.as_deref(),
            threads: process.threads.iter().map(JsonThread::of).collect(),
        }
    }
}

impl<'dump> JsonThread<'dump> {
    fn of(thread: &'dump DumpedThread) -> Self {
        let stack = thread.stack.as_ref();
        Self {
            tid: thread.tid,
            name: &thread.name,
            activity: thread.activity.name(),
            system_call: thread.system_call.as_ref().map(|call| JsonSystemCall {
                number: call.number,
                name: call.name,
            }),
            gil: thread.gil.name(),
            is_python: thread.is_python,
            complete: stack.is_ok_and(|stack| stack.complete),
            no_stack: stack.err().map(String::as_str),
            frames: stack.map_or_else(
                |_why| Vec::new(),
                |stack| stack.frames.iter().map(JsonFrame::of).collect(),
            ),
        }
    }
}

impl<'dump> JsonFrame<'dump> {
    fn of(frame: &'dump DumpedFrame) -> Self {
        let locals = frame.locals.as_ref().map(|locals| {
            let locals = locals.iter().map(|local| JsonLocal {
                name: &local.name,
                value: &local.value,
            });
            locals.collect()
        });
        Self {
            kind: frame.kind.name(),
            function: &frame.function,
            file: frame.file.as_deref(),
            library: frame.library.as_deref(),
            line: frame.source.line,
            end_line: frame.source.end_line,
            column: frame.source.column,
            end_column: frame.source.end_column,
            first_line: frame.first_line,
            address: (frame.address != 0).then(|| format!("{:#x}", frame.address)),
            inlined: frame.inlined,
            text: frame.text.as_deref(),
            locals,
        }
    }
}
