use super::*;
use crate::sample_profile::{
    HOSTILE_NAMES, add_frame, add_process, add_samples, add_thread, hostile_profile,
    profile_of_one_line, small_profile,
};
use viperf_profile::{StackHandle, ThreadHandle};

#[test]
fn lines_are_those_of_the_command_lines_contract() {
    let text = encode(&small_profile(), &Options::default()).unwrap();
    assert_eq!(
        text,
        "\
python3 (4242);[stack page not present]_[e];Job.run (/srv/app.py:7)_[p] 2
python3 (4242);_start (python3.12)_[pn];<module> (/srv/app.py:40)_[p] 1
python3 (4242);_start (python3.12)_[pn];<module> (/srv/app.py:40)_[p];Job.run (/srv/app.py:7)_[p];deflate (libz.so.1.2.13)_[pn] 5
python3 (4242);_start (python3.12)_[pn];<module> (/srv/app.py:40)_[p];Job.run (/srv/app.py:8)_[p];[libz.so.1.2.13+0x1a2b]_[pn];do_syscall_64_[k] 3
"
    );
}

#[test]
fn every_option_changes_what_it_says() {
    let options = Options {
        threads: true,
        merge_processes: true,
        interpreter_frames: true,
        frame_kinds: false,
    };
    let text = encode(&small_profile(), &options).unwrap();
    assert_eq!(
        text,
        "\
python3;python3 (4242);_start (python3.12);_PyEval_EvalFrameDefault (python3.12);<module> (/srv/app.py:40) 1
python3;python3 (4242);_start (python3.12);_PyEval_EvalFrameDefault (python3.12);<module> (/srv/app.py:40);Job.run (/srv/app.py:7);deflate (libz.so.1.2.13) 5
python3;python3 (4242);_start (python3.12);_PyEval_EvalFrameDefault (python3.12);<module> (/srv/app.py:40);Job.run (/srv/app.py:8);[libz.so.1.2.13+0x1a2b];do_syscall_64 3
python3;worker 1 (4243);[stack page not present];Job.run (/srv/app.py:7) 2
"
    );
}

#[test]
fn an_interpreter_frame_that_is_shown_is_native() {
    let options = Options {
        interpreter_frames: true,
        ..Options::default()
    };
    let text = encode(&small_profile(), &options).unwrap();
    assert!(
        text.contains(";_PyEval_EvalFrameDefault (python3.12)_[pn];"),
        "{text}"
    );
}

#[test]
fn merged_processes_of_one_name_are_one_line() {
    let mut profile = Profile::default();
    let frame = add_frame(&mut profile, FrameKind::Python, "f", "a.py", 1);
    for pid in [1, 2] {
        let process = add_process(&mut profile, "python3", pid);
        let thread = add_thread(&mut profile, process, "python3", pid);
        add_samples(&mut profile, thread, &[frame], 2);
    }
    assert_eq!(
        encode(&profile, &Options::default())
            .unwrap()
            .lines()
            .count(),
        2
    );
    let options = Options {
        merge_processes: true,
        ..Options::default()
    };
    assert_eq!(
        encode(&profile, &options).unwrap(),
        "python3;f (a.py:1)_[p] 4\n"
    );
}

#[test]
fn unknown_lines_files_and_libraries_leave_no_empty_brackets() {
    let mut profile = Profile::default();
    let process = add_process(&mut profile, "p", 1);
    let thread = add_thread(&mut profile, process, "t", 1);
    let frames = [
        add_frame(&mut profile, FrameKind::Python, "f", "a.py", 0),
        add_frame(&mut profile, FrameKind::Python, "g", "", 3),
        add_frame(&mut profile, FrameKind::Native, "h", "", 0),
    ];
    add_samples(&mut profile, thread, &frames, 1);
    assert_eq!(
        encode(&profile, &Options::default()).unwrap(),
        "p (1);f (a.py)_[p];g_[p];h_[pn] 1\n"
    );
}

#[test]
fn expressions_of_one_line_are_one_frame() {
    assert_eq!(
        encode(&profile_of_one_line(), &Options::default()).unwrap(),
        "p (1);f (a.py:7)_[p];g (lib.so)_[pn] 6\n"
    );
}

/// The reader here knows only the documented rule: last space, then `;`.
#[test]
fn hostile_names_stay_one_line_and_one_frame_and_can_be_read_back() {
    let text = encode(
        &hostile_profile(),
        &Options {
            threads: true,
            ..Options::default()
        },
    )
    .unwrap();
    assert_eq!(
        text.split('\n').count(),
        HOSTILE_NAMES.len() + 1,
        "and one empty end"
    );
    let mut read_back: Vec<String> = Vec::new();
    for line in text.lines() {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        assert_eq!(count, "1");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let parts: Vec<&str> = stack.split(';').collect();
        assert_eq!(parts.len(), 6, "process, thread and four frames: {line}");
        read_back.push(unescape(parts[4].strip_suffix("_[k]").unwrap()));
    }
    read_back.sort();
    let mut names = HOSTILE_NAMES.map(String::from);
    names.sort();
    assert_eq!(read_back, names);
}

fn unescape(text: &str) -> String {
    let mut name = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            name.push(character);
            continue;
        }
        name.push(match rest.next().unwrap() {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits: String = rest
                    .by_ref()
                    .skip(1)
                    .take_while(|&digit| digit != '}')
                    .collect();
                char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
            }
            other => other,
        });
    }
    name
}

#[test]
fn a_dangling_handle_is_an_error() {
    let mut profile = small_profile();
    profile.samples[0].stack = StackHandle::from_index(999);
    profile.samples[1].thread = ThreadHandle::from_index(999);
    assert!(matches!(
        encode(&profile, &Options::default()),
        Err(EncodeError::Profile(_))
    ));
}

#[test]
fn no_samples_is_no_lines() {
    assert_eq!(
        encode(&Profile::default(), &Options::default()).unwrap(),
        ""
    );
}
