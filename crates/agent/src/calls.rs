//! Up to CPython 3.10 each Python frame is one native call of the evaluation loop: which frame is which call.
//!
//! Before 3.10 nothing ties a frame to the C stack, so calls are counted: both lists are in one order, and as long. Only the
//! youngest call can be without a frame, because it has not made it yet or has it no longer. Hence counting starts at the
//! oldest, unless the native walk did not get there.
//! A greenlet's frames end where it was started; the calls below, of the program that started it, have none in its list.
//! 3.10 has an object on the C stack for each call, which says all but this: whether one object too many is that of such a
//! youngest call, or greenlet's own at the other end; and that one too few is missing at the youngest call, which returns.
//! Frames that no call runs are there as well, since 3.9: a generator that passes an exception on to the one that it waits for
//! puts its own frame into the chain, and calls that one's `throw` (`_gen_throw`,
//! <https://github.com/python/cpython/blob/v3.10.13/Objects/genobject.c>). The kernel marks frames that may be such.

use viperf_abi::{Reason, Word};

/// What tells calls among native frames.
#[derive(Clone, Copy)]
pub(crate) struct CallMarks<'a> {
    /// Whether a native frame (executable, SVMA) runs the evaluation loop.
    pub(crate) is_call: &'a dyn Fn(u32, u64) -> bool,
    /// Whether an executable is greenlet's library.
    pub(crate) is_greenlet: &'a dyn Fn(u32) -> bool,
}

/// A call without a frame runs its own first or last instructions, and calls at most what checks its result
/// (`_Py_CheckFunctionResult`, `PyErr_Occurred`): so many native frames are younger.
const DEEPEST_CALL_WITHOUT_FRAME: usize = 3;

/// A Python frame's word, and whether it may be one that no eval call runs.
struct Frame {
    word: u64,
    is_suspended: bool,
}

/// The same Python section with a mark of its owner after every frame that has one.
pub(crate) fn mark_owners(native: &[u64], python: &[u64], marks: CallMarks<'_>) -> Vec<u64> {
    let native: Vec<Word> = native.iter().copied().map(Word::decode).collect();
    let is_gap = |word: &u64| matches!(Word::decode(*word), Word::Reason(_));
    let gap = python
        .iter()
        .position(is_gap)
        .filter(|gap| gap + 1 < python.len());
    match gap {
        // Frames were left out. What is younger is counted from the youngest call, what is older from the oldest.
        Some(gap) => {
            let (younger, older) = python.split_at(gap + 1);
            let mut words = mark_from_youngest(&native, younger, marks);
            words.extend(mark_from_oldest(&native, older, marks));
            words
        }
        None => mark_from_youngest(&native, python, marks),
    }
}

/// The frames behind a gap, which end with the oldest one.
fn mark_from_oldest(native: &[Word], python: &[u64], marks: CallMarks<'_>) -> Vec<u64> {
    let mut owners: Vec<Option<u16>> = Vec::new();
    let mut frames = Vec::new();
    for word in python {
        match Word::decode(*word) {
            Word::Python { .. } => frames.push(*word),
            Word::Entry { owner } => owners.push(owner),
            Word::Reason(_) => return python.to_vec(),
            _ => {}
        }
    }
    if owners.is_empty() && is_whole(native) {
        let calls = (0..native.len()).filter(|index| is_call(native, *index, marks));
        owners = calls.map(|index| u16::try_from(index).ok()).collect();
    }
    let missing = frames.len().saturating_sub(owners.len());
    let spare = owners.len().saturating_sub(frames.len());
    let mut words: Vec<u64> = frames.iter().take(missing).copied().collect();
    for (frame, owner) in frames.iter().skip(missing).zip(owners.iter().skip(spare)) {
        words.extend([*frame, Word::Entry { owner: *owner }.encode()]);
    }
    words
}

fn mark_from_youngest(native: &[Word], python: &[u64], marks: CallMarks<'_>) -> Vec<u64> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut owners = Vec::new();
    let mut rest = None;
    for word in python.iter().copied() {
        match Word::decode(word) {
            Word::Python { .. } => frames.push(Frame {
                word,
                is_suspended: false,
            }),
            Word::Suspended => {
                if let Some(frame) = frames.last_mut() {
                    frame.is_suspended = true;
                }
            }
            Word::Entry { owner } => owners.push(owner),
            _ => rest = Some(word),
        }
    }
    let (owners, unexplained) = if owners.is_empty() {
        count_calls(native, &frames, rest.is_some(), marks)
    } else {
        let is_whole = is_whole(native) && rest.is_none();
        pair_with_objects(native, &frames, owners, is_whole, marks)
    };
    let mut words = Vec::with_capacity(2 * frames.len() + 1);
    let mut owners = owners.into_iter();
    for frame in &frames {
        words.push(frame.word);
        words.extend(match owners.next() {
            Some(Call::Owner(owner)) => Some(Word::Entry { owner }.encode()),
            Some(Call::None) | None => None,
        });
    }
    words.extend(rest.or(unexplained.map(|reason| Word::Reason(Ok(reason)).encode())));
    words
}

/// The eval call that runs a frame.
#[derive(Clone, Copy)]
enum Call {
    /// This native frame, if the native walk came so far.
    Owner(Option<u16>),
    /// There is none: the frame joins the run of the next older one.
    None,
}

fn is_whole(native: &[Word]) -> bool {
    !matches!(native.last(), Some(Word::Reason(_)))
}

fn is_call(native: &[Word], index: usize, marks: CallMarks<'_>) -> bool {
    matches!(native.get(index), Some(Word::Native { executable, svma }) if (marks.is_call)(*executable, *svma))
}

/// Before 3.10: the n-th frame is the n-th call.
fn count_calls(
    native: &[Word],
    frames: &[Frame],
    python_is_broken: bool,
    marks: CallMarks<'_>,
) -> (Vec<Call>, Option<Reason>) {
    // A generator that passes an exception on to another one has no caller in 3.9 (_gen_throw): older frames are not to be had.
    let is_cut_off = frames.last().is_some_and(|frame| frame.is_suspended);
    let frame_count = frames.len() - usize::from(is_cut_off);
    let is_greenlet = |word: &Word| matches!(word, Word::Native { executable, .. } if (marks.is_greenlet)(*executable));
    let started_at = find_start(native, is_greenlet, |index| is_call(native, index, marks));
    let calls: Vec<usize> = (0..started_at.unwrap_or(native.len()))
        .filter(|index| is_call(native, *index, marks))
        .collect();
    let both_are_whole =
        (is_whole(native) || started_at.is_some()) && !python_is_broken && !is_cut_off;
    let spare = calls.len().saturating_sub(frame_count);
    let youngest_lacks_its_frame = spare == 1
        && calls
            .first()
            .is_some_and(|&index| index <= DEEPEST_CALL_WITHOUT_FRAME);
    let is_explained = spare == 0 || youngest_lacks_its_frame || frames.is_empty();
    let unexplained = match (is_cut_off, both_are_whole && !is_explained) {
        (true, _) => Some(Reason::PythonCutOff),
        (false, true) => Some(Reason::MergeNoOwner),
        (false, false) => None,
    };
    let skipped = usize::from(both_are_whole && youngest_lacks_its_frame);
    let owners = calls.iter().skip(skipped).take(frame_count);
    let owners = owners.map(|&index| Call::Owner(u16::try_from(index).ok()));
    (owners.collect(), unexplained)
}

/// 3.10: the n-th frame is that of the n-th object, but for frames without a call and objects without a frame.
fn pair_with_objects(
    native: &[Word],
    frames: &[Frame],
    mut owners: Vec<Option<u16>>,
    both_are_whole: bool,
    marks: CallMarks<'_>,
) -> (Vec<Call>, Option<Reason>) {
    let is_call_at = |index: usize| is_call(native, index, marks);
    let suspended = frames.iter().filter(|frame| frame.is_suspended).count();
    if both_are_whole && owners.len() < frames.len() {
        let youngest = (0..native.len()).find(|index| is_call_at(*index));
        let youngest = youngest.and_then(|index| u16::try_from(index).ok());
        // When a call returns, its object goes before its frame. Beside generators without a call that cannot be told from a
        // call that has no frame yet.
        if youngest.is_some() && owners.first() != Some(&youngest) {
            if suspended > 0 {
                return (Vec::new(), Some(Reason::MergeNoOwner));
            }
            owners.insert(0, youngest);
        }
    }
    let owners = drop_spare_owner(owners, frames.len(), is_call_at);
    let lacking = frames.len().saturating_sub(owners.len());
    let unexplained = both_are_whole && lacking != 0 && lacking != suspended;
    let skips = both_are_whole && lacking == suspended;
    let mut owners = owners.into_iter();
    let calls = frames.iter().map_while(|frame| {
        if skips && frame.is_suspended {
            return Some(Call::None);
        }
        owners.next().map(Call::Owner)
    });
    (calls.collect(), unexplained.then_some(Reason::MergeNoOwner))
}

/// Where the greenlet in hand was started: its library's frames behind at least one call of its own.
fn find_start(
    native: &[Word],
    is_greenlet: impl Fn(&Word) -> bool,
    is_call_at: impl Fn(usize) -> bool,
) -> Option<usize> {
    let first_call = (0..native.len()).find(|index| is_call_at(*index))?;
    let behind = native.iter().skip(first_call);
    behind
        .into_iter()
        .position(is_greenlet)
        .map(|index| first_call + index)
}

/// One owner too many: the youngest call has linked its object and not yet its frame; or greenlet's, which is no call.
fn drop_spare_owner(
    mut owners: Vec<Option<u16>>,
    frames: usize,
    is_call_at: impl Fn(usize) -> bool,
) -> Vec<Option<u16>> {
    if owners.len() == frames + 1 {
        let oldest = owners.last().copied().flatten();
        if oldest.is_some_and(|owner| is_call_at(usize::from(owner))) {
            owners.remove(0);
        } else {
            owners.pop();
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: u64 = 1 << 60 | 1 << 40 | 0xe;
    const OTHER: u64 = 1 << 60 | 1 << 40 | 0xf;
    const NATIVE_ENDS_EARLY: u64 = 5 << 60 | 1003;

    const fn python(code: u64) -> u64 {
        3 << 60 | code << 28 | 1
    }
    const fn entry(owner: u64) -> u64 {
        4 << 60 | owner
    }

    fn mark(native: &[u64], python: &[u64]) -> Vec<u64> {
        let marks = CallMarks {
            is_call: &|_, svma| svma == 0xe,
            is_greenlet: &|executable| executable == 7,
        };
        mark_owners(native, python, marks)
    }

    #[test]
    fn as_many_calls_as_frames_pair_in_order() {
        let native = [OTHER, CALL, OTHER, CALL, OTHER];
        let marked = mark(&native, &[python(1), python(2)]);
        assert_eq!(marked, [python(1), entry(1), python(2), entry(3)]);
    }

    #[test]
    fn one_call_more_is_the_youngest_without_a_frame() {
        let native = [CALL, OTHER, CALL, OTHER, CALL];
        let marked = mark(&native, &[python(1), python(2)]);
        assert_eq!(marked, [python(1), entry(2), python(2), entry(4)]);
        assert!(mark(&[CALL], &[]).is_empty());
    }

    #[test]
    fn one_call_more_below_other_frames_is_explained_by_nothing() {
        let native = [OTHER, OTHER, OTHER, OTHER, CALL, OTHER, CALL];
        let marked = mark(&native, &[python(1)]);
        assert_eq!(marked, [python(1), entry(4), 5 << 60 | 3001]);
    }

    #[test]
    fn a_greenlets_frames_end_where_it_was_started() {
        const GREENLET: u64 = 1 << 60 | 7 << 40 | 0xf;
        let native = [OTHER, CALL, CALL, OTHER, GREENLET, GREENLET, CALL, OTHER];
        let marked = mark(&native, &[python(1), python(2)]);
        assert_eq!(marked, [python(1), entry(1), python(2), entry(2)]);
        // While it switches, its own library is on top.
        let native = [GREENLET, OTHER, CALL, GREENLET, CALL, OTHER];
        assert_eq!(mark(&native, &[python(1)]), [python(1), entry(2)]);
    }

    #[test]
    fn a_native_walk_that_ended_early_is_counted_from_the_youngest() {
        let native = [OTHER, CALL, OTHER, NATIVE_ENDS_EARLY];
        let marked = mark(&native, &[python(1), python(2)]);
        assert_eq!(marked, [python(1), entry(1), python(2)]);
    }

    #[test]
    fn a_python_walk_that_ended_early_keeps_its_reason_last() {
        let reason = 5 << 60 | 2001;
        let native = [CALL, OTHER, CALL];
        let marked = mark(&native, &[python(1), reason]);
        assert_eq!(marked, [python(1), entry(0), reason]);
    }

    #[test]
    fn calls_that_nothing_explains_do_not_pair_silently() {
        let marked = mark(&[CALL, CALL, CALL], &[python(1)]);
        assert_eq!(marked.first(), Some(&python(1)));
        assert_eq!(marked.last(), Some(&(5 << 60 | 3001)));
    }

    #[test]
    fn objects_on_the_c_stack_win_over_counting() {
        let native = [OTHER, CALL, OTHER, CALL];
        let words = [python(1), entry(1), python(2), entry(3)];
        assert_eq!(mark(&native, &words), words);
    }

    #[test]
    fn an_object_too_many_is_a_call_that_begins_or_greenlets_own() {
        let native = [CALL, OTHER, CALL, CALL, OTHER];
        let begins = [python(1), entry(0), python(2), entry(2), entry(3)];
        let expected = [python(1), entry(2), python(2), entry(3)];
        assert_eq!(mark(&native, &begins), expected);
        let greenlet = [python(1), entry(0), python(2), entry(2), entry(4)];
        let expected = [python(1), entry(0), python(2), entry(2)];
        assert_eq!(mark(&native, &greenlet), expected);
    }

    #[test]
    fn an_object_too_few_is_that_of_a_call_that_returns() {
        let native = [CALL, OTHER, CALL, CALL, OTHER];
        let words = [python(1), entry(2), python(2), entry(3), python(3)];
        let expected = [
            python(1),
            entry(0),
            python(2),
            entry(2),
            python(3),
            entry(3),
        ];
        assert_eq!(mark(&native, &words), expected);
    }

    #[test]
    fn generators_that_pass_an_exception_on_join_their_callers_run() {
        const SUSPENDED: u64 = 7 << 60;
        let native = [CALL, OTHER, CALL, CALL, OTHER];
        let words = [
            python(1),
            entry(0),
            python(2),
            SUSPENDED,
            entry(2),
            python(3),
            SUSPENDED,
            entry(3),
            python(4),
            python(5),
        ];
        let expected = [
            python(1),
            entry(0),
            python(2),
            python(3),
            python(4),
            entry(2),
            python(5),
            entry(3),
        ];
        assert_eq!(mark(&native, &words), expected);
        // A trace function is called from a generator: that one has a call of its own.
        let traced = [python(1), entry(0), python(2), SUSPENDED, entry(2)];
        let expected = [python(1), entry(0), python(2), entry(2)];
        assert_eq!(mark(&[CALL, OTHER, CALL], &traced), expected);
    }

    #[test]
    fn before_3_10_such_a_generator_is_the_last_frame_that_can_be_had() {
        const SUSPENDED: u64 = 7 << 60;
        let native = [CALL, OTHER, CALL, OTHER];
        let marked = mark(&native, &[python(1), python(2), SUSPENDED]);
        assert_eq!(marked, [python(1), entry(0), python(2), 5 << 60 | 2006]);
    }

    #[test]
    fn behind_a_gap_frames_are_counted_from_the_oldest() {
        const LEFT_OUT: u64 = 5 << 60 | 2003;
        let native = [CALL, OTHER, CALL, 5 << 60 | 1008, CALL, OTHER, CALL, OTHER];
        let words = [python(1), python(2), LEFT_OUT, python(8), python(9)];
        let expected = [
            python(1),
            entry(0),
            python(2),
            entry(2),
            LEFT_OUT,
            python(8),
            entry(4),
            python(9),
            entry(6),
        ];
        assert_eq!(mark(&native, &words), expected);
        // 3.10, with an object whose frame is in the gap.
        let words = [python(1), entry(0), LEFT_OUT, entry(4), python(9), entry(6)];
        let expected = [python(1), entry(0), LEFT_OUT, python(9), entry(6)];
        assert_eq!(mark(&native, &words), expected);
    }

    #[test]
    fn frames_that_nothing_explains_do_not_pair_silently() {
        let marked = mark(&[CALL, OTHER], &[python(1), entry(0), python(2), python(3)]);
        assert_eq!(marked.last(), Some(&(5 << 60 | 3001)));
    }

    #[test]
    fn frames_beyond_the_native_walk_have_no_owner() {
        let native = [CALL, NATIVE_ENDS_EARLY];
        let words = [python(1), entry(0), python(2), python(3)];
        assert_eq!(mark(&native, &words), words);
    }
}
