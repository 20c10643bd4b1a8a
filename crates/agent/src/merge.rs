//! The three sections of a sample become one stack.
//!
//! The kernel has found, for each run of Python frames, the native frame that owns it: the eval call whose part of the
//! C stack holds the run's entry object. That frame is replaced by the run; what is younger than it was called by the
//! run's innermost frame, what is older called the run's outermost one.

use viperf_abi::{Reason, Word};

/// A frame of the merged stack; Python still by the kernel's number of the code object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergedFrame {
    Kernel(u64),
    Native {
        executable: u32,
        svma: u64,
    },
    /// A native frame of the interpreter, shown by the Python frames that it runs.
    Interpreter {
        executable: u32,
        svma: u64,
    },
    /// A native frame whose file is not known; AVMA.
    Address(u64),
    Python {
        code: u32,
        unit: i32,
    },
    Reason(Reason),
}

/// One stack, leaf first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Merged {
    pub(crate) frames: Vec<MergedFrame>,
    /// The first thing that makes it incomplete.
    pub(crate) incomplete: Option<Reason>,
}

/// Merges; `native_walked` is false when native frames were not asked for, so that no run can have an owner.
pub(crate) fn merge(kernel: &[u64], native: &[u64], python: &[u64], native_walked: bool) -> Merged {
    let mut merged = Merged {
        frames: kernel.iter().copied().map(MergedFrame::Kernel).collect(),
        incomplete: None,
    };
    let native: Vec<Word> = native.iter().copied().map(Word::decode).collect();
    for word in &native {
        if let Word::Reason(reason) = word {
            merged.note(reason.unwrap_or(Reason::NativeUnsupportedRule));
        }
    }
    let (mut runs, rest) = merged.split_runs(python);
    // A thread that has entered several interpreters has a chain of runs in each, which alternate on the C stack.
    runs.sort_by_key(|run| run.owner.unwrap_or(u16::MAX));
    let mut shown = 0;
    for run in runs {
        merged.push_run(&native, &mut shown, run, native_walked);
    }
    merged.push_rest(&native, shown, rest, native_walked);
    merged
}

/// The same for a child that posix_spawn has started on a stack of its own, and that has not run exec yet: what it runs was
/// called by its parent's Python frames, and these are on another stack.
pub(crate) fn merge_borrowed(
    kernel: &[u64],
    native: &[u64],
    python: &[u64],
    native_walked: bool,
) -> Merged {
    let mut merged = merge(kernel, native, &[], native_walked);
    let callers = merge(&[], &[], python, false);
    merged.frames.extend(callers.frames);
    merged.incomplete = merged.incomplete.or(callers.incomplete);
    merged
}

/// Python frames that one native frame runs.
struct Run {
    frames: Vec<MergedFrame>,
    owner: Option<u16>,
}

impl Merged {
    fn note(&mut self, reason: Reason) {
        self.incomplete.get_or_insert(reason);
    }

    /// The runs of a Python section, and the frames behind the last mark.
    fn split_runs(&mut self, python: &[u64]) -> (Vec<Run>, Vec<MergedFrame>) {
        let mut runs = Vec::new();
        let mut frames = Vec::new();
        for word in python.iter().copied().map(Word::decode) {
            let owner = match word {
                Word::Python { code, unit } => {
                    frames.push(MergedFrame::Python { code, unit });
                    continue;
                }
                Word::Reason(reason) => {
                    let reason = reason.unwrap_or(Reason::PythonUnreadable);
                    self.note(reason);
                    frames.push(MergedFrame::Reason(reason));
                    continue;
                }
                Word::Entry { owner } => owner,
                // A deferred sample that could not be finished.
                Word::EntryAddress(_) => None,
                _ => continue,
            };
            let frames = std::mem::take(&mut frames);
            runs.push(Run { frames, owner });
        }
        (runs, frames)
    }

    /// The native frames down to the run's owner, and the run.
    fn push_run(&mut self, native: &[Word], shown: &mut usize, run: Run, native_walked: bool) {
        // Where native frames were left out, several runs have the mark that stands for them as their owner.
        let is_mark = |owner: &usize| matches!(native.get(*owner), Some(Word::Reason(_)));
        let owner = run.owner.map(usize::from);
        if owner.is_some_and(|owner| owner + 1 == *shown && is_mark(&owner)) {
            self.frames.extend(run.frames);
            return;
        }
        let owner = owner.filter(|owner| *owner >= *shown && *owner < native.len());
        let end = owner.unwrap_or(native.len());
        for word in native.iter().take(end).skip(*shown) {
            self.frames.extend(native_frame(*word));
        }
        if owner.is_none() && native_walked {
            self.note(Reason::MergeNoOwner);
        }
        match native.get(end) {
            Some(Word::Native { executable, svma }) => {
                self.frames.push(MergedFrame::Interpreter {
                    executable: *executable,
                    svma: *svma,
                });
            }
            Some(word) => self.frames.extend(native_frame(*word)),
            None => {}
        }
        *shown = (end + 1).min(native.len()).max(*shown);
        self.frames.extend(run.frames);
    }

    /// The native frames that called the outermost run, and Python frames whose run did not come to its end: these were
    /// called by what is older, of which nothing more is known.
    fn push_rest(
        &mut self,
        native: &[Word],
        shown: usize,
        run: Vec<MergedFrame>,
        native_walked: bool,
    ) {
        let broke_off = matches!(run.last(), None | Some(MergedFrame::Reason(_)));
        if native_walked && !broke_off {
            self.note(Reason::MergeNoOwner);
        }
        if run.is_empty() {
            self.frames
                .extend(native.iter().skip(shown).copied().filter_map(native_frame));
            return;
        }
        // What the native walk did not get to is older than all that it got to.
        let native_broke_off = matches!(native.last(), Some(Word::Reason(_)));
        let mut run = run;
        if !native_broke_off || broke_off {
            self.frames.append(&mut run);
        }
        self.frames
            .extend(native.iter().skip(shown).copied().filter_map(native_frame));
        self.frames.append(&mut run);
    }
}

fn native_frame(word: Word) -> Option<MergedFrame> {
    match word {
        Word::Native { executable, svma } => Some(MergedFrame::Native { executable, svma }),
        Word::Address(address) => Some(MergedFrame::Address(address)),
        Word::Reason(reason) => Some(MergedFrame::Reason(
            reason.unwrap_or(Reason::NativeUnsupportedRule),
        )),
        Word::Python { .. }
        | Word::Entry { .. }
        | Word::EntryAddress(_)
        | Word::Suspended
        | Word::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn native(svma: u64) -> u64 {
        1 << 60 | 1 << 40 | svma
    }
    const fn python(code: u64) -> u64 {
        3 << 60 | code << 28 | 1
    }
    const fn entry(owner: u64) -> u64 {
        4 << 60 | owner
    }
    const fn reason(code: u64) -> u64 {
        5 << 60 | code
    }

    fn shape(merged: &Merged) -> String {
        let letter = |frame: &MergedFrame| match frame {
            MergedFrame::Kernel(address) => format!("k{address}"),
            MergedFrame::Native { svma, .. } => format!("n{svma}"),
            MergedFrame::Interpreter { svma, .. } => format!("i{svma}"),
            MergedFrame::Address(address) => format!("a{address}"),
            MergedFrame::Python { code, .. } => format!("p{code}"),
            MergedFrame::Reason(reason) => format!("!{}", *reason as u16),
        };
        merged
            .frames
            .iter()
            .map(letter)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn each_run_stands_where_its_eval_call_is() {
        let natives: Vec<u64> = (0..8).map(native).collect();
        // sorted() calls back: p1 runs in frame 2, called by 3 and 4, which p2 and p3 called in frame 5.
        let pythons = [python(1), entry(2), python(2), python(3), entry(5)];
        let merged = merge(&[90, 91], &natives, &pythons, true);
        assert_eq!(shape(&merged), "k90 k91 n0 n1 i2 p1 n3 n4 i5 p2 p3 n6 n7");
        assert_eq!(merged.incomplete, None);
    }

    #[test]
    fn an_empty_run_hides_its_eval_call_only() {
        let merged = merge(
            &[],
            &[native(0), native(1)],
            &[entry(0), python(1), entry(1)],
            true,
        );
        assert_eq!(shape(&merged), "i0 i1 p1");
    }

    #[test]
    fn a_broken_native_walk_keeps_all_python_frames() {
        let natives = [native(0), native(1), reason(1003)];
        let pythons = [python(1), entry(0), python(2), entry(65535)];
        let merged = merge(&[], &natives, &pythons, true);
        assert_eq!(shape(&merged), "i0 p1 n1 !1003 p2");
        assert_eq!(merged.incomplete, Some(Reason::NativeNoRow));
    }

    #[test]
    fn a_run_without_owner_on_a_whole_native_stack_is_incomplete() {
        let merged = merge(&[], &[native(0)], &[python(1), entry(65535)], true);
        assert_eq!(
            (shape(&merged), merged.incomplete),
            ("n0 p1".to_owned(), Some(Reason::MergeNoOwner))
        );
    }

    #[test]
    fn without_native_frames_python_is_complete_by_itself() {
        let merged = merge(
            &[9],
            &[],
            &[python(1), entry(65535), python(2), entry(65535)],
            false,
        );
        assert_eq!(
            (shape(&merged), merged.incomplete),
            ("k9 p1 p2".to_owned(), None)
        );
    }

    #[test]
    fn runs_of_several_interpreters_are_ordered_by_their_owners() {
        let natives: Vec<u64> = (0..6).map(native).collect();
        let inner = [python(1), entry(1)];
        let outer = [python(2), entry(3), python(3), entry(5)];
        for pythons in [[&inner[..], &outer].concat(), [&outer[..], &inner].concat()] {
            let merged = merge(&[], &natives, &pythons, true);
            assert_eq!(shape(&merged), "n0 i1 p1 n2 i3 p2 n4 i5 p3");
            assert_eq!(merged.incomplete, None);
        }
    }

    #[test]
    fn runs_of_native_frames_that_were_left_out_stand_in_the_gap() {
        let natives = [native(0), native(1), reason(1008), native(2), native(3)];
        let pythons = [
            python(1),
            entry(1),
            python(2),
            entry(2),
            python(3),
            entry(2),
            python(4),
            entry(3),
        ];
        let merged = merge(&[], &natives, &pythons, true);
        assert_eq!(shape(&merged), "n0 i1 p1 !1008 p2 p3 i2 p4 n3");
        assert_eq!(merged.incomplete, Some(Reason::NativeTooDeep));
    }

    #[test]
    fn a_child_on_a_stack_of_its_own_was_called_by_its_parents_frames() {
        let pythons = [python(1), entry(65535), python(2), entry(65535)];
        let merged = merge_borrowed(&[9], &[native(0), native(1)], &pythons, true);
        assert_eq!(shape(&merged), "k9 n0 n1 p1 p2");
        assert_eq!(merged.incomplete, None);
    }

    #[test]
    fn owners_past_the_end_lose_no_frame() {
        let natives = [native(0), native(1), native(2)];
        let merged = merge(
            &[],
            &natives,
            &[
                python(1),
                entry(1),
                python(2),
                entry(0),
                python(3),
                entry(77),
            ],
            true,
        );
        assert_eq!(shape(&merged), "i0 p2 i1 p1 n2 p3");
        assert_eq!(merged.incomplete, Some(Reason::MergeNoOwner));
    }

    #[test]
    fn a_run_without_its_end_is_incomplete() {
        let merged = merge(&[], &[native(0), native(1)], &[python(1)], true);
        assert_eq!(merged.incomplete, Some(Reason::MergeNoOwner));
        let without_native = merge(&[], &[], &[python(1)], false);
        assert_eq!(without_native.incomplete, None);
    }

    #[test]
    fn frames_beyond_a_broken_native_walk_are_older_than_all_of_it() {
        let natives = [native(0), native(1), reason(1008)];
        let merged = merge(&[], &natives, &[python(1), entry(0), python(2)], true);
        assert_eq!(shape(&merged), "i0 p1 n1 !1008 p2");
        assert_eq!(merged.incomplete, Some(Reason::NativeTooDeep));
    }

    #[test]
    fn a_python_walk_that_broke_off_says_so_where_it_did() {
        let merged = merge(
            &[],
            &[native(0), native(1)],
            &[python(1), entry(0), python(2), reason(2001)],
            true,
        );
        assert_eq!(shape(&merged), "i0 p1 p2 !2001 n1");
        assert_eq!(merged.incomplete, Some(Reason::PythonUnreadable));
    }
}
