//! Memory of made-up processes, laid out as one CPython version lays out its own.

use std::collections::HashMap;

use viperf_abi::{PROCESS_PYTHON, Process, PythonLayout};
use viperf_cpython::{Layout, Version, find_layout};

use crate::layout::{CLibrary, for_kernel};

/// Every version and build that there is a layout for.
pub(crate) fn layouts() -> impl Iterator<Item = Layout> {
    let minors = (6..=15).map(|minor| (3, minor));
    std::iter::once((2, 7))
        .chain(minors)
        .flat_map(|(major, minor)| {
            let version = Version::of_minor(major, minor);
            [false, true]
                .into_iter()
                .filter_map(move |free_threaded| find_layout(version, free_threaded))
        })
}

/// `3.14t` and the like.
pub(crate) fn name_of(layout: &Layout) -> String {
    let suffix = if layout.free_threaded { "t" } else { "" };
    format!("{}.{}{suffix}", layout.major, layout.minor)
}

const PAGE: u64 = 4096;
/// The thread pointer of the thread that is sampled.
pub(crate) const FSBASE: u64 = 0x7f00_0001_0000;
/// `entry_owner` of a frame that is nobody's but the thread's.
const OWNER_THREAD: u8 = 0;

/// A process's memory. Addresses that were never written to cannot be read.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) layout: Layout,
    pub(crate) kernel: PythonLayout,
    pub(crate) runtime: u64,
    pub(crate) code_type: u64,
    pages: HashMap<u64, Box<[u8]>>,
    free: u64,
}

/// A code object to be made.
#[derive(Clone, Debug)]
pub(crate) struct Code<'text> {
    pub(crate) name: &'text str,
    pub(crate) qualname: &'text str,
    pub(crate) filename: &'text str,
    pub(crate) first_line: i32,
    pub(crate) line_table: &'text [u8],
    pub(crate) arguments: &'text [&'text str],
    pub(crate) cells: &'text [&'text str],
}

impl Default for Code<'_> {
    fn default() -> Self {
        Self {
            name: "f",
            qualname: "f",
            filename: "/f.py",
            first_line: 1,
            line_table: &[0; 40],
            arguments: &[],
            cells: &[],
        }
    }
}

/// A thread state and how far its stacks have grown.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) state: u64,
    /// The innermost frame.
    pub(crate) frame: u64,
    pub(crate) cframe: u64,
    /// The C stack grows down from here.
    pub(crate) sp: u64,
    /// The CFAs of the native frames, leaf last: of each eval call, and of the C function that it calls.
    pub(crate) cfas: Vec<u64>,
}

impl Stack {
    /// As a native walk gives them.
    pub(crate) fn cfas_leaf_first(&self) -> Vec<u64> {
        self.cfas.iter().rev().copied().collect()
    }
}

impl Image {
    pub(crate) fn new(layout: Layout) -> Self {
        let kernel = for_kernel(&layout, None, CLibrary::Unknown).unwrap();
        let mut image = Self {
            layout,
            kernel,
            runtime: 0,
            code_type: 0,
            pages: HashMap::new(),
            free: 0x5555_5550_0000,
        };
        image.runtime = image.allocate(8192);
        image.code_type = image.allocate(512);
        image
    }

    /// As `new`, with a C library whose pthread keys the kernel can read.
    pub(crate) fn with_keys(layout: Layout, library: CLibrary) -> Self {
        let kernel = for_kernel(&layout, None, library).unwrap();
        let mut image = Self::new(layout);
        image.kernel = kernel;
        image
    }

    pub(crate) fn process(&self) -> Process {
        Process {
            epoch: 1,
            flags: PROCESS_PYTHON,
            runtime: self.runtime,
            code_type: self.code_type,
            layout: self.kernel,
            ..Process::default()
        }
    }

    /// Zeroed memory.
    pub(crate) fn allocate(&mut self, size: u64) -> u64 {
        let address = self.free;
        self.free = (address + size).next_multiple_of(16);
        self.map(address, size);
        address
    }

    /// Memory at a place of one's own choice.
    pub(crate) fn map(&mut self, address: u64, size: u64) {
        for page in address / PAGE..=(address + size) / PAGE {
            let zeroed = || vec![0; PAGE as usize].into_boxed_slice();
            self.pages.entry(page).or_insert_with(zeroed);
        }
    }

    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) {
        for (address, byte) in (address..).zip(bytes) {
            let page = self.pages.get_mut(&(address / PAGE)).unwrap();
            page[(address % PAGE) as usize] = *byte;
        }
    }

    pub(crate) fn set(&mut self, address: u64, word: u64) {
        self.write(address, &word.to_le_bytes());
    }

    pub(crate) fn set_half(&mut self, address: u64, half: u32) {
        self.write(address, &half.to_le_bytes());
    }

    /// All of it or nothing.
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let mut next = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(page) = self.pages.get(&(next / PAGE)) else {
                return false;
            };
            let from = &page[(next % PAGE) as usize..];
            let count = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&from[..count]);
            rest = later;
            next += count as u64;
        }
        true
    }

    pub(crate) fn word(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        assert!(self.read(address, &mut bytes), "{address:#x}");
        u64::from_le_bytes(bytes)
    }

    /// A new interpreter, first in the list.
    pub(crate) fn add_interpreter(&mut self) -> u64 {
        let interpreter = self.allocate(8192);
        let head = self.runtime + u64::from(self.layout.interpreters_head());
        let next = self.word(head);
        self.set(interpreter + u64::from(self.layout.interpreter.next), next);
        self.set(head, interpreter);
        interpreter
    }

    /// A new thread state, first in the interpreter's list, with an empty stack whose C part starts at `c_stack`.
    pub(crate) fn add_thread_state(
        &mut self,
        interpreter: u64,
        fsbase: u64,
        c_stack: u64,
    ) -> Stack {
        let fields = self.layout.thread_state;
        let state = self.allocate(1024);
        let head = interpreter + u64::from(self.layout.interpreter.threads_head);
        let next = self.word(head);
        self.set(state + u64::from(fields.next), next);
        self.set(state + u64::from(fields.interp), interpreter);
        self.set(state + u64::from(fields.thread_id), fsbase);
        if let (Some(previous), true) = (fields.prev, next != 0) {
            self.set(next + u64::from(previous), state);
        }
        self.set(head, state);
        self.map(c_stack - 0x20_0000, 0x20_0000);
        let mut stack = Stack {
            state,
            frame: 0,
            cframe: 0,
            sp: c_stack,
            cfas: Vec::new(),
        };
        if let Some(root) = fields.root_cframe {
            stack.cframe = state + u64::from(root);
            if let Some(cframe) = self.layout.cframe {
                // Never initialised, and never NULL for certain.
                self.set(stack.cframe + u64::from(cframe.previous), 0x1c0);
            }
        }
        if let Some(base) = fields.base_frame {
            let frame = self.allocate(256);
            self.set(state + u64::from(base), frame);
            stack.frame = frame;
        }
        self.set_tops(&stack);
        stack
    }

    /// The first thread of the first interpreter, which is the one that is sampled.
    pub(crate) fn add_main(&mut self) -> Stack {
        let interpreter = self.add_interpreter();
        self.add_thread_state(interpreter, FSBASE, FSBASE)
    }

    /// Writes the innermost frame and cframe to where the version keeps them.
    fn set_tops(&mut self, stack: &Stack) {
        let fields = self.layout.thread_state;
        if let Some(offset) = fields.frame.or(fields.current_frame) {
            self.set(stack.state + u64::from(offset), stack.frame);
        }
        if let Some(offset) = fields.cframe {
            self.set(stack.state + u64::from(offset), stack.cframe);
        }
    }

    /// A frame of its own, linked to none.
    pub(crate) fn frame(&mut self, code: u64, unit: i32) -> u64 {
        let fields = self.layout.frame;
        let frame = self.allocate(u64::from(fields.locals) + 128);
        self.set(frame + u64::from(fields.code), code);
        self.set_unit(frame, code, unit);
        if let Some(owner) = fields.owner {
            self.write(frame + u64::from(owner), &[OWNER_THREAD]);
        }
        frame
    }

    /// Where in its code a frame is.
    pub(crate) fn set_unit(&mut self, frame: u64, code: u64, unit: i32) {
        let fields = self.layout.frame;
        if let Some(offset) = fields.last_instruction {
            self.set_half(frame + u64::from(offset), unit.cast_unsigned());
        }
        if let (Some(offset), Some(start)) =
            (fields.instruction_pointer, self.layout.code.instructions)
        {
            let start = code + u64::from(start);
            let instruction = start.wrapping_add_signed(2 * i64::from(unit));
            self.set(frame + u64::from(offset), instruction);
        }
    }

    pub(crate) fn link(&mut self, frame: u64, previous: u64) {
        let offset = u64::from(self.layout.frame.previous);
        self.set(frame + offset, previous);
    }

    /// One eval call that runs `frames`, outermost first, and a C function that its innermost frame calls. Where every
    /// frame is an eval call, one for each.
    pub(crate) fn run(&mut self, stack: &mut Stack, frames: &[u64]) {
        if self.layout.has_call_per_frame() {
            for frame in frames {
                self.call(stack, &[*frame]);
            }
        } else {
            self.call(stack, frames);
        }
    }

    fn call(&mut self, stack: &mut Stack, frames: &[u64]) {
        let fields = self.layout.frame;
        // The eval call's part of the C stack, then that of the C function.
        stack.cfas.push(stack.sp);
        stack.sp -= 0x100;
        let place = stack.sp;
        stack.cfas.push(stack.sp);
        stack.sp -= 0x40;
        let mut previous = stack.frame;
        if let (Some(owner), Some(value)) = (fields.owner, fields.entry_owner) {
            let entry = place + 0x60;
            self.link(entry, previous);
            self.write(entry + u64::from(owner), &[value]);
            previous = entry;
        }
        for frame in frames {
            self.link(*frame, previous);
            previous = *frame;
        }
        if let (Some(is_entry), Some(first)) = (fields.is_entry, frames.first()) {
            self.write(first + u64::from(is_entry), &[1]);
        }
        stack.frame = previous;
        if let Some(cframe) = self.layout.cframe {
            let address = place + 0x40;
            self.set(address + u64::from(cframe.previous), stack.cframe);
            if let Some(current) = cframe.current_frame {
                self.set(address + u64::from(current), stack.frame);
            }
            stack.cframe = address;
        }
        self.set_tops(stack);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let fields = self.layout.bytes;
        let object = self.allocate(u64::from(fields.data) + bytes.len() as u64 + 1);
        self.set(object + u64::from(fields.size), bytes.len() as u64);
        // The hash, which is not known yet.
        self.set(object + u64::from(fields.size) + 8, u64::MAX);
        self.write(object + u64::from(fields.data), bytes);
        object
    }

    /// A `str` as the compiler makes names: compact, as narrow as its widest character.
    pub(crate) fn text(&mut self, text: &str) -> u64 {
        let Some(fields) = self.layout.unicode else {
            return self.bytes(text.as_bytes());
        };
        let widest = text.chars().map(u32::from).max().unwrap_or(0);
        let kind: u8 = match widest {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        let ascii = widest < 0x80;
        let size = text.chars().count() as u64 * u64::from(kind);
        let object = self.allocate(u64::from(fields.compact_data) + size + 4);
        self.set(
            object + u64::from(fields.length),
            text.chars().count() as u64,
        );
        self.set(object + u64::from(fields.length) + 8, u64::MAX);
        let state = u32::from(kind) << fields.kind_shift
            | 1 << fields.compact_bit
            | u32::from(ascii) << fields.ascii_bit;
        self.set_half(object + u64::from(fields.state), state);
        let data = if ascii {
            fields.ascii_data
        } else {
            fields.compact_data
        };
        let encoded = text.chars().flat_map(|character| {
            u32::from(character)
                .to_le_bytes()
                .into_iter()
                .take(kind.into())
        });
        let encoded: Vec<u8> = encoded.collect();
        self.write(object + u64::from(data), &encoded);
        object
    }

    pub(crate) fn tuple(&mut self, items: &[u64]) -> u64 {
        let object = self.allocate(u64::from(self.layout.tuple.items) + 8 * items.len() as u64 + 8);
        self.set(
            object + u64::from(self.layout.bytes.size),
            items.len() as u64,
        );
        for (index, item) in items.iter().enumerate() {
            self.set(
                object + u64::from(self.layout.tuple.items) + 8 * index as u64,
                *item,
            );
        }
        object
    }

    pub(crate) fn code(&mut self, code: &Code<'_>) -> u64 {
        let fields = self.layout.code;
        let object = self.allocate(u64::from(fields.size()) + 4096);
        let mut names = |names: &[&str]| {
            let names: Vec<u64> = names.iter().map(|name| self.text(name)).collect();
            names
        };
        let (arguments, mut cells) = (names(code.arguments), names(code.cells));
        // Names are interned: an argument in a cell has one name object.
        for (cell, name) in cells.iter_mut().zip(code.cells) {
            let same = code.arguments.iter().position(|argument| argument == name);
            *cell = same.map_or(*cell, |index| arguments[index]);
        }
        self.set(object + u64::from(fields.ob_type), self.code_type);
        self.set_half(
            object + u64::from(fields.first_line),
            code.first_line.cast_unsigned(),
        );
        let pointers = [
            (Some(fields.filename), self.text(code.filename)),
            (Some(fields.name), self.text(code.name)),
            (fields.qualname, self.text(code.qualname)),
            (Some(fields.line_table), self.bytes(code.line_table)),
            (fields.variable_names, self.tuple(&arguments)),
            (fields.cell_names, self.tuple(&cells)),
        ];
        for (offset, pointer) in pointers {
            if let Some(offset) = offset {
                self.set(object + u64::from(offset), pointer);
            }
        }
        let count = u32::try_from(arguments.len()).unwrap();
        for offset in [fields.argument_count, fields.local_count]
            .into_iter()
            .flatten()
        {
            self.set_half(object + u64::from(offset), count);
        }
        if let Some(offset) = fields.version {
            self.set_half(object + u64::from(offset), (object >> 4) as u32);
        }
        object
    }

    /// A code object of this name, and nothing else of interest.
    pub(crate) fn named(&mut self, name: &str) -> u64 {
        self.code(&Code {
            name,
            qualname: name,
            ..Code::default()
        })
    }

    /// A frame of a new function.
    pub(crate) fn frame_of(&mut self, name: &str, unit: i32) -> u64 {
        let code = self.named(name);
        self.frame(code, unit)
    }

    pub(crate) fn set_local(&mut self, frame: u64, index: u64, object: u64) {
        let locals = frame + u64::from(self.layout.frame.locals);
        self.set(locals + 8 * index, object);
    }

    /// An object of a type, with one pointer behind its header.
    pub(crate) fn object(&mut self, of_type: u64, member: u64) -> u64 {
        let type_offset = u64::from(self.layout.code.ob_type);
        let object = self.allocate(type_offset + 64);
        self.set(object + type_offset, of_type);
        self.set(object + type_offset + 8, member);
        object
    }

    /// A type of this name whose own type is `of_type`.
    pub(crate) fn type_object(&mut self, name: &str, flags: u64, of_type: u64) -> u64 {
        let fields = self.layout.type_object;
        let object = self.allocate(512);
        let text = self.allocate(name.len() as u64 + 1);
        self.write(text, name.as_bytes());
        self.set(object + u64::from(self.layout.code.ob_type), of_type);
        self.set(object + u64::from(fields.name), text);
        self.set(object + u64::from(fields.flags), flags);
        object
    }
}
