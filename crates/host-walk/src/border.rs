//! The border to C: the only unsafe code here. `host/walk.c` has the other side.

use std::{
    ffi::{c_int, c_void},
    ptr,
};

use viperf_abi::{
    Mapping, Process, Reason, Record, RowTable, UnwindRow, decode_record, limit, unroll_section,
};

use crate::{Definition, Files, Map, Maps, Registers, Thread, Walker};

/// A reader of the process's memory.
type ReadMemory<'walk> = &'walk mut dyn FnMut(u64, &mut [u8]) -> bool;

/// What came of a walk, as C says it.
#[derive(Default)]
pub(crate) struct Raw {
    pub(crate) native: Vec<u64>,
    pub(crate) cfas: Vec<u64>,
    pub(crate) python: Vec<u64>,
    pub(crate) definitions: Vec<Definition>,
    pub(crate) reads: u32,
    pub(crate) flags: u32,
    pub(crate) list_steps: u32,
    pub(crate) strayed: bool,
}

/// What the functions that C calls work on.
struct Context<'walk> {
    maps: &'walk mut Maps,
    read_memory: ReadMemory<'walk>,
    ring_is_full: bool,
    definitions: Vec<Definition>,
}

/// `struct host`.
#[repr(C)]
struct Host {
    context: *mut c_void,
    scratch: *mut c_void,
    code_record: *mut c_void,
    read: unsafe extern "C" fn(*mut c_void, *mut u8, u32, u64) -> c_int,
    find: unsafe extern "C" fn(*mut c_void, u32, *const u8, u32) -> *mut c_void,
    insert: unsafe extern "C" fn(*mut c_void, u32, *const u8, u32, *const u8, u32),
    output: unsafe extern "C" fn(*mut c_void, *const u8, u64) -> c_int,
}

/// `struct sampled`.
#[repr(C)]
struct Sampled {
    process: *const Process,
    cfas: *const u64,
    fsbase: u64,
    sp: u64,
    time_ns: u64,
    cfa_count: u32,
    tid: u32,
    deferred: u32,
    reserved: u32,
}

/// `struct stopped`.
#[repr(C)]
struct Stopped {
    process: *mut Process,
    mappings: *mut Mapping,
    row_tables: *mut RowTable,
    rows: *mut UnwindRow,
    row_count: u64,
    mapping_count: u32,
    row_table_count: u32,
    fsbase: u64,
    time_ns: u64,
    tid: u32,
    in_kernel: u32,
    registers: [u64; 21],
}

/// `struct section`.
#[repr(C)]
struct Section {
    words: *const u64,
    count: u32,
    skipped: u32,
}

/// `struct outcome`.
#[repr(C)]
struct Outcome {
    native: Section,
    python: Section,
    cfas: *const u64,
    flags: u32,
    list_steps: u32,
    reads: u32,
    strayed: u32,
}

unsafe extern "C" {
    safe fn viperf_host_scratch_size() -> u64;
    safe fn viperf_host_code_record_size() -> u64;
    fn viperf_host_walk(host: *mut Host, sampled: *const Sampled, outcome: *mut Outcome);
    fn viperf_host_sample(host: *mut Host, stopped: *mut Stopped, outcome: *mut Outcome);
}

pub(crate) fn scratch_size() -> usize {
    usize::try_from(viperf_host_scratch_size()).unwrap_or(usize::MAX)
}

pub(crate) fn code_record_size() -> usize {
    usize::try_from(viperf_host_code_record_size()).unwrap_or(usize::MAX)
}

pub(crate) fn walk(
    walker: &mut Walker,
    process: &Process,
    thread: &Thread<'_>,
    read_memory: ReadMemory<'_>,
) -> Raw {
    let sampled = Sampled {
        process,
        cfas: thread.cfas.as_ptr(),
        fsbase: thread.fsbase,
        sp: thread.sp,
        time_ns: thread.time_ns,
        cfa_count: u32::try_from(thread.cfas.len()).unwrap_or(u32::MAX),
        tid: thread.tid,
        deferred: thread.deferred.into(),
        reserved: 0,
    };
    run(walker, read_memory, |host, outcome| {
        // SAFETY: `cfas` has as many words as `cfa_count` says, and the rest is as `run` promises.
        unsafe { viperf_host_walk(host, &raw const sampled, outcome) }
    })
}

pub(crate) fn sample(
    walker: &mut Walker,
    process: &mut Process,
    files: &mut Files,
    registers: &Registers,
    read_memory: ReadMemory<'_>,
) -> Raw {
    let mut stopped = Stopped {
        process,
        mappings: files.mappings.as_mut_ptr(),
        row_tables: files.row_tables.as_mut_ptr(),
        rows: files.rows.as_mut_ptr(),
        row_count: files.rows.len() as u64,
        mapping_count: u32::try_from(files.mappings.len()).unwrap_or(u32::MAX),
        row_table_count: u32::try_from(files.row_tables.len()).unwrap_or(u32::MAX),
        fsbase: registers.fsbase,
        time_ns: registers.time_ns,
        tid: registers.tid,
        in_kernel: registers.in_kernel.into(),
        registers: registers.saved,
    };
    run(walker, read_memory, |host, outcome| {
        // SAFETY: each array has as many elements as its count says, nobody else touches them or the process, and the rest
        // is as `run` promises.
        unsafe { viperf_host_sample(host, &raw mut stopped, outcome) }
    })
}

/// Calls C with a host and an outcome that live and are not touched by us until it returns: `scratch` and `code_record` have
/// the sizes that C asked for, the structs are those of walk.c, and `context` is what the four functions expect.
fn run(
    walker: &mut Walker,
    read_memory: ReadMemory<'_>,
    call: impl FnOnce(*mut Host, *mut Outcome),
) -> Raw {
    let mut context = Context {
        maps: &mut walker.maps,
        read_memory,
        ring_is_full: walker.ring_is_full,
        definitions: Vec::new(),
    };
    let mut host = Host {
        context: (&raw mut context).cast(),
        scratch: walker.scratch.as_mut_ptr().cast(),
        code_record: walker.code_record.as_mut_ptr().cast(),
        read,
        find,
        insert,
        output,
    };
    let nothing = || Section {
        words: ptr::null(),
        count: 0,
        skipped: 0,
    };
    let mut outcome = Outcome {
        native: nothing(),
        python: nothing(),
        cfas: ptr::null(),
        flags: 0,
        list_steps: 0,
        reads: 0,
        strayed: 0,
    };
    call(&raw mut host, &raw mut outcome);
    // SAFETY: what `outcome` points to is in `scratch`, which is alive.
    let sections = unsafe { take_sections(&outcome) };
    let strayed = sections.is_none();
    Raw {
        definitions: context.definitions,
        reads: outcome.reads,
        flags: outcome.flags,
        list_steps: outcome.list_steps,
        strayed,
        ..sections.unwrap_or_default()
    }
}

/// Native words, CFAs and Python words; `None` when they are not where they must be.
///
/// # Safety
/// Where C has not found that words have strayed, its pointers must be to memory that is alive.
unsafe fn take_sections(outcome: &Outcome) -> Option<Raw> {
    if outcome.strayed != 0 {
        return None;
    }
    let section = |section: &Section, leafmost, reason| {
        // SAFETY: C has checked that so many words lie within `scratch`.
        let words = unsafe { words_of(section.words, section.count) };
        let skipped = u16::try_from(section.skipped).ok()?;
        unroll_section(words, leafmost, skipped, reason)
    };
    let native = section(
        &outcome.native,
        limit::LEAFMOST_NATIVE,
        Reason::NativeTooDeep,
    )?;
    // SAFETY: there are CFAs for twice LEAFMOST_NATIVE frames, if there are native words.
    let cfas = unsafe { words_of(outcome.cfas, outcome.native.count) };
    let python = section(
        &outcome.python,
        limit::LEAFMOST_PYTHON,
        Reason::PythonTooDeep,
    )?;
    Some(Raw {
        native,
        cfas,
        python,
        ..Raw::default()
    })
}

/// # Safety
/// There must be so many words, unless `words` is null.
unsafe fn words_of(words: *const u64, count: u32) -> Vec<u64> {
    match words.is_null() {
        true => Vec::new(),
        // SAFETY: as the caller promises.
        false => unsafe { std::slice::from_raw_parts(words, count as usize) }.to_vec(),
    }
}

/// The context of the walk that runs.
///
/// # Safety
/// `context` must be the pointer that `walk` gave to C, and the reference must not outlive the call from C.
unsafe fn context<'call>(context: *mut c_void) -> &'call mut Context<'call> {
    // SAFETY: as the caller promises; C calls one function at a time, so this is the only reference.
    unsafe { &mut *context.cast::<Context<'call>>() }
}

/// The bytes that C points to.
///
/// # Safety
/// There must be so many readable bytes, and nobody may write to them during the call from C.
unsafe fn bytes_of<'call>(start: *const u8, size: u64) -> &'call [u8] {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(start, size) }
}

unsafe extern "C" fn read(walk: *mut c_void, to: *mut u8, size: u32, address: u64) -> c_int {
    // SAFETY: C hands back the context of the walk that runs.
    let context = unsafe { context(walk) };
    // SAFETY: C has `size` bytes at `to`, which it has zeroed and does not touch meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts_mut(to, size as usize) };
    c_int::from(!(context.read_memory)(address, bytes))
}

fn map(maps: &mut Maps, number: u32) -> &mut Map {
    match number {
        0 => &mut maps.codes,
        _ => &mut maps.thread_states,
    }
}

unsafe extern "C" fn find(
    walk: *mut c_void,
    number: u32,
    key: *const u8,
    key_size: u32,
) -> *mut c_void {
    // SAFETY: C hands back the context of the walk that runs.
    let context = unsafe { context(walk) };
    // SAFETY: C has a key of this size on its stack.
    let key = unsafe { bytes_of(key, key_size.into()) };
    let value = map(context.maps, number).get_mut(key);
    value.map_or(ptr::null_mut(), |value| value.as_mut_ptr().cast())
}

unsafe extern "C" fn insert(
    walk: *mut c_void,
    number: u32,
    key: *const u8,
    key_size: u32,
    value: *const u8,
    value_size: u32,
) {
    // SAFETY: C hands back the context of the walk that runs.
    let context = unsafe { context(walk) };
    // SAFETY: C has a key of this size on its stack.
    let key = unsafe { bytes_of(key, key_size.into()) };
    // SAFETY: and a value of this one.
    let value = unsafe { bytes_of(value, value_size.into()) };
    let (words, _) = value.as_chunks();
    let words: Box<[u64]> = words.iter().copied().map(u64::from_ne_bytes).collect();
    map(context.maps, number).insert(key.to_vec(), words);
}

unsafe extern "C" fn output(walk: *mut c_void, record: *const u8, size: u64) -> c_int {
    // SAFETY: C hands back the context of the walk that runs.
    let context = unsafe { context(walk) };
    if context.ring_is_full {
        return -1;
    }
    // SAFETY: C has a record of this size.
    let record = unsafe { bytes_of(record, size) };
    match decode_record(record) {
        Some(Record::Code { code, line_table }) => {
            let line_table = line_table.to_vec();
            context.definitions.push(Definition { code, line_table });
            0
        }
        _ => -1,
    }
}
