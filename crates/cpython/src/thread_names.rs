//! Names of threads as Python's `threading` has them.
//!
//! `sys.modules['threading']._active` is a dict of all threads that run: `thread_id` → `Thread`, whose attribute
//! `_name` (2.7: `_Thread__name`) is the name, set or made up (`Thread-1`, `MainThread`).
//! <https://github.com/python/cpython/blob/v3.13.0/Lib/threading.py#L846>

use crate::{
    Layout, ObjectLayout,
    objects::{Key, Objects, limit_reads},
};

/// How often memory may be read. A thread takes some 20 reads, a module in `sys.modules` before `threading` one.
const READ_LIMIT: u32 = 1_000_000;

/// Name of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadName {
    /// `pthread_self()`, as `PyThreadState.thread_id`.
    pub thread_id: u64,
    /// Of any length up to 16 KiB, cut there; of any characters, also none.
    pub name: String,
}

/// Reads the names of the threads of the interpreter whose `PyInterpreterState` is at `interpreter_address` (AVMA).
///
/// Empty if `threading` was never imported, and if the memory is not to be read; a thread that starts or ends
/// meanwhile may be missing. A name is never another thread's: each `Thread` says its own `thread_id`, and it must be
/// the one it is found under.
pub fn read_thread_names(
    layout: &Layout,
    objects: &ObjectLayout,
    interpreter_address: u64,
    read_memory: impl FnMut(u64, &mut [u8]) -> bool,
) -> Vec<ThreadName> {
    let read_memory = limit_reads(READ_LIMIT, read_memory);
    let mut objects = Objects::new(layout, objects, read_memory);
    let Some(threads) = read_active(&mut objects, interpreter_address) else {
        return Vec::new();
    };
    let (mut name, mut ident) = attribute_keys(layout);
    let threads = threads.into_iter();
    let threads = threads.filter_map(|(thread_id, thread)| {
        let attributes = objects.attributes(thread)?;
        let own_id = objects.find(&attributes, &mut ident)?;
        if objects.number(own_id)? != thread_id {
            return None;
        }
        let name = objects.find(&attributes, &mut name)?;
        let name = objects.text(name)?;
        Some(ThreadName { thread_id, name })
    });
    threads.collect()
}

/// Reads `threading._active`: numbers of threads and the addresses of their `Thread`s.
fn read_active<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    interpreter_address: u64,
) -> Option<Vec<(u64, u64)>> {
    let modules = objects.pointer(interpreter_address, objects.objects.interpreter.modules)?;
    let modules = objects.dict(modules)?;
    let threading = objects.find(&modules, &mut Key::new("threading"))?;
    let globals = objects.pointer(threading, objects.objects.module.dict)?;
    let globals = objects.dict(globals)?;
    let active = objects.find(&globals, &mut Key::new("_active"))?;
    let active = objects.dict(active)?;
    let active = active.into_iter();
    Some(
        active
            .filter_map(|entry| Some((objects.number(entry.key)?, entry.value)))
            .collect(),
    )
}

/// `_name` and `_ident`, which in 2.7 are private to the class.
const fn attribute_keys(layout: &Layout) -> (Key<'static>, Key<'static>) {
    match layout.major {
        2 => (Key::new("_Thread__name"), Key::new("_Thread__ident")),
        _ => (Key::new("_name"), Key::new("_ident")),
    }
}
