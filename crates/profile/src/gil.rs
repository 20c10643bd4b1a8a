//! Which code takes the GIL, told by its name.
//!
//! A profile of CPU time has what taking the GIL costs on the CPU: asking for it, going to sleep, waking up.
//! It does not have the time asleep.
//!
//! - CPython 3.2 and newer take it in one static function, `take_gil`, which compilers may rename with a suffix, and of which
//!   a stripped interpreter has no name:
//!   <https://github.com/python/cpython/blob/v3.12.0/Python/ceval_gil.c#L331>.
//! - Whoever comes back from a call without the GIL gets there by `PyEval_RestoreThread`, which every interpreter exports.
//! - A thread that gave the GIL up in the eval loop waits for it in `pthread_cond_timedwait`, and nothing else in the
//!   interpreter's own file calls that where there are semaphores:
//!   <https://github.com/python/cpython/blob/v3.12.0/Python/thread_pthread.h#L63-L78>.
//! - The eval loop of 2.7 takes its lock itself:
//!   <https://github.com/python/cpython/blob/v2.7.18/Python/ceval.c#L1173>.

use crate::function_table::FrameKind;
use crate::grouping::Group;
use crate::origin::is_interpreter;

/// Public functions of CPython that do nothing but take the GIL.
const TAKING: [&str; 3] = [
    "PyEval_RestoreThread",
    "PyEval_AcquireThread",
    "PyEval_AcquireLock",
];

/// The function that sleeps until the GIL is free or some time has passed, by its names in glibc and musl.
const SLEEPING: [&str; 4] = [
    "pthread_cond_timedwait",
    "__pthread_cond_timedwait",
    "pthread_cond_clockwait",
    "__pthread_cond_clockwait",
];

/// When a function takes the GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesGil {
    /// It does something else.
    Never,
    /// Whoever calls it.
    Always,
    /// When the eval loop calls it, or other code of the interpreter's own file.
    FromInterpreter,
    /// When the eval loop calls it.
    FromEvalLoop,
}

impl TakesGil {
    /// What the name of a function tells.
    #[must_use]
    pub fn of(kind: FrameKind, name: &str) -> Self {
        match name {
            _ if kind != FrameKind::Native => Self::Never,
            "take_gil" => Self::Always,
            name if name.starts_with("take_gil.") || TAKING.contains(&name) => Self::Always,
            name if SLEEPING.contains(&name) => Self::FromInterpreter,
            "PyThread_acquire_lock" => Self::FromEvalLoop,
            _ => Self::Never,
        }
    }
}

/// Whether a function of this name does nothing but take the GIL, whoever calls it.
#[must_use]
pub fn is_gil_function(kind: FrameKind, name: &str) -> bool {
    TakesGil::of(kind, name) == TakesGil::Always
}

/// Whether `called` takes the GIL when `caller` calls it.
pub(crate) fn takes_gil(called: &Group<'_>, caller: Option<&Group<'_>>) -> bool {
    let in_eval_loop =
        |caller: &Group<'_>| matches!(caller.kind, FrameKind::Interpreter | FrameKind::Python);
    match TakesGil::of(called.kind, &called.name) {
        TakesGil::Never => false,
        TakesGil::Always => true,
        TakesGil::FromEvalLoop => caller.is_some_and(in_eval_loop),
        TakesGil::FromInterpreter => caller.is_some_and(|caller| {
            in_eval_loop(caller) || caller.library.is_some_and(is_interpreter)
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::origin::Origin;

    fn group(kind: FrameKind, name: &'static str, library: Option<&'static str>) -> Group<'static> {
        Group {
            kind,
            name: Cow::Borrowed(name),
            file: None,
            module: None,
            library,
            first_line: 0,
            line: 0,
            origin: Origin::Project,
        }
    }

    #[test]
    fn what_takes_the_gil_is_told_from_what_takes_other_locks() {
        use FrameKind::{Interpreter, Kernel, Native, Python};
        let python = ("f", Python, None);
        let eval = ("_PyEval_EvalFrameDefault", Interpreter, Some("python3.11"));
        let unnamed = ("[python3.11+0x4f9316]", Native, Some("python3.11"));
        let lock = (
            "lock_PyThread_acquire_lock",
            Native,
            Some("libpython2.7.so.1.0"),
        );
        let other = ("wait_for_work", Native, Some("libgomp.so.1"));
        for (called, kind, caller, expected) in [
            ("take_gil", Native, Some(unnamed), true),
            ("take_gil.lto_priv.0", Native, None, true),
            ("take_gil_slowly", Native, Some(unnamed), false),
            ("take_gil", Kernel, None, false),
            ("PyEval_RestoreThread", Native, Some(unnamed), true),
            ("pthread_cond_timedwait", Native, Some(unnamed), true),
            ("pthread_cond_timedwait", Native, Some(eval), true),
            ("pthread_cond_timedwait", Native, Some(other), false),
            ("pthread_cond_wait", Native, Some(unnamed), false),
            ("PyThread_acquire_lock", Native, Some(python), true),
            ("PyThread_acquire_lock", Native, Some(lock), false),
            ("sem_wait", Native, Some(unnamed), false),
        ] {
            let caller = caller.map(|(name, kind, library)| group(kind, name, library));
            let called_group = group(kind, called, Some("libc.so.6"));
            let takes = takes_gil(&called_group, caller.as_ref());
            assert_eq!(takes, expected, "{called} below {caller:?}");
        }
    }
}
