//! What people and scripts rely on: messages, exit codes, switches, formats.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use viperf_e2e::{
    Fixture, Folded, Frame, Interpreter, Plan, Recorder, output_folder, viperf_binary,
};

use crate::{root, root_and};

type WithPython = fn(&Interpreter) -> Result<()>;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    plan.beside(
        "command-line/readme",
        Ok(()),
        the_readme_names_flags_that_exist,
    );
    plan.beside("command-line/help".to_owned(), Ok(()), help_shows_examples);
    plan.beside(
        "command-line/wrong-usage".to_owned(),
        Ok(()),
        wrong_usage_is_2,
    );
    plan.beside(
        "command-line/not-permitted".to_owned(),
        root(),
        missing_capabilities_are_3,
    );
    plan.beside("command-line/doctor".to_owned(), root(), doctor_speaks);
    plan.beside(
        "command-line/no-such-process".to_owned(),
        root(),
        no_such_process_is_4,
    );
    plan.beside(
        "command-line/no-such-command".to_owned(),
        root(),
        no_such_command_is_4,
    );
    plan.beside(
        "command-line/unwritable".to_owned(),
        root(),
        unwritable_output_is_found_out_first,
    );
    let with_python: [(&str, WithPython); 5] = [
        ("pass-through", the_commands_output_and_code_pass_through),
        ("short-command", a_command_of_a_moment_is_recorded),
        ("switches", switches_leave_frames_out),
        ("formats", formats_go_by_name),
        ("standard-output", a_dash_writes_to_standard_output),
    ];
    for (name, test) in with_python {
        let of = root_and(interpreters).cloned();
        plan.beside(
            format!("command-line/{name}"),
            of.clone().map(|_| ()),
            move || test(&of.map_err(anyhow::Error::msg)?),
        );
    }
}

pub(crate) fn viperf(arguments: &[&str]) -> Result<Output> {
    let run = Command::new(viperf_binary()?)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    run.context("cannot start viperf")
}

/// Checks the exit code, that standard error names what it must, and that it is fit for people.
pub(crate) fn ends_with(output: &Output, code: i32, named: &[&str]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code),
        "exit {:?}, not {code}:\n{said}",
        output.status.code()
    );
    for word in named {
        ensure!(
            said.contains(word),
            "the message does not say {word}:\n{said}"
        );
    }
    ensure!(
        !said.contains("panicked") && !said.contains("backtrace"),
        "a backtrace is shown:\n{said}"
    );
    Ok(())
}

fn help_shows_examples() -> Result<()> {
    let output = viperf(&[])?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let examples = shown
        .lines()
        .filter(|line| {
            line.trim_start()
                .trim_start_matches("$ ")
                .starts_with("viperf ")
        })
        .count();
    ensure!(examples >= 3, "{examples} examples in:\n{shown}");
    let output = viperf(&["record", "--help"])?;
    let help = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "record --help failed");
    for flag in [
        "--pid",
        "--rate",
        "--duration",
        "--output",
        "--no-native",
        "--no-kernel",
        "--threads",
        "--stats",
    ] {
        ensure!(
            help.contains(flag),
            "the help does not know {flag}:\n{help}"
        );
    }
    Ok(())
}

/// Every `viperf VERB` line of the README's code blocks: the verb and each of its flags are in its help.
fn the_readme_names_flags_that_exist() -> Result<()> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = fs::read_to_string(readme)?;
    let blocks = readme.split("```").skip(1).step_by(2);
    let mut commands = 0;
    for line in blocks
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("viperf "))
    {
        let own = line
            .split(" -- ")
            .next()
            .and_then(|line| line.split(" | ").next());
        let words: Vec<_> = own.unwrap_or_default().split_whitespace().collect();
        let verb = words.first().context("a verb")?;
        let help = viperf(&[verb, "--help"])?;
        ensure!(
            help.status.success(),
            "the README runs `viperf {line}`, and there is no {verb}"
        );
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        for flag in words
            .iter()
            .filter(|word| word.len() > 1 && word.starts_with('-'))
        {
            let is_known = help.contains(&format!("{flag} ")) || help.contains(&format!("{flag},"));
            ensure!(
                is_known || help.contains(&format!("{flag}\n")),
                "`viperf {line}`: no {flag}"
            );
        }
        commands += 1;
    }
    ensure!(
        commands >= 5,
        "only {commands} commands of viperf in the README"
    );
    Ok(())
}

fn wrong_usage_is_2() -> Result<()> {
    ends_with(
        &viperf(&["record", "--no-such-flag"])?,
        2,
        &["--no-such-flag"],
    )?;
    ends_with(&viperf(&["record", "-F", "fast"])?, 2, &["fast"])?;
    ends_with(&viperf(&["record", "-p", "python"])?, 2, &["python"])?;
    ends_with(&viperf(&["record", "-d", "soon"])?, 2, &["soon"])
}

fn missing_capabilities_are_3() -> Result<()> {
    // A copy where anybody may read it: the build folder may be closed to others.
    let folder = std::env::temp_dir().join(format!("viperf-e2e-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    let binary = folder.join("viperf");
    fs::copy(viperf_binary()?, &binary)?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ])
        .arg(&binary)
        .args(["record", "-d", "1s", "-o", "-", "--format", "folded"])
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .output();
    fs::remove_dir_all(&folder)?;
    ends_with(&output?, 3, &["CAP_BPF", "CAP_PERFMON", "sudo", "setcap"])
}

fn doctor_speaks() -> Result<()> {
    let output = viperf(&["doctor"])?;
    let shown = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "doctor failed where everything is allowed:\n{shown}"
    );
    for word in ["BTF", "CAP_BPF"] {
        ensure!(
            shown.contains(word),
            "doctor does not speak of {word}:\n{shown}"
        );
    }
    let reasons = viperf(&["doctor", "--reasons"])?;
    let listed = String::from_utf8_lossy(&reasons.stdout).lines().count();
    ensure!(
        reasons.status.success() && listed >= 5,
        "doctor --reasons lists {listed} lines"
    );
    Ok(())
}

fn no_such_process_is_4() -> Result<()> {
    // One above the largest process ID that Linux gives.
    ends_with(
        &viperf(&[
            "record",
            "-p",
            "4194305",
            "-d",
            "1s",
            "-o",
            "/dev/null",
            "--format",
            "folded",
        ])?,
        4,
        &["4194305"],
    )
}

fn no_such_command_is_4() -> Result<()> {
    let output = viperf(&[
        "record",
        "-o",
        "/dev/null",
        "--format",
        "folded",
        "--",
        "/no/such/command",
    ])?;
    ends_with(&output, 4, &["/no/such/command"])
}

fn unwritable_output_is_found_out_first() -> Result<()> {
    let start = Instant::now();
    let own = std::process::id().to_string();
    let output = viperf(&[
        "record",
        "-p",
        &own,
        "-d",
        "30s",
        "-o",
        "/no/such/folder/x.html",
    ])?;
    ends_with(&output, 1, &["/no/such/folder"])?;
    ensure!(
        start.elapsed() < Duration::from_secs(10),
        "found out after {:?}",
        start.elapsed()
    );
    Ok(())
}

fn the_commands_output_and_code_pass_through(interpreter: &Interpreter) -> Result<()> {
    let program = "import sys, time\nend = time.monotonic() + 1\n\
                   while time.monotonic() < end: pass\n\
                   print('to output'); print('to errors', file=sys.stderr); sys.exit(7)";
    let recorder = Recorder::new("command-line/pass-through")?.rate(199);
    let recorder = recorder.command(&[
        interpreter.path.as_os_str(),
        "-c".as_ref(),
        program.as_ref(),
    ]);
    let recording = recorder.finish(recorder.start()?)?;
    ensure!(
        recording.status.code() == Some(7),
        "the command's 7 became {}:\n{}",
        recording.status,
        recording.stderr
    );
    ensure!(
        recording.stdout == "to output\n",
        "its output became {:?}",
        recording.stdout
    );
    ensure!(
        recording.stderr.contains("to errors\n"),
        "its errors are missing:\n{}",
        recording.stderr
    );
    let python = recording
        .folded
        .count(|stack| stack.python_names() == ["<module>"]);
    ensure!(
        python > 50,
        "{python} samples of the command:\n{}",
        recording.stderr
    );
    Ok(())
}

fn a_command_of_a_moment_is_recorded(interpreter: &Interpreter) -> Result<()> {
    let recorder = Recorder::new("command-line/short-command")?.rate(999);
    let recorder = recorder.command(&[
        interpreter.path.as_os_str(),
        "-c".as_ref(),
        "sum(range(20_000_000))".as_ref(),
    ]);
    let recording = recorder.run()?;
    let python = recording
        .folded
        .count(|stack| stack.python_names() == ["<module>"]);
    ensure!(
        python > 10,
        "{python} samples of the command:\n{}",
        recording.folded.heaviest(8)
    );
    Ok(())
}

fn switches_leave_frames_out(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "listdir.py", &[])?;
    let record = |switch: &str| -> Result<Folded> {
        let recorder =
            Recorder::new(&format!("command-line/switches{switch}"))?.process(fixture.pid());
        Ok(recorder.rate(499).seconds(1).with(switch).run()?.folded)
    };
    let has = |folded: &Folded, wanted: fn(&Frame) -> bool| {
        folded
            .stacks
            .iter()
            .any(|stack| stack.frames.iter().any(wanted))
    };
    let without_native = record("--no-native")?;
    ensure!(
        !has(&without_native, Frame::is_native),
        "native frames in spite of --no-native"
    );
    ensure!(
        has(&without_native, |frame| frame.qualname()
            == Some("list_folder")),
        "Python frames are gone too"
    );
    let without_kernel = record("--no-kernel")?;
    ensure!(
        !has(&without_kernel, Frame::is_kernel),
        "kernel frames in spite of --no-kernel"
    );
    ensure!(
        has(&without_kernel, Frame::is_native),
        "native frames are gone too"
    );
    let eval = |frame: &Frame| {
        frame
            .symbol()
            .is_some_and(|symbol| symbol.contains("PyEval_EvalFrame"))
    };
    ensure!(
        !has(&without_kernel, eval),
        "the interpreter's own eval frames are shown unasked"
    );
    ensure!(
        has(&record("--interpreter-frames")?, eval),
        "--interpreter-frames shows no eval frame"
    );
    let merged = record("--merge-processes")?;
    ensure!(
        merged.stacks.iter().all(|stack| stack.pid().is_none()),
        "process IDs in spite of --merge-processes"
    );
    Ok(())
}

fn formats_go_by_name(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let folder = output_folder().join("command-line_formats");
    fs::create_dir_all(&folder)?;
    let pid = fixture.pid().to_string();
    let record = |file: &str, more: &[&str]| -> Result<Vec<u8>> {
        let path = folder.join(file);
        let path = path.to_str().context("a path that is no text")?;
        let output = viperf(
            &[
                &["record", "-p", &pid, "-F", "199", "-d", "1s", "-o", path],
                more,
            ]
            .concat(),
        )?;
        ends_with(&output, 0, &[])?;
        Ok(fs::read(path)?)
    };
    let page = String::from_utf8(record("a.html", &[])?)?;
    ensure!(
        page.to_lowercase().contains("<!doctype html>") && page.contains("<title>viperf"),
        "the page is no page"
    );
    for link in ["src=\"http", "href=\"http", "url(http", "@import"] {
        ensure!(!page.contains(link), "the page asks the network: {link}");
    }
    ensure!(
        !record("a.viperf", &[])?.is_empty(),
        "the .viperf file is empty"
    );
    ends_with(&convert(&folder, "a.viperf", "converted.html")?, 0, &[])?;
    ends_with(&convert(&folder, "a.viperf", "converted.folded")?, 0, &[])?;
    let converted = Folded::parse(&fs::read_to_string(folder.join("converted.folded"))?)?;
    ensure!(
        converted.total() > 20
            && converted
                .stacks
                .iter()
                .any(|stack| stack.position("one_round").is_some()),
        "the converted file shows another program:\n{}",
        converted.heaviest(4)
    );
    let folded = String::from_utf8(record("a.anything", &["--format", "folded"])?)?;
    ensure!(
        Folded::parse(&folded)?.total() > 20,
        "--format folded wrote few samples"
    );
    let plain = String::from_utf8(record("plain.folded", &["--frame-kinds", "off"])?)?;
    ensure!(
        !plain.contains("_[p]") && !plain.contains("_[pn]"),
        "kinds in spite of --frame-kinds off"
    );
    Ok(())
}

fn convert(folder: &Path, from: &str, to: &str) -> Result<Output> {
    let path = |file: &str| folder.join(file).to_string_lossy().into_owned();
    viperf(&["convert", &path(from), "-o", &path(to)])
}

fn a_dash_writes_to_standard_output(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let pid = fixture.pid().to_string();
    let output = viperf(&[
        "record", "-p", &pid, "-F", "199", "-d", "1s", "-o", "-", "--format", "folded",
    ])?;
    ends_with(&output, 0, &[])?;
    let folded = Folded::parse(&String::from_utf8(output.stdout)?)?;
    ensure!(folded.total() > 20, "few samples on standard output");
    Ok(())
}
