//! Where a thread begins in a C library that cannot be unwound.
//!
//! musl is built without unwind information. A walk that comes from Python's outermost frame into it has reached the few
//! functions that start a program or a thread (`__libc_start_main`, `start`): all that the thread does is in the stack.

use viperf_abi::{Reason, Word};

/// The native section without the reason at its end, if that is where a thread begins: behind the owners of all Python
/// frames, in a library of which `is_c_library` knows that it has no unwind information.
pub(crate) fn without_end_in_start<'words>(
    native: &'words [u64],
    python: &[u64],
    is_c_library: &dyn Fn(u32) -> bool,
) -> &'words [u64] {
    let [before @ .., last, end] = native else {
        return native;
    };
    let ended_without_row = matches!(
        Word::decode(*end),
        Word::Reason(Ok(Reason::NativeNoRow | Reason::NativeNoTable))
    );
    let in_library =
        matches!(Word::decode(*last), Word::Native { executable, .. } if is_c_library(executable));
    let all_owned = matches!(
        python.last().map(|word| Word::decode(*word)),
        Some(Word::Entry { owner: Some(owner) }) if usize::from(owner) < before.len()
    );
    match native.split_last() {
        Some((_, whole)) if ended_without_row && in_library && all_owned => whole,
        _ => native,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUSL: u64 = 2;
    const NO_ROW: u64 = 5 << 60 | 1003;

    const fn native(executable: u64) -> u64 {
        1 << 60 | executable << 40 | 5
    }
    const fn entry(owner: u64) -> u64 {
        4 << 60 | owner
    }

    fn length(words: &[u64], python: &[u64]) -> usize {
        without_end_in_start(words, python, &|number| u64::from(number) == MUSL).len()
    }

    #[test]
    fn the_start_of_a_thread_is_no_broken_walk() {
        let words = [native(1), native(1), native(MUSL), NO_ROW];
        let python = [3 << 60 | 1 << 28, entry(1)];
        assert_eq!(length(&words, &python), 3);
    }

    #[test]
    fn a_walk_that_broke_below_the_last_python_frame_says_so() {
        let words = [native(1), native(MUSL), NO_ROW];
        let python = [3 << 60 | 1 << 28, entry(0)];
        assert_eq!(length(&words, &python), 2);
        // Not owned, no Python at all, another library, another reason.
        let unowned = [3 << 60 | 1 << 28, entry(65535)];
        assert_eq!(length(&words, &unowned), 3);
        assert_eq!(length(&words, &[]), 3);
        assert_eq!(length(&[native(1), native(3), NO_ROW], &python), 3);
        let unreadable = [native(1), native(MUSL), 5 << 60 | 1005];
        assert_eq!(length(&unreadable, &python), 3);
        assert_eq!(length(&[NO_ROW], &python), 1);
    }
}
