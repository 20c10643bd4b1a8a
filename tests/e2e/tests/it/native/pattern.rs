//! The frames that a stack must have, in their order, written as one line.

use viperf_e2e::{Frame, Stack};

/// Root first, by ` > `: `p:NAME` a Python frame, `n:SYMBOL` a native one, `l:LIBRARY` a native one of a file that starts
/// so, `...` any frames or none. A name that ends in `*` is the start of one. What no `...` stands between is adjacent.
/// The kernel's frames are not looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pattern<'a>(pub(super) &'a str);

impl Pattern<'_> {
    /// True if the whole of the stack in user space is as written.
    pub(super) fn fits(self, stack: &Stack) -> bool {
        let steps: Vec<_> = self.0.split(" > ").collect();
        let frames: Vec<_> = user_frames(stack).collect();
        fit(&steps, &frames)
    }
}

/// Root first, without the kernel's.
pub(super) fn user_frames(stack: &Stack) -> impl DoubleEndedIterator<Item = &Frame> {
    stack.frames.iter().filter(|frame| !frame.is_kernel())
}

/// True if one step of a pattern is this frame.
pub(super) fn is_frame(step: &str, frame: &Frame) -> bool {
    let (kind, name) = step.split_once(':').unwrap_or(("", step));
    match kind {
        "p" => frame.qualname().is_some_and(|seen| is_name(name, seen)),
        "n" => frame.symbol().is_some_and(|seen| is_name(name, seen)),
        "l" => frame.library().is_some_and(|seen| seen.starts_with(name)),
        _ => false,
    }
}

fn is_name(wanted: &str, seen: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => seen.starts_with(start),
        None => seen == wanted,
    }
}

/// One pass: after `...`, a step that does not fit moves on by one frame and begins again there.
fn fit(steps: &[&str], frames: &[&Frame]) -> bool {
    let (mut step, mut frame) = (0, 0);
    let mut last_gap = None;
    while frame < frames.len() || step < steps.len() {
        match (steps.get(step), frames.get(frame)) {
            (Some(&"..."), _) => {
                last_gap = Some((step, frame));
                step += 1;
                continue;
            }
            (Some(wanted), Some(seen)) if is_frame(wanted, seen) => {
                step += 1;
                frame += 1;
                continue;
            }
            _ => {}
        }
        match last_gap {
            Some((gap, from)) if from < frames.len() => {
                last_gap = Some((gap, from + 1));
                step = gap + 1;
                frame = from + 1;
            }
            _ => return false,
        }
    }
    true
}

/// Asserts what the patterns of the tests stand on; run as a test of its own, for this harness has no others.
pub(super) fn patterns_mean_what_they_say() -> anyhow::Result<()> {
    use viperf_e2e::Folded;

    let line = "p (1);_start (python)_[pn];main (a.py:1)_[p];ffi_call (libffi.so.8)_[pn];[libffi.so.8+0x1]_[pn];\
                work (a.py:2)_[p];burn (libx.so)_[pn];do_irq_[k] 1";
    let stack = Folded::parse(line)?.stacks.remove(0);
    let fitting = [
        "n:_start > p:main > n:ffi_call > l:libffi > p:work > n:burn",
        "... > p:main > ... > n:burn",
        "... > p:work > ...",
        "n:_st* > ... > l:libffi > p:work > ... > n:burn > ...",
    ];
    let others = [
        "p:main > ... > n:burn",
        "... > p:main > p:work > ...",
        "... > p:work > ... > p:main > ...",
        "... > p:work",
        "... > n:bur > ...",
        "... > l:libz > ...",
    ];
    for pattern in fitting {
        anyhow::ensure!(Pattern(pattern).fits(&stack), "{pattern} should fit");
    }
    for pattern in others {
        anyhow::ensure!(!Pattern(pattern).fits(&stack), "{pattern} should not fit");
    }
    Ok(())
}
