//! Names of threads as Python's `threading` has them.
//!
//! `sys.modules['threading']._active` is a dict of all threads that run: `thread_id` → `Thread`, whose attribute
//! `_name` (2.7: `_Thread__name`) is the name, set or made up (`Thread-1`, `MainThread`).
//! <https://github.com/python/cpython/blob/v3.13.0/Lib/threading.py#L846>

use std::collections::BTreeMap;

use crate::{
    Layout, ObjectLayout,
    objects::{Key, Objects, limit_bytes},
};

/// Most bytes of memory read in one look, each read counting as 64 more: enough for 20,000 threads.
const READ_LIMIT: u64 = 64 * 1024 * 1024;

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
/// Empty if `threading` was never imported, and if the memory is not to be read; a thread that starts, ends or is
/// renamed meanwhile may be missing. A name is never another thread's: each `Thread` says its own `thread_id`, which
/// must be the one it is found under, and all is looked at twice, since what a running process frees is soon something else.
///
/// `look` gives what reads the memory, once for each of the two looks: the second one must not be answered from what was
/// kept of the first.
pub fn read_thread_names<R: FnMut(u64, &mut [u8]) -> bool>(
    layout: &Layout,
    objects: &ObjectLayout,
    interpreter_address: u64,
    mut look: impl FnMut() -> R,
) -> Vec<ThreadName> {
    let mut keys = AttributeKeys::new(layout);
    let mut read = || {
        let read_memory = limit_bytes(READ_LIMIT, look());
        let mut objects = Objects::new(layout, objects, read_memory);
        read_once(&mut objects, interpreter_address, &mut keys).unwrap_or_default()
    };
    let first = read();
    if first.is_empty() {
        return Vec::new();
    }
    let second = read();
    let same = second
        .into_iter()
        .filter(|(thread_id, named)| first.get(thread_id) == Some(named));
    let names = same.map(|(thread_id, named)| ThreadName {
        thread_id,
        name: named.name,
    });
    names.collect()
}

/// A `Thread` as it was found at one time.
#[derive(PartialEq, Eq)]
struct Named {
    thread: u64,
    name_address: u64,
    name: String,
}

/// What the attributes of a `Thread` are called; in 2.7 they are private to the class.
struct AttributeKeys {
    name: Key<'static>,
    ident: Key<'static>,
}

impl AttributeKeys {
    const fn new(layout: &Layout) -> Self {
        let (name, ident) = match layout.major {
            2 => ("_Thread__name", "_Thread__ident"),
            _ => ("_name", "_ident"),
        };
        Self {
            name: Key::new(name),
            ident: Key::new(ident),
        }
    }
}

/// By `thread_id`.
fn read_once<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    interpreter_address: u64,
    keys: &mut AttributeKeys,
) -> Option<BTreeMap<u64, Named>> {
    let threads = read_active(objects, interpreter_address)?.into_iter();
    let names = threads.filter_map(|(thread_id, thread)| {
        let attributes = objects.attributes(thread)?;
        let own_id = objects.find(&attributes, &mut keys.ident)?;
        if objects.number(own_id)? != thread_id {
            return None;
        }
        let name_address = objects.find(&attributes, &mut keys.name)?;
        let name = objects.text(name_address)?;
        Some((
            thread_id,
            Named {
                thread,
                name_address,
                name,
            },
        ))
    });
    Some(names.collect())
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::objects::tests::Space;

    const V3_9: u32 = 0x0309_00f0;
    const V2_7: u32 = 0x0207_00f0;
    const THREAD_ID: u64 = 0x12345;
    const BOTH: [(u32, [&str; 2]); 2] = [
        (V3_9, ["_name", "_ident"]),
        (V2_7, ["_Thread__name", "_Thread__ident"]),
    ];

    fn number(space: &mut Space, value: u64) -> u64 {
        let type_address = space.type_object("int", 0);
        let number = space.object(type_address, 64);
        match space.objects.int.clone() {
            Some(int) => space.put_word(number, int.value, value),
            None => {
                let long = space.objects.long.clone();
                space.put_word(number, long.size.unwrap(), 1);
                space.put_word(number, long.digits, value);
            }
        }
        number
    }

    /// An interpreter with one thread that is in `_active` under `THREAD_ID` and says that it is `own_id`.
    fn interpreter(space: &mut Space, own_id: u64, attributes: [&str; 2]) -> u64 {
        let [name_key, ident_key] = attributes;
        let (name, ident) = (space.ascii("loader"), number(space, own_id));
        let attributes = space.dict(&[(name_key, name), (ident_key, ident)]);
        let class = space.type_object("Thread", 0);
        space.put_word(class, space.objects.type_object.dict_offset, 16);
        let thread = space.object(class, 64);
        space.put_word(thread, 16, attributes);
        let key = number(space, THREAD_ID);
        let active = space.dict_of(&[(key, thread)], false);
        let globals = space.dict(&[("__name__", name), ("_active", active)]);
        let module_type = space.type_object("module", 0);
        let module = space.object(module_type, 64);
        space.put_word(module, space.objects.module.dict, globals);
        let modules = space.dict(&[("sys", name), ("threading", module)]);
        let interpreter = space.allocate(4096);
        space.put_word(interpreter, space.objects.interpreter.modules, modules);
        interpreter
    }

    fn read(space: &Space, interpreter: u64) -> Vec<(u64, String)> {
        let names = read_thread_names(&space.layout, &space.objects, interpreter, || {
            space.read_memory()
        });
        names
            .into_iter()
            .map(|name| (name.thread_id, name.name))
            .collect()
    }

    #[test]
    fn names_are_found_through_sys_modules() {
        for (hex, attributes) in BOTH {
            let mut space = Space::new(hex, false);
            let interpreter = interpreter(&mut space, THREAD_ID, attributes);
            assert_eq!(
                read(&space, interpreter),
                [(THREAD_ID, "loader".to_owned())]
            );
        }
    }

    #[test]
    fn a_thread_that_says_it_is_another_has_no_name() {
        let mut space = Space::new(V3_9, false);
        let interpreter = interpreter(&mut space, THREAD_ID + 1, ["_name", "_ident"]);
        assert_eq!(read(&space, interpreter), []);
    }

    #[test]
    fn a_name_that_changes_while_it_is_read_is_left_out() {
        let mut space = Space::new(V3_9, false);
        let interpreter = interpreter(&mut space, THREAD_ID, ["_name", "_ident"]);
        let count = &Cell::new(0_u8);
        let names = read_thread_names(&space.layout, &space.objects, interpreter, || {
            let mut memory = space.read_memory();
            move |address, bytes: &mut [u8]| {
                let is_read = memory(address, bytes);
                if bytes == b"loader" {
                    count.set(count.get() + 1);
                    bytes[0] = count.get();
                }
                is_read
            }
        });
        assert_eq!((names, count.get()), (vec![], 2));
    }

    #[test]
    fn whatever_the_memory_holds_it_ends() {
        let mut found = 0;
        for seed in 0..2_000 {
            for (hex, attributes) in BOTH {
                let mut space = Space::new(hex, false);
                let interpreter = interpreter(&mut space, THREAD_ID, attributes);
                space.corrupt(seed);
                found += read(&space, interpreter).len();
            }
        }
        assert!((1_000..4_000).contains(&found), "{found}");
    }
}
