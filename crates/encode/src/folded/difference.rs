//! Two profiles in folded stacks: `PROCESS;FRAME;FRAME;… COUNT COUNT`, the base's count first.
//!
//! It is the form of `difffolded.pl` and of `inferno-diff-folded`, so `inferno-flamegraph` and `flamegraph.pl` draw it.
//! Frames carry no lines and processes no numbers: lines move from one version of a program to the next, and every run
//! has other numbers.
//! Installed Python code is named by its module (`json.encoder`), as in `viperf diff`, so that two installations are one.

use std::collections::BTreeMap;

use viperf_profile::{FrameKind, Group, GroupBy, Grouping, Pair};

use super::{INCOMPLETE_SUFFIX, KERNEL_SUFFIX, NATIVE_SUFFIX, PYTHON_SUFFIX};
use super::{Options, escape, is_bare_address, render_prefix};
use crate::EncodeError;

/// The folded lines of both sides, each ended by a newline, sorted by their bytes.
///
/// # Errors
///
/// [`EncodeError::Profile`] when a handle is not of this profile.
pub fn encode_difference(pair: &Pair, options: &Options) -> Result<String, EncodeError> {
    let profile = pair.merged();
    profile.validate()?;
    let options = Options {
        merge_processes: true,
        threads: false,
        ..options.clone()
    };
    let grouping = Grouping::new(profile, GroupBy::Name)?;
    let texts: Vec<Option<String>> = grouping
        .iter()
        .map(|(_, group)| group_text(group, &options))
        .collect();
    let mut lines: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let (base, new) = profile
        .samples
        .split_at_checked(pair.base_samples())
        .unwrap_or_default();
    for (side, samples) in [base, new].into_iter().enumerate() {
        let mut stacks: BTreeMap<_, u64> = BTreeMap::new();
        for sample in samples {
            *stacks.entry((sample.thread, sample.stack)).or_default() += 1;
        }
        for ((thread, stack), count) in stacks {
            let mut line = render_prefix(profile, thread, &options)?;
            for frame in profile.stacks.frames_root_first(stack) {
                let group = grouping.of_frame(frame);
                let text = group
                    .and_then(|group| texts.get(viperf_profile::Handle::index(group) as usize));
                if let Some(Some(text)) = text {
                    line.push(';');
                    line.push_str(text);
                }
            }
            if let Some(counted) = lines.entry(line).or_default().get_mut(side) {
                *counted += count;
            }
        }
    }
    let mut text = String::new();
    for (line, [base, new]) in lines {
        text += &format!("{line} {base} {new}\n");
    }
    Ok(text)
}

/// `None` for a frame that is not shown.
fn group_text(group: &Group<'_>, options: &Options) -> Option<String> {
    let name = escape(&group.name);
    let in_place = |place: Option<&str>| match place {
        Some(place) => format!("{name} ({})", escape(place)),
        None => name.clone(),
    };
    let (text, suffix) = match group.kind {
        FrameKind::Interpreter if !options.interpreter_frames => return None,
        FrameKind::Python => (
            in_place(group.module.as_deref().or(group.file)),
            PYTHON_SUFFIX,
        ),
        FrameKind::Native | FrameKind::Interpreter => {
            let library = group.library.filter(|_| !is_bare_address(&group.name));
            (in_place(library), NATIVE_SUFFIX)
        }
        FrameKind::Kernel => (name, KERNEL_SUFFIX),
        FrameKind::Incomplete => (format!("[{name}]"), INCOMPLETE_SUFFIX),
    };
    Some(match options.frame_kinds {
        true => text + suffix,
        false => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_profile::{add_frame, add_process, add_samples, add_thread};
    use viperf_profile::Profile;

    fn profile(python: &str, line: u32, pid: u32, counts: [u64; 2]) -> Profile {
        let mut profile = Profile::default();
        let process = add_process(&mut profile, "web", pid);
        let thread = add_thread(&mut profile, process, "web", pid);
        let file = format!("/opt/{python}/lib/{python}/json/encoder.py");
        let main = add_frame(&mut profile, FrameKind::Python, "main", "/srv/a.py", line);
        let encode = add_frame(&mut profile, FrameKind::Python, "encode; it", &file, line);
        let deflate = add_frame(&mut profile, FrameKind::Native, "deflate", "libz.so", 0);
        let [with, without] = counts;
        add_samples(&mut profile, thread, &[main, encode], with);
        add_samples(&mut profile, thread, &[main, deflate], without);
        profile
    }

    #[test]
    fn runs_of_other_numbers_installations_and_lines_are_beside_each_other() {
        let base = profile("python3.12", 3, 10, [4, 5]);
        let new = profile("python3.13", 9, 20, [6, 0]);
        let pair = Pair::new(&base, &new).unwrap();
        assert_eq!(
            encode_difference(&pair, &Options::default()).unwrap(),
            "web;main (/srv/a.py)_[p];deflate (libz.so)_[pn] 5 0\n\
             web;main (/srv/a.py)_[p];encode\\u{3b} it (json.encoder)_[p] 4 6\n"
        );
    }
}
