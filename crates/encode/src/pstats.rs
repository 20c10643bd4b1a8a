//! pstats: what Python's `cProfile` writes, for `python -m pstats`, snakeviz and gprof2dot. `docs/formats/pstats.md` says what of
//! a profile is in it.
//!
//! A file is one dictionary in Python's marshal form:
//!
//! ```text
//! {(file, line, name): (calls, calls, own, cumulative, {(file, line, name): (calls, calls, own, cumulative)})}
//! ```
//!
//! Per sample, a function counts once however often it is in the stack, and so does each pair of caller and called, so no
//! recursion makes a function take longer than the program:
//!
//! ```text
//! calls(f)      = samples whose stack holds f            calls(g → f)      = samples whose stack holds f right above g
//! own(f)        = time of samples whose leaf is f        own(g → f)        = time of those whose leaf is f, called by g
//! cumulative(f) = time of samples whose stack holds f    cumulative(g → f) = time of samples whose stack holds f right above g
//! ```

use std::collections::BTreeMap;

use viperf_profile::{FrameKind, FunctionHandle, Profile, ProfileError};

use crate::EncodeError;
use crate::stack_tree::{FrameRows, StackTree, Unit, is_hidden};

/// How the file is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The interpreter's eval frames too, as native frames. Default is `false`.
    pub interpreter_frames: bool,
}

/// File, line and name: the key of a function in pstats.
type Place = (String, u32, String);

/// What is counted of a function or of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: u64,
    own: u64,
    cumulative: u64,
    /// The stack that was counted last, so that each counts once.
    last_stack: u64,
}

impl Counts {
    fn add(&mut self, stack: u64, calls: u64, amount: u64) {
        if self.last_stack != stack {
            self.last_stack = stack;
            self.calls += calls;
            self.cumulative = self.cumulative.saturating_add(amount);
        }
    }
}

/// A function and, by the row of the caller, its pairs.
#[derive(Clone, Debug, Default)]
struct Entry {
    counts: Counts,
    callers: BTreeMap<u32, Counts>,
}

/// The profile in pstats' form.
///
/// # Errors
///
/// [`EncodeError`] when the profile is not sound.
pub fn encode(profile: &Profile, options: &Options) -> Result<Vec<u8>, EncodeError> {
    profile.validate()?;
    let mut places: Vec<Place> = Vec::new();
    let mut place_rows: BTreeMap<Place, u32> = BTreeMap::new();
    let mut row_of_function = Vec::with_capacity(profile.functions.len());
    for (handle, _) in profile.functions.iter() {
        let place = place(profile, handle)?;
        // Functions that pstats cannot tell apart are one.
        row_of_function.push(*place_rows.entry(place).or_insert_with_key(|place| {
            places.push(place.clone());
            (places.len() - 1) as u32
        }));
    }
    let frames = FrameRows::build(profile, |frame, function| {
        let place = viperf_profile::Handle::index(frame.function) as usize;
        let row = row_of_function.get(place).copied();
        row.filter(|_| !is_hidden(function.kind, options.interpreter_frames))
    })?;
    let tree = StackTree::build(profile, &frames);
    let entries = count(profile, &frames, &tree, places.len());
    Ok(marshal(&places, &entries, Unit::of(profile)))
}

/// The kernel is a file, a library is one, and what is broken is none.
fn place(profile: &Profile, handle: FunctionHandle) -> Result<Place, ProfileError> {
    let function = profile.function(handle)?;
    let name = profile.string(function.name)?.to_owned();
    let library = profile.library_name(&function)?;
    // `~` is how cProfile writes that a function is in no file.
    Ok(match function.kind {
        FrameKind::Python => {
            let file = function.file.map(|file| profile.string(file)).transpose()?;
            (file.unwrap_or("~").to_owned(), function.first_line, name)
        }
        FrameKind::Native | FrameKind::Interpreter => (library.unwrap_or("~").to_owned(), 0, name),
        FrameKind::Kernel => (library.unwrap_or("[kernel]").to_owned(), 0, name),
        FrameKind::Incomplete => ("~".to_owned(), 0, format!("[{name}]")),
    })
}

fn count(
    profile: &Profile,
    frames: &FrameRows<u32>,
    tree: &StackTree,
    functions: usize,
) -> Vec<Entry> {
    let unit = Unit::of(profile);
    let mut entries = vec![Entry::default(); functions];
    let mut rows = Vec::new();
    for (stack, row) in (1..).zip(profile.aggregate()) {
        rows.clear();
        let leaf_first = tree.rows_leaf_first(row.stack);
        rows.extend(leaf_first.filter_map(|row| frames.rows.get(row as usize).copied()));
        let amount = unit.amount(row.count, row.weight_ns);
        for (depth, &function) in rows.iter().enumerate() {
            let Some(entry) = entries.get_mut(function as usize) else {
                continue;
            };
            entry.counts.add(stack, row.count, amount);
            let own = if depth == 0 { amount } else { 0 };
            entry.counts.own = entry.counts.own.saturating_add(own);
            if let Some(&caller) = rows.get(depth + 1) {
                let counts = entry.callers.entry(caller).or_default();
                counts.add(stack, row.count, amount);
                counts.own = counts.own.saturating_add(own);
            }
        }
    }
    entries
}

/// The types of `marshal.c` that are needed, in forms that every Python reads:
/// <https://github.com/python/cpython/blob/v3.13.0/Python/marshal.c>.
fn marshal(places: &[Place], entries: &[Entry], unit: Unit) -> Vec<u8> {
    let mut file = vec![b'{'];
    for (place, entry) in places.iter().zip(entries) {
        if entry.counts.calls == 0 {
            continue;
        }
        push_place(&mut file, place);
        push_tuple(&mut file, 5);
        push_counts(&mut file, entry.counts, unit);
        file.push(b'{');
        for (&caller, &counts) in &entry.callers {
            if let Some(caller) = places.get(caller as usize) {
                push_place(&mut file, caller);
                push_tuple(&mut file, 4);
                push_counts(&mut file, counts, unit);
            }
        }
        file.push(b'0');
    }
    file.push(b'0');
    file
}

fn push_tuple(file: &mut Vec<u8>, length: u32) {
    file.push(b'(');
    file.extend(length.to_le_bytes());
}

fn push_place(file: &mut Vec<u8>, (path, line, name): &Place) {
    push_tuple(file, 3);
    push_text(file, path);
    push_integer(file, u64::from(*line));
    push_text(file, name);
}

/// Marshal's lengths have 31 bits, and no name is as long as this.
const LONGEST_TEXT: usize = 1 << 20;

fn push_text(file: &mut Vec<u8>, text: &str) {
    let text = text
        .get(..text.floor_char_boundary(LONGEST_TEXT))
        .unwrap_or(text);
    file.push(b'u');
    file.extend((text.len() as u32).to_le_bytes());
    file.extend(text.as_bytes());
}

/// An `i` has 32 bits with a sign; a larger one is digits of 15 bits.
fn push_integer(file: &mut Vec<u8>, number: u64) {
    if let Ok(number) = i32::try_from(number) {
        file.push(b'i');
        file.extend(number.to_le_bytes());
        return;
    }
    let mut digits = Vec::new();
    let mut rest = number;
    while rest != 0 {
        digits.push((rest & 0x7fff) as u16);
        rest >>= 15;
    }
    file.push(b'l');
    file.extend((digits.len() as i32).to_le_bytes());
    for digit in digits {
        file.extend(digit.to_le_bytes());
    }
}

fn push_counts(file: &mut Vec<u8>, counts: Counts, unit: Unit) {
    // The first is the number of calls that are not recursive, the second that of all: here the same.
    push_integer(file, counts.calls);
    push_integer(file, counts.calls);
    for amount in [counts.own, counts.cumulative] {
        let seconds = match unit {
            Unit::Nanoseconds => amount as f64 / 1e9,
            Unit::Samples => amount as f64,
        };
        file.push(b'g');
        file.extend(seconds.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
