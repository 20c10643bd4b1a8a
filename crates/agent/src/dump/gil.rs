//! The GIL: where it is, and what a stack proves of a thread that does not hold it.

use viperf_abi::{
    GilPlaces, SAMPLE_ATTACHMENT_KNOWN, SAMPLE_GIL_KNOWN, SAMPLE_HOLDS_GIL, SAMPLE_IS_ATTACHED,
    ThreadRecord,
};
use viperf_cpython::Interpreter;
use viperf_profile::{DumpedFrame, FrameKind, Gil};

/// `futex(2)` on x86-64.
const FUTEX: i32 = 202;
/// Not smaller than `struct _gil_runtime_state`, whose locks and conditions are what its waiters wait for:
/// <https://github.com/python/cpython/blob/v3.12.1/Include/internal/pycore_gil.h#L20>
const GIL_BYTES: u64 = 256;
/// Functions that return only with the GIL, up to the part that a compiler has split off (`take_gil.cold`).
const TAKING: &[&str] = &[
    "take_gil",
    "PyEval_RestoreThread",
    "PyEval_AcquireThread",
    "PyEval_AcquireLock",
    "_PyThreadState_Attach",
];

/// Where an interpreter keeps its GIL; `runtime` is where its [`Interpreter::runtime`] is (AVMA).
pub(super) fn places(interpreter: &Interpreter, runtime: u64, epoch: u32) -> Option<GilPlaces> {
    let layout = &interpreter.layout;
    let mut places = GilPlaces {
        epoch,
        ..GilPlaces::default()
    };
    if layout.free_threaded {
        places.thread_attached = layout.thread_state.state?.into();
        return Some(places);
    }
    if let Some(current) = interpreter.current_thread_state {
        let bias = runtime.wrapping_sub(interpreter.runtime.0);
        places.current_thread_state = bias.wrapping_add(current.0);
        return Some(places);
    }
    let gil = layout.gil?;
    places.gil_holder = gil.last_holder.into();
    places.gil_locked = gil.locked.into();
    match (gil.in_runtime, gil.in_interpreter) {
        (Some(offset), _) => places.gil = runtime.wrapping_add(offset.into()),
        (None, Some(offset)) => places.interpreter_gil = offset.into(),
        (None, None) => return None,
    }
    Some(places)
}

/// What is known of a thread, by its sample's flags, what the look found, and its frames, leaf first.
pub(super) fn of_thread(flags: u32, record: Option<&ThreadRecord>, frames: &[DumpedFrame]) -> Gil {
    if flags & SAMPLE_ATTACHMENT_KNOWN != 0 {
        return match flags & SAMPLE_IS_ATTACHED {
            0 => Gil::Detached,
            _ => Gil::Attached,
        };
    }
    if flags & SAMPLE_GIL_KNOWN == 0 {
        return Gil::Unknown;
    }
    if flags & SAMPLE_HOLDS_GIL != 0 {
        return Gil::Holds;
    }
    match waits_in_gil(record) || is_taking(frames) {
        true => Gil::Waits,
        false => Gil::Released,
    }
}

/// It waits for one of the locks that are part of the GIL.
fn waits_in_gil(record: Option<&ThreadRecord>) -> bool {
    record.is_some_and(|record| {
        let [futex, ..] = record.arguments;
        record.gil != 0
            && record.system_call == FUTEX
            && futex
                .checked_sub(record.gil)
                .is_some_and(|offset| offset < GIL_BYTES)
    })
}

/// It is in one of the functions that take the GIL: called by the innermost Python frame, or by C code below which there is
/// none.
fn is_taking(frames: &[DumpedFrame]) -> bool {
    let inner = frames
        .iter()
        .take_while(|frame| frame.kind != FrameKind::Python);
    inner
        .filter(|frame| frame.kind == FrameKind::Native)
        .any(|frame| {
            let name = frame.function.split('.').next().unwrap_or_default();
            TAKING.contains(&name)
        })
}

#[cfg(test)]
mod tests {
    use viperf_profile::SourceRange;

    use super::*;

    fn frame(kind: FrameKind, function: &str) -> DumpedFrame {
        DumpedFrame {
            kind,
            function: function.to_owned(),
            file: None,
            library: None,
            source: SourceRange::default(),
            first_line: 0,
            address: 0,
            inlined: false,
            text: None,
            locals: None,
        }
    }

    fn waiting_at(futex: u64) -> ThreadRecord {
        ThreadRecord {
            gil: 0x1000,
            system_call: FUTEX,
            arguments: [futex, 0, 0, 0, 0, 0],
            ..ThreadRecord::default()
        }
    }

    #[test]
    fn only_a_lock_within_the_gil_proves_that_a_thread_waits_for_it() {
        let of = |record: &ThreadRecord| of_thread(SAMPLE_GIL_KNOWN, Some(record), &[]);
        assert_eq!(of(&waiting_at(0x1028)), Gil::Waits);
        assert_eq!(of(&waiting_at(0xfff)), Gil::Released);
        assert_eq!(of(&waiting_at(0x1000 + GIL_BYTES)), Gil::Released);
        let elsewhere = ThreadRecord {
            gil: 0,
            ..waiting_at(0x28)
        };
        assert_eq!(of(&elsewhere), Gil::Released);
    }

    #[test]
    fn a_function_that_takes_the_gil_counts_only_above_the_innermost_python_frame() {
        let native = |name| frame(FrameKind::Native, name);
        let python = frame(FrameKind::Python, "run");
        let taking = [
            native("pthread_cond_timedwait"),
            native("take_gil.cold"),
            python.clone(),
        ];
        assert_eq!(of_thread(SAMPLE_GIL_KNOWN, None, &taking), Gil::Waits);
        let below = [python, native("PyEval_RestoreThread")];
        assert_eq!(of_thread(SAMPLE_GIL_KNOWN, None, &below), Gil::Released);
        assert_eq!(of_thread(0, None, &taking), Gil::Unknown);
    }

    #[test]
    fn who_holds_it_does_not_wait_for_it() {
        let flags = SAMPLE_GIL_KNOWN | SAMPLE_HOLDS_GIL;
        assert_eq!(of_thread(flags, Some(&waiting_at(0x1028)), &[]), Gil::Holds);
    }
}
