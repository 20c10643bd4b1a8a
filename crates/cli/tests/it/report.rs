//! `viperf report` and `viperf diff`, through the binary.

use std::fs;
use std::path::{Path, PathBuf};

use viperf_encode::viperf_file;
use viperf_profile::{
    Frame, FrameKind, Function, Library, Placement, Process, Profile, Sample, Thread, ThreadHandle,
};

use crate::{code, stderr, stdout, viperf};

/// `work` at two lines of a file, zlib below one of them, in process 42; `other` in process 43.
fn write_profile(folder: &Path, name: &str, in_zlib: u64) -> PathBuf {
    let mut profile = Profile::default();
    let source = folder.join("app.py").display().to_string();
    let [first, second] = [(42, "python3"), (43, "worker\u{1b}[2J")]
        .map(|(pid, name)| add_thread(&mut profile, pid, name));
    let text = profile.strings.intern("libz.so.1");
    let library = Some(profile.libraries.intern(Library::named(text)));
    let file = Some(profile.strings.intern(&source));
    let mut frame = |name: &str, line: u32| {
        let is_python = line != 0;
        let name = profile.strings.intern(name);
        let function = profile.functions.intern(Function {
            name,
            file: file.filter(|_| is_python),
            library: library.filter(|_| !is_python),
            first_line: 0,
            kind: if is_python {
                FrameKind::Python
            } else {
                FrameKind::Native
            },
        });
        profile.frames.intern(Frame::at_line(function, line))
    };
    let (two, three, other) = (frame("work", 2), frame("work", 3), frame("other", 5));
    let deflate = frame("deflate", 0);
    for (thread, frames, count) in [
        (first, vec![two], 100),
        (first, vec![three, deflate], in_zlib),
        (second, vec![other], 100),
    ] {
        let stack = profile.intern_stack_root_first(frames).unwrap();
        for _ in 0..count {
            profile.samples.push(Sample {
                time_ns: profile.samples.len() as u64 * 10_000_000,
                weight_ns: 10_000_000,
                cpu: 0,
                thread,
                stack,
                complete: true,
            });
        }
    }
    let path = folder.join(name);
    let bytes = viperf_file::encode(&profile, &viperf_file::Options::default()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn add_thread(profile: &mut Profile, pid: u32, name: &str) -> ThreadHandle {
    let name = profile.strings.intern(name);
    // The second is a worker of a server, in a container.
    let title = (pid == 43).then(|| profile.strings.intern("gunicorn: worker [app]"));
    let placement = match pid {
        43 => Placement {
            container_id: Some(profile.strings.intern("3f2a51bc0123456789")),
            container_name: Some(profile.strings.intern("web")),
            pod: Some(profile.strings.intern("web-0")),
            unit: Some(profile.strings.intern("docker.service")),
            cgroup: Some(profile.strings.intern("/system.slice/docker.service/a")),
            ..Placement::default()
        },
        _ => Placement::default(),
    };
    let process = profile.processes.intern(Process {
        title,
        placement,
        ..Process::new(pid, name, name)
    });
    profile.threads.intern(Thread {
        process,
        tid: pid,
        name,
    })
}

struct Recorded {
    folder: tempfile::TempDir,
    base: String,
    new: String,
}

fn recorded() -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    Recorded {
        base: text(write_profile(folder.path(), "base.viperf", 100)),
        new: text(write_profile(folder.path(), "new.viperf", 300)),
        folder,
    }
}

fn json(arguments: &[&str]) -> serde_json::Value {
    let output = viperf(arguments);
    assert_eq!(code(&output), 0, "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_report_in_a_pipe_is_plain_and_whole() {
    let recorded = recorded();
    let output = viperf(&["report", &recorded.base]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let text = stdout(&output);
    assert!(!text.contains('\u{1b}'), "{text}");
    for part in ["300 of 2 processes", "deflate", "app.py:3", "Call tree"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let painted = viperf(&["report", &recorded.base, "--color", "always"]);
    assert!(stdout(&painted).contains("\u{1b}[1m"));
}

#[test]
fn filters_choose_and_shares_are_of_what_is_left() {
    let Recorded { base, folder, .. } = recorded();
    let samples = |filters: &[&str]| {
        let arguments = [&["report", "--json", &base], filters].concat();
        json(&arguments)["summary"]["samples"].as_u64().unwrap()
    };
    assert_eq!(samples(&[]), 300);
    assert_eq!(samples(&["--process", "42"]), 200);
    assert_eq!(samples(&["--process", "python3", "--match", "libz"]), 100);
    assert_eq!(samples(&["--no-match", "^deflate$"]), 200);
    assert_eq!(samples(&["--time", "500ms..2s"]), 150);
    assert_eq!(samples(&["--thread", "42", "--thread", "43"]), 300);
    let hidden = json(&["report", "--json", &base, "--hide-native"]);
    assert_eq!(hidden["functions"][0]["own"]["samples"], 200);
    let whole = json(&["report", "--json", &base]);
    assert_eq!(whole["functions"][0]["split"]["native"]["samples"], 100);
    drop(folder);
}

#[test]
fn filters_know_programs_containers_pods_units_and_control_groups() {
    let Recorded { base, folder, .. } = recorded();
    for filter in [
        ["--process", "gunicorn"],
        ["--process", "gunicorn: worker [app]"],
        ["--container", "web"],
        ["--container", "3f2a"],
        ["--pod", "web-0"],
        ["--unit", "docker"],
        ["--cgroup", "/system.slice"],
    ] {
        let report = json(&[&["report", "--json", &base], &filter[..]].concat());
        assert_eq!(report["summary"]["samples"], 100, "{filter:?}");
        assert_eq!(report["processes"][0]["title"], "gunicorn: worker [app]");
        assert_eq!(report["processes"][0]["placement"]["container_name"], "web");
    }
    for (filter, says) in [
        (
            ["--container", "cafe"],
            "no container cafe; it has: web (3f2a51bc0123456789)",
        ),
        (
            ["--cgroup", "/user.slice"],
            "no control group /user.slice; it has: /system.slice/docker.service/a",
        ),
        (
            ["--process", "celery"],
            "no process celery; it has: python3 (42), gunicorn: worker [app] (43)",
        ),
    ] {
        let output = viperf(&[&["report", &base], &filter[..]].concat());
        assert_eq!(code(&output), 1);
        assert!(stderr(&output).contains(says), "{output:?}");
    }
    drop(folder);
}

#[test]
fn samples_are_grouped_by_who_was_running() {
    let Recorded { base, folder, .. } = recorded();
    for (by, first, second) in [
        ("process", "python3", Some("gunicorn: worker [app]")),
        ("container", "none", Some("web")),
        ("pod", "none", Some("web-0")),
        ("unit", "none", Some("docker.service")),
        ("cgroup", "none", Some("/system.slice/docker.service/a")),
        ("program", "python3", Some("gunicorn: worker [app]")),
        ("thread", "python3", None),
    ] {
        let report = json(&["report", "--json", &base, "--group", by]);
        let groups = &report["groups"];
        assert_eq!(groups["by"], by);
        let parts = groups["parts"].as_array().unwrap();
        assert_eq!(parts.len(), 2, "{groups}");
        assert_eq!(parts[0]["name"].as_str().unwrap_or("none"), first);
        assert_eq!(parts[0]["total"]["samples"], 200);
        assert_eq!(parts[0]["split"]["native"]["samples"], 100);
        assert_eq!(parts[0]["functions"][0]["name"], "work");
        assert_eq!(parts[1]["total"]["samples"], 100);
        if let Some(second) = second {
            assert_eq!(parts[1]["name"], second);
        }
        assert_eq!(report["functions"].as_array().unwrap().len(), 0);
    }
    let output = viperf(&[
        "report",
        &base,
        "--group",
        "container",
        "--show",
        "functions",
    ]);
    let text = stdout(&output);
    for part in [
        "By container",
        "no container",
        "  web  ",
        "Python functions",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(json(&["report", "--json", &base])["groups"].is_null());
    drop(folder);
}

#[test]
fn several_recordings_are_one() {
    let Recorded { base, new, folder } = recorded();
    let both = json(&["report", "--json", &base, &new]);
    assert_eq!(both["summary"]["samples"], 800);
    drop(folder);
}

#[test]
fn questions_about_one_function_are_answered() {
    let recorded = recorded();
    let callers = json(&["report", "--json", &recorded.base, "--callers", "deflate"]);
    assert_eq!(callers["tree"][1]["name"], "work");
    let callees = viperf(&["report", &recorded.base, "--callees", "work", "--markdown"]);
    assert!(stdout(&callees).starts_with("### Callees of `work`"));
    let unknown = viperf(&["report", &recorded.base, "--callers", "deflat3"]);
    assert_eq!(code(&unknown), 1);
    assert!(
        stderr(&unknown).contains("(there is deflate)"),
        "{unknown:?}"
    );
}

#[test]
fn source_is_read_where_it_was_or_below_a_root() {
    let recorded = recorded();
    let missing = viperf(&["report", &recorded.base, "--source", "app.py"]);
    assert_eq!(code(&missing), 0);
    assert!(stderr(&missing).contains("--source-root"), "{missing:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let text = "def work():\n    fast()\n    zlib.compress(data)\n";
    fs::write(elsewhere.path().join("app.py"), text).unwrap();
    let root = elsewhere.path().to_str().unwrap();
    let arguments = [
        "report",
        &recorded.base,
        "--source",
        "app.py",
        "--source-root",
        root,
    ];
    let output = viperf(&arguments);
    let shown = stdout(&output);
    let line = shown.lines().find(|line| line.contains("zlib.compress"));
    assert_eq!(
        line.unwrap().split_whitespace().next(),
        Some("33.3"),
        "{shown}"
    );
    assert!(recorded.folder.path().exists());
}

#[test]
fn what_is_not_in_the_profile_is_told_with_what_is() {
    let recorded = recorded();
    let output = viperf(&["report", &recorded.base, "--process", "nginx"]);
    assert_eq!(code(&output), 1);
    assert_eq!(
        stderr(&output),
        "viperf: the profile has no process nginx; it has: python3 (42), gunicorn: worker [app] (43)\n"
    );
    for wrong in [
        &["--match", "("][..],
        &["--time", "5s..1s"],
        &["--json", "--markdown"],
        &["--callers", "a", "--callees", "b"],
        &["--show", "everything"],
    ] {
        let output = viperf(&[&["report", &recorded.base], wrong].concat());
        assert_eq!(code(&output), 2, "{wrong:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    }
}

#[test]
fn a_difference_fails_a_build_only_when_it_is_asked_to() {
    let recorded = recorded();
    let (base, new) = (&recorded.base, &recorded.new);
    let output = viperf(&["diff", base, new]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("deflate"));
    let failing = viperf(&["diff", base, new, "--fail-above", "5%"]);
    assert_eq!(code(&failing), 1);
    let line = stderr(&failing);
    assert!(
        line.starts_with("viperf: grew by more than 5 % of all samples: ")
            && line.contains("deflate"),
        "{line}"
    );
    assert_eq!(stdout(&failing), stdout(&output));
    for passing in [
        &["diff", base, base, "--fail-above", "0%"][..],
        &["diff", base, new, "--fail-above", "60%"],
    ] {
        assert_eq!(code(&viperf(passing)), 0, "{passing:?}");
    }
    let report = json(&["diff", base, new, "--json"]);
    let deflate = &report["functions"][0];
    assert_eq!(deflate["self"]["base_samples"], 100);
    assert_eq!(deflate["self"]["new_samples"], 300);
    let markdown = viperf(&["diff", base, new, "--markdown", "--normalize", "time"]);
    assert!(stdout(&markdown).starts_with("### Profile: what changed\n"));
}
