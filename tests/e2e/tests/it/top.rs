//! `viperf top` in a real terminal of 80 × 24: keys are typed, the screen is read.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use viperf_e2e::{Fixture, Interpreter, Need, Plan, viperf_binary};

use crate::{
    command_line, root_and,
    terminal::{PATIENCE, Terminal, needs_tmux},
};

/// Each function's part of the time, as `share_functions.py` has it.
const SHARES: [(&str, f64); 3] = [("half", 50.0), ("three_tenths", 30.0), ("twentieth", 5.0)];

/// The most that a share on the screen may differ from the true one, in points.
const TOLERANCE: f64 = 8.0;

type WithPython = fn(&Interpreter) -> Result<()>;

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    let tmux = needs_tmux();
    let tests: [(&str, Need, WithPython); 5] = [
        (
            "ascii",
            tmux.clone(),
            a_terminal_of_ascii_is_sent_nothing_else,
        ),
        ("keys", tmux.clone(), the_screen_answers_keys),
        ("command", tmux.clone(), a_command_has_its_output_and_code),
        ("signal", tmux, a_signal_gives_the_terminal_back),
        ("plain", Ok(()), tables_are_text_where_there_is_no_terminal),
    ];
    for (name, need, test) in tests {
        let of = root_and(interpreters).cloned();
        let need = of.clone().map(|_| ()).and(need);
        plan.beside(format!("top/{name}"), need, move || {
            test(&of.map_err(anyhow::Error::msg)?)
        });
    }
}

/// The first figure of the row of `function`: its own share.
fn share(screen: &str, function: &str) -> Option<f64> {
    let row = screen
        .lines()
        .find(|line| line.split_whitespace().any(|word| word == function))?;
    row.trim_start_matches('>')
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn has_true_shares(screen: &str) -> bool {
    SHARES.iter().all(|(function, truth)| {
        share(screen, function).is_some_and(|share| (share - truth).abs() < TOLERANCE)
    })
}

fn the_screen_answers_keys(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "share_functions.py", &[])?;
    let terminal = Terminal::open("keys")?;
    let viperf = viperf_binary()?;
    terminal.line("stty -a > /dev/null; before=$(stty -g)")?;
    terminal.line(&format!(
        "NO_COLOR=1 {} top -F 499 -p {}",
        viperf.display(),
        fixture.pid()
    ))?;
    terminal.wait_for("functions", |screen| screen.contains("[3 functions]"))?;
    terminal.text("ww")?;
    let screen = terminal.wait_for("true shares since the reset", |screen| {
        screen.contains("since reset") && has_true_shares(screen)
    })?;
    ensure!(screen.contains("at 499 Hz"), "no rate:\n{screen}");
    ensure!(screen.contains("complete "), "no completeness:\n{screen}");
    ensure!(screen.contains("lost 0"), "no loss:\n{screen}");
    let colored = terminal.tmux(&["capture-pane", "-p", "-e"])?;
    let colors = (30..=37)
        .chain(90..=97)
        .any(|code| colored.contains(&format!("[{code}m")));
    ensure!(!colors, "colours in spite of NO_COLOR:\n{colored}");

    terminal.text("/half")?;
    terminal.key("Enter")?;
    terminal.wait_for("only what the filter finds", |screen| {
        screen.contains("filter: half") && !screen.contains("three_tenths")
    })?;
    terminal.key("Escape")?;
    terminal.text("7")?;
    terminal.wait_for("the tree", |screen| {
        screen.contains("[7 tree]") && screen.contains(" main ") && screen.contains(" half ")
    })?;
    terminal.text("2 ")?;
    let pid = fixture.pid().to_string();
    terminal.wait_for("the frozen thread", |screen| {
        screen.contains("FROZEN") && screen.contains(&pid)
    })?;
    terminal.text(" ?")?;
    terminal.wait_for("help", |screen| {
        screen.contains("every frame, the interpreter's")
    })?;
    terminal.text("x3")?;
    terminal.tmux(&["resize-window", "-x", "120", "-y", "40"])?;
    terminal.wait_for("the wide screen", |screen| {
        screen
            .lines()
            .nth(39)
            .is_some_and(|line| line.starts_with("? help"))
    })?;

    terminal.key("C-z")?;
    terminal.wait_for("the shell", |screen| screen.contains("Stopped"))?;
    terminal.line("fg")?;
    terminal.wait_for("the screen again", |screen| {
        screen.contains("[3 functions]")
    })?;
    terminal.text("q")?;
    terminal.wait_for("the end", |screen| screen.contains("next: viperf record"))?;
    ensure_as_it_was(&terminal)
}

/// The terminal's settings are those that were kept in `$before`, the cursor is shown, the alternate screen is left.
fn ensure_as_it_was(terminal: &Terminal) -> Result<()> {
    terminal.line("[ \"$before\" = \"$(stty -g)\" ] && echo as-it-\"\"was")?;
    terminal.wait_for("the settings of before", |screen| {
        screen.contains("as-it-was")
    })?;
    let state = terminal.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?;
    ensure!(state.trim() == "0 1", "alternate screen, cursor: {state}");
    Ok(())
}

fn a_command_has_its_output_and_code(interpreter: &Interpreter) -> Result<()> {
    let terminal = Terminal::open("command")?;
    let program = "import sys, time; print(\"spoken\" + \"-words\", flush=True); end = time.time() + 3\n\
                   while time.time() < end: pass\nsys.exit(7)";
    let folder = viperf_e2e::output_folder();
    std::fs::create_dir_all(&folder)?;
    let script = folder.join("top_command.py");
    std::fs::write(&script, program)?;
    terminal.line("before=$(stty -g)")?;
    terminal.line(&format!(
        "{} top -- {} {}; echo code-$?",
        viperf_binary()?.display(),
        interpreter.path.display(),
        script.display()
    ))?;
    let screen = terminal.wait_for("the command's end", |screen| {
        screen.contains("the command has ended (exit status: 7)")
    })?;
    ensure!(
        !screen.contains("spoken-words"),
        "torn by the output:\n{screen}"
    );
    terminal.text("c")?;
    terminal.wait_for("its output", |screen| screen.contains("\nspoken-words"))?;
    terminal.text("xq")?;
    let screen = terminal.wait_for("its code", |screen| screen.contains("code-7"))?;
    let place = screen.replace('\n', "");
    let place = place
        .split("has printed is in ")
        .nth(1)
        .context("no place")?;
    let place = place.split(' ').next().unwrap_or_default();
    let printed = std::fs::read_to_string(place)?;
    std::fs::remove_file(place)?;
    ensure!(printed == "spoken-words\n", "{place}: {printed:?}");
    ensure_as_it_was(&terminal)
}

fn a_terminal_of_ascii_is_sent_nothing_else(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "share_functions.py", &[])?;
    let viperf = viperf_binary()?;
    for (name, environment, option) in [
        ("ascii-locale", "LC_ALL=C", ""),
        ("ascii-option", "LC_ALL=C.UTF-8", "--ascii"),
    ] {
        let terminal = Terminal::open(name)?;
        terminal.line(&format!(
            "{environment} {} top {option} --view tree -F 499 -p {}",
            viperf.display(),
            fixture.pid()
        ))?;
        let screen = terminal.wait_for("the tree", |screen| {
            screen.contains("[7 tree]") && screen.contains(" half ")
        })?;
        ensure!(screen.is_ascii(), "{environment} {option}:\n{screen}");
        terminal.text("1")?;
        // At this width the columns keep the beginning of the name of the file, not that of its path.
        let script = "~/share_";
        let screen = terminal.wait_for("the script's name", |screen| screen.contains(script))?;
        ensure!(screen.is_ascii(), "{environment} {option}:\n{screen}");
        terminal.text("q")?;
    }
    Ok(())
}

fn a_signal_gives_the_terminal_back(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let terminal = Terminal::open("signal")?;
    terminal.line("before=$(stty -g)")?;
    let viperf = viperf_binary()?;
    terminal.line(&format!("{} top -p {}", viperf.display(), fixture.pid()))?;
    terminal.wait_for("functions", |screen| screen.contains("[3 functions]"))?;
    let top = only_child(&terminal)?;
    rustix::process::kill_process(top, rustix::process::Signal::TERM)?;
    terminal.wait_for("the end", |screen| screen.contains("next: viperf record"))?;
    ensure_as_it_was(&terminal)?;

    // A terminal that is closed takes top with it.
    terminal.line(&format!("{} top -p {}", viperf.display(), fixture.pid()))?;
    terminal.wait_for("functions", |screen| screen.contains("[3 functions]"))?;
    let top = only_child(&terminal)?;
    drop(terminal);
    let start = Instant::now();
    while rustix::process::test_kill_process(top).is_ok() {
        ensure!(start.elapsed() < PATIENCE, "top outlives its terminal");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The one process that the shell in the terminal has started.
fn only_child(terminal: &Terminal) -> Result<rustix::process::Pid> {
    let shell = terminal.tmux(&["display-message", "-p", "#{pane_pid}"])?;
    let children = format!("/proc/{0}/task/{0}/children", shell.trim());
    let top = std::fs::read_to_string(children)?;
    let top: i32 = top.trim().parse().context("the shell has no one child")?;
    rustix::process::Pid::from_raw(top).context("pid 0")
}

fn tables_are_text_where_there_is_no_terminal(interpreter: &Interpreter) -> Result<()> {
    let refused = command_line::viperf(&["top"])?;
    command_line::ends_with(&refused, 2, &["viperf top --plain", "viperf record"])?;
    let fixture = Fixture::start(&interpreter.path, "share_functions.py", &[])?;
    let pid = fixture.pid().to_string();
    let table = command_line::viperf(&[
        "top",
        "--plain",
        "-F",
        "499",
        "-p",
        &pid,
        "-d",
        "4s",
        "--interval",
        "30s",
    ])?;
    let text = String::from_utf8_lossy(&table.stdout);
    ensure!(table.status.success(), "{table:?}");
    if !has_true_shares(&text) {
        bail!("other shares:\n{text}");
    }
    ensure!(!text.contains('\u{1b}'), "escape sequences:\n{text}");
    Ok(())
}
