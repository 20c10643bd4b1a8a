//! The Python frames of one thread state, walked from user space: the reference for the walk in the kernel.
//!
//! Frames come in *groups*: all Python frames that one call of the evaluation loop runs. CPython keeps, per group,
//! an object on the C stack of that call, and its address says which native frame the group belongs to:
//!
//! ```text
//!            start                                a group ends at               its address is that of
//! 3.11       *(thread state.cframe).current_frame the frame with is_entry = 1   the cframe with the same head
//! 3.12       *(thread state.cframe).current_frame the frame with owner ≥ 3      that frame
//! 3.13       thread state.current_frame           the frame with owner ≥ 3      that frame
//! ```
//!
//! While an evaluation loop of 3.11 or 3.12 starts, the newest cframe is linked but not filled in yet; the walk then
//! starts at the one before.

use crate::{Layout, memory, memory::Memory};

/// Most frames walked, entry frames included.
const FRAME_LIMIT: usize = 1 << 16;

/// Largest frame read: today's have 72 bytes before their local variables.
const FRAME_SIZE_LIMIT: usize = 256;

/// One Python frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Address (AVMA) of its code object.
    pub code: u64,
    /// Distance from the start of its instructions, in units of 2 bytes; -1 before the first instruction.
    pub instruction_units: i32,
}

/// The Python frames of one call of the evaluation loop, leaf first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The frames, leaf first. Empty while the call begins or ends.
    pub frames: Vec<Frame>,
    /// Address (AVMA) on the C stack within the native frame of that call; `None` if none was found.
    pub entry: Option<u64>,
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the last frame: the walk is complete.
    Root,
    /// After 65,536 frames.
    FrameLimit,
    /// At memory that could not be read.
    Unreadable {
        /// Address (AVMA) of the struct.
        address: u64,
    },
    /// At something that is no frame: it changed while it was read.
    Implausible {
        /// Address (AVMA) of the struct.
        address: u64,
    },
}

/// The Python stack of one thread state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The groups, leaf first.
    pub groups: Vec<Group>,
    /// Why it ended.
    pub end: End,
}

impl Walk {
    /// All frames, leaf first.
    pub fn frames(&self) -> impl Iterator<Item = Frame> {
        self.groups
            .iter()
            .flat_map(|group| group.frames.iter().copied())
    }
}

/// Walks the frames of the thread state at `thread_state` (AVMA).
///
/// `code_type` is the AVMA of `PyCode_Type`: a frame whose code object is of another type ends the walk.
/// The thread may run meanwhile; whoever needs a certain answer walks twice and compares.
pub fn walk(
    layout: &Layout,
    thread_state: u64,
    code_type: u64,
    read_memory: impl FnMut(u64, &mut [u8]) -> bool,
) -> Walk {
    let mut walker = Walker {
        layout,
        code_type,
        memory: Memory(read_memory),
    };
    let heads = match walker.read_heads(thread_state) {
        Ok(heads) => heads,
        Err(end) => {
            return Walk {
                groups: Vec::new(),
                end,
            };
        }
    };
    let mut walk = walker.walk_from(&heads);
    if walk.end != End::Root && walk.frames().next().is_none() {
        // The newest cframe can be linked before it is filled in: it then names no frame, and the one before does.
        if let Some(earlier) = heads.get(1..).filter(|earlier| !earlier.is_empty()) {
            walk = walker.walk_from(earlier);
        }
    }
    walk
}

/// Where a chain of frames can start.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// The cframe (AVMA) that names it, up to 3.12.
    cframe: Option<u64>,
    /// The innermost frame (AVMA), or 0.
    frame: u64,
}

struct Walker<'a, F> {
    layout: &'a Layout,
    code_type: u64,
    memory: Memory<F>,
}

impl<F: FnMut(u64, &mut [u8]) -> bool> Walker<'_, F> {
    /// The innermost frame as each cframe names it, newest first; from 3.13 on the one the thread state names.
    fn read_heads(&mut self, thread_state: u64) -> Result<Vec<Head>, End> {
        let fields = &self.layout.thread_state;
        let unreadable = End::Unreadable {
            address: thread_state,
        };
        let word =
            |memory: &mut Memory<F>, offset: Option<u16>| memory.read_word(thread_state, offset?);
        let (Some(cframe), Some(root_offset)) = (self.layout.cframe, fields.root_cframe) else {
            let frame = word(&mut self.memory, fields.current_frame).ok_or(unreadable)?;
            return Ok(vec![Head {
                cframe: None,
                frame,
            }]);
        };
        let root = thread_state.wrapping_add(u64::from(root_offset));
        let mut address = word(&mut self.memory, fields.cframe).ok_or(unreadable)?;
        let mut heads = Vec::new();
        while heads.len() < FRAME_LIMIT {
            if !memory::is_plausible_pointer(address) {
                return Err(End::Implausible { address });
            }
            let unreadable = End::Unreadable { address };
            heads.push(Head {
                cframe: Some(address),
                frame: self
                    .memory
                    .read_word(address, cframe.current_frame)
                    .ok_or(unreadable)?,
            });
            if address == root {
                return Ok(heads);
            }
            address = self
                .memory
                .read_word(address, cframe.previous)
                .ok_or(unreadable)?;
        }
        Err(End::FrameLimit)
    }

    fn walk_from(&mut self, heads: &[Head]) -> Walk {
        let mut groups = vec![Group::default()];
        let mut cframes = heads.iter();
        let mut frame = heads.first().map_or(0, |head| head.frame);
        let mut group_head = frame;
        let mut end = End::FrameLimit;
        for _ in 0..FRAME_LIMIT {
            if frame == 0 {
                end = End::Root;
                break;
            }
            let step = match self.read_frame(frame) {
                Ok(step) => step,
                Err(broken) => {
                    end = broken;
                    break;
                }
            };
            if let (Some(group), Some(python)) = (groups.last_mut(), step.python) {
                group.frames.push(python);
            }
            if step.ends_group {
                let entry = match step.python {
                    None => Some(frame),
                    // Cframes without frames (greenlet's) are passed over.
                    Some(_) => cframes
                        .find(|head| head.frame == group_head)
                        .and_then(|head| head.cframe),
                };
                if let Some(group) = groups.last_mut() {
                    group.entry = entry;
                }
                groups.push(Group::default());
                group_head = step.previous;
            }
            frame = step.previous;
        }
        groups.retain(|group| !group.frames.is_empty() || group.entry.is_some());
        Walk { groups, end }
    }

    fn read_frame(&mut self, address: u64) -> Result<Step, End> {
        let implausible = End::Implausible { address };
        let fields = &self.layout.frame;
        let size = usize::from(fields.size);
        if !memory::is_plausible_pointer(address) || size > FRAME_SIZE_LIMIT {
            return Err(implausible);
        }
        let bytes = self
            .memory
            .read_vec(address, 0, size)
            .ok_or(End::Unreadable { address })?;
        let word = |offset: u16| {
            let word = bytes.get(usize::from(offset)..)?.first_chunk()?;
            Some(u64::from_le_bytes(*word))
        };
        let byte = |offset: u16| bytes.get(usize::from(offset)).copied();
        let previous = word(fields.previous).ok_or(implausible)?;
        let owner = byte(fields.owner).ok_or(implausible)?;
        if fields.entry_owner.is_some_and(|entry| owner >= entry) {
            return Ok(Step {
                previous,
                python: None,
                ends_group: true,
            });
        }
        let ends_group = match fields.is_entry.map(byte) {
            None | Some(Some(0)) => false,
            Some(Some(1)) => true,
            Some(_) => return Err(implausible),
        };
        let code = word(fields.code).ok_or(implausible)?;
        let instruction = word(fields.instruction_pointer).ok_or(implausible)?;
        Ok(Step {
            previous,
            python: Some(self.read_place(address, code, instruction)?),
            ends_group,
        })
    }

    /// Checks that the code object is one, and that the instruction is one of its own.
    fn read_place(&mut self, frame: u64, code: u64, instruction: u64) -> Result<Frame, End> {
        let implausible = End::Implausible { address: frame };
        if !memory::is_plausible_pointer(code) {
            return Err(implausible);
        }
        let fields = &self.layout.code;
        let unreadable = End::Unreadable { address: code };
        let kind = self
            .memory
            .read_word(code, fields.ob_type)
            .ok_or(unreadable)?;
        let units = self
            .memory
            .read_word(code, fields.ob_size)
            .ok_or(unreadable)?;
        let start = code.wrapping_add(u64::from(fields.instructions));
        let offset = instruction.wrapping_sub(start).cast_signed();
        let instruction_units = i32::try_from(offset >> 1)
            .ok()
            .filter(|&unit| offset & 1 == 0 && unit >= -1 && i64::from(unit) < units.cast_signed());
        match instruction_units {
            Some(instruction_units) if kind == self.code_type => Ok(Frame {
                code,
                instruction_units,
            }),
            _ => Err(implausible),
        }
    }
}

/// What one frame says.
struct Step {
    previous: u64,
    python: Option<Frame>,
    ends_group: bool,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Version, find_layout};

    const CODE_TYPE: u64 = 0x5000;
    const THREAD_STATE: u64 = 0x8000;
    const CODE: u64 = 0x20000;

    /// Memory as a map of aligned words, in the layout of one version.
    struct Target {
        words: BTreeMap<u64, u64>,
        layout: Layout,
    }

    impl Target {
        fn new(hex: u32) -> Self {
            let layout = find_layout(Version { hex }).unwrap();
            let words = BTreeMap::from([(CODE + 8, CODE_TYPE), (CODE + 16, 100)]);
            Self { words, layout }
        }

        fn put(&mut self, base: u64, offset: u16, value: u64) {
            self.words.insert(base + u64::from(offset), value);
        }

        /// A frame `units` units into the code object; the flags word holds `is_entry` and `owner`.
        fn put_frame(&mut self, address: u64, previous: u64, units: u64, entry: bool) {
            for offset in (0..80).step_by(8) {
                self.words.insert(address + offset, 0);
            }
            let frame = self.layout.frame;
            let start = CODE + u64::from(self.layout.code.instructions);
            self.put(address, frame.code, CODE);
            self.put(address, frame.previous, previous);
            self.put(address, frame.instruction_pointer, start + units * 2);
            let flags = match frame.entry_owner {
                Some(owner) if entry => u64::from(owner) << ((frame.owner - 64) * 8),
                None if entry => 1 << 32,
                _ => 0,
            };
            self.words.insert(address + 64, flags);
        }

        fn put_cframe(&mut self, address: u64, frame: u64, previous: u64) {
            let cframe = self.layout.cframe.unwrap();
            self.put(address, cframe.current_frame, frame);
            self.put(address, cframe.previous, previous);
        }

        fn root_cframe(&self) -> u64 {
            THREAD_STATE + u64::from(self.layout.thread_state.root_cframe.unwrap())
        }

        fn walk(&self) -> Walk {
            walk(&self.layout, THREAD_STATE, CODE_TYPE, |address, bytes| {
                bytes
                    .chunks_mut(8)
                    .zip((address..).step_by(8))
                    .all(|(chunk, address)| {
                        self.words.get(&address).is_some_and(|word| {
                            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
                            true
                        })
                    })
            })
        }
    }

    fn units(walk: &Walk) -> Vec<(Vec<i32>, Option<u64>)> {
        let frames = |group: &Group| {
            let units = group.frames.iter().map(|frame| frame.instruction_units);
            (units.collect(), group.entry)
        };
        walk.groups.iter().map(frames).collect()
    }

    fn target_311() -> Target {
        let mut target = Target::new(0x030b_07f0);
        let root = target.root_cframe();
        target.put(THREAD_STATE, 56, 0x9000);
        target.put_cframe(0x9000, 0x30000, 0x9100);
        target.put_cframe(0x9100, 0x32000, root);
        target.put_cframe(root, 0, 0);
        target.put_frame(0x30000, 0x31000, 1, false);
        target.put_frame(0x31000, 0x32000, 2, true);
        target.put_frame(0x32000, 0, 3, true);
        target
    }

    #[test]
    fn groups_of_3_11_end_at_entries_and_take_the_address_of_their_cframe() {
        let walk = target_311().walk();
        assert_eq!(walk.end, End::Root);
        let expected = [(vec![1, 2], Some(0x9000)), (vec![3], Some(0x9100))];
        assert_eq!(units(&walk), expected);
    }

    #[test]
    fn a_cframe_of_3_11_that_is_not_filled_in_yet_is_passed_over() {
        for garbage in [0x48, 0x7777_0000, 0x9200] {
            let mut target = target_311();
            target.put(THREAD_STATE, 56, 0x8f00);
            target.put_cframe(0x8f00, garbage, 0x9000);
            let walk = target.walk();
            assert_eq!(walk.end, End::Root, "{garbage:#x}");
            assert_eq!(walk.frames().count(), 3);
            assert_eq!(walk.groups[0].entry, Some(0x9000));
        }
    }

    #[test]
    fn a_cframe_without_frames_in_the_middle_takes_no_group() {
        let mut target = target_311();
        target.put_cframe(0x9000, 0x30000, 0x9080);
        target.put_cframe(0x9080, 0, 0x9100);
        let expected = [(vec![1, 2], Some(0x9000)), (vec![3], Some(0x9100))];
        assert_eq!(units(&target.walk()), expected);
    }

    #[test]
    fn groups_of_3_12_and_3_13_end_at_entry_frames_and_take_their_address() {
        for hex in [0x030c_01f0, 0x030d_00f0] {
            let mut target = Target::new(hex);
            match target.layout.thread_state.current_frame {
                Some(offset) => target.put(THREAD_STATE, offset, 0x30000),
                None => {
                    let root = target.root_cframe();
                    target.put(THREAD_STATE, 56, 0x9000);
                    target.put_cframe(0x9000, 0x30000, root);
                    target.put_cframe(root, 0, 0);
                }
            }
            target.put_frame(0x30000, 0x31000, 1, false);
            target.put_frame(0x31000, 0x32000, 0, true);
            target.put_frame(0x32000, 0x33000, 3, false);
            target.put_frame(0x33000, 0, 0, true);
            let walk = target.walk();
            assert_eq!(walk.end, End::Root);
            let expected = [(vec![1], Some(0x31000)), (vec![3], Some(0x33000))];
            assert_eq!(units(&walk), expected);
        }
    }

    #[test]
    fn a_thread_without_frames_is_complete_and_empty() {
        let mut target = Target::new(0x030d_00f0);
        target.put(THREAD_STATE, 72, 0);
        let walk = target.walk();
        assert_eq!((walk.groups.len(), walk.end), (0, End::Root));
    }

    #[test]
    fn a_walk_into_what_is_no_frame_keeps_what_it_has_and_says_so() {
        let mut target = target_311();
        target.words.insert(0x32000 + 32, CODE_TYPE);
        target.words.insert(CODE_TYPE + 8, 0);
        target.words.insert(CODE_TYPE + 16, 0);
        let walk = target.walk();
        assert_eq!(walk.frames().count(), 2);
        assert_eq!(walk.end, End::Implausible { address: 0x32000 });
        let mut target = target_311();
        target.words.remove(&0x32000);
        assert_eq!(target.walk().end, End::Unreadable { address: 0x32000 });
    }

    #[test]
    fn instructions_outside_their_code_are_no_frame() {
        for (offset, expected) in [(98, true), (-1, true), (-2, false), (100, false)] {
            let mut target = target_311();
            let start = CODE + 184;
            let pointer = start.wrapping_add_signed(offset * 2);
            target.words.insert(0x30000 + 56, pointer);
            // The other cframe still leads to a frame.
            assert_eq!(target.walk().frames().count() == 3, expected, "{offset}");
        }
    }

    #[test]
    fn rings_end() {
        let mut target = target_311();
        target.put_frame(0x32000, 0x30000, 3, true);
        assert_eq!(target.walk().end, End::FrameLimit);
        let mut target = target_311();
        target.put_cframe(0x9100, 0x32000, 0x9000);
        assert_eq!(target.walk().end, End::FrameLimit);
    }
}
