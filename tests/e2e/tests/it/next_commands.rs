//! The command to type next is told on a terminal, and nowhere else.

use std::fs;

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Fixture, Interpreter, Plan, output_folder, viperf_binary};

use crate::{
    root_and,
    terminal::{Terminal, needs_tmux},
};

pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    plan.beside("next-commands", needs_tmux(), each_verb_says_what_to_type);
    plan.beside(
        "next-commands/progress",
        needs_tmux(),
        long_work_says_how_it_goes,
    );
    let of = root_and(interpreters).cloned();
    let need = of.clone().map(|_| ()).and(needs_tmux());
    plan.beside("next-commands/live", need, move || {
        what_looks_at_processes_says_it_too(&of.map_err(anyhow::Error::msg)?)
    });
}

/// What is typed, and what stands below its output.
const NEXT: [(&str, &str); 7] = [
    (
        "v convert base.folded -o new.viperf",
        "next: viperf report new.viperf, or viperf view new.viperf",
    ),
    (
        "v convert base.folded -o new.pb.gz",
        "next: go tool pprof -top new.pb.gz",
    ),
    (
        "v report base.folded --show functions",
        "next: viperf report base.folded --source work",
    ),
    (
        "v report base.folded --callers work",
        "next: viperf report base.folded --callees work",
    ),
    (
        "v report base.folded --group process",
        "next: viperf report base.folded --process app",
    ),
    (
        "v diff base.folded new.folded",
        "next: viperf report new.folded --callers ",
    ),
    (
        "v completions fish",
        "next: viperf completions fish | source",
    ),
];

/// Where nobody reads it, or nobody wants to.
const SILENT: [&str; 5] = [
    "v report base.folded -q",
    "v report base.folded | tail -3",
    "v report base.folded 2>&1 | tail -3",
    "v --quiet convert base.folded -o new.viperf",
    "v convert base.folded -o new.viperf 2>&1 | cat",
];

/// A shell in a folder of its own, where `v` is viperf.
struct Shell {
    terminal: Terminal,
    lines: usize,
}

impl Shell {
    fn open(name: &str) -> Result<Self> {
        let folder = output_folder().join(name);
        fs::create_dir_all(&folder)?;
        let stacks =
            "app;main (app.py:9)_[p];work (app.py:3)_[p] 900\napp;main (app.py:9)_[p] 100\n";
        fs::write(folder.join("base.folded"), stacks)?;
        fs::write(folder.join("new.folded"), stacks.replace("900", "300"))?;
        fs::write(
            folder.join("app.py"),
            "sum(i * i for i in range(3_000_000))\n",
        )?;
        let terminal = Terminal::open(name)?;
        let viperf = viperf_binary()?;
        terminal.line(&format!(
            "cd {}; v() {{ {} \"$@\"; }}",
            folder.display(),
            viperf.display()
        ))?;
        Ok(Self { terminal, lines: 0 })
    }

    /// Types a line, and reads the screen when it has ended; `meanwhile` may press keys.
    fn run_and(
        &mut self,
        typed: &str,
        meanwhile: impl FnOnce(&Terminal) -> Result<()>,
    ) -> Result<String> {
        self.lines += 1;
        self.terminal.line("clear")?;
        // Each has an end of its own: the screen is read while it still shows what was before.
        self.terminal
            .line(&format!("{typed}; echo code $? end-\"\"of-{}.", self.lines))?;
        meanwhile(&self.terminal)?;
        let end = format!("end-of-{}.", self.lines);
        self.terminal
            .wait_for(typed, |screen| screen.contains(&end))
    }

    fn run(&mut self, typed: &str) -> Result<String> {
        self.run_and(typed, |_| Ok(()))
    }

    /// Types what was suggested, as far as it is viperf's; it has to work.
    fn follow(&mut self, next: &str) -> Result<()> {
        let command = next.trim_start_matches("next: ");
        let (command, _or) = command.split_once(", or ").unwrap_or((command, ""));
        let Some(arguments) = command.strip_prefix("viperf ") else {
            return Ok(());
        };
        // The time is the user's to choose.
        let arguments = arguments
            .replace("-d 10s", "-d 1s")
            .replace("-d 30s", "-d 1s");
        let arguments = arguments.replace(" | source", " > /dev/null");
        let screen = self.run(&format!("v {arguments}"))?;
        ensure!(
            screen.contains("code 0 end-of-"),
            "{command} does not work:\n{screen}"
        );
        Ok(())
    }
}

/// The suggestion on a screen, on which what is wider than the terminal goes on in the next line.
fn suggestion(screen: &str) -> Result<String> {
    let (_, next) = screen
        .split_once("next: ")
        .context("nothing is suggested")?;
    let (next, _) = next.split_once("code ").context("no end")?;
    Ok(format!("next: {}", next.replace('\n', "").trim_end()))
}

fn each_verb_says_what_to_type() -> Result<()> {
    let mut shell = Shell::open("next-commands")?;
    for (typed, next) in NEXT {
        let screen = shell.run(typed)?;
        let said = screen.replace('\n', "");
        ensure!(said.contains(next), "{typed}:\n{screen}");
        ensure!(said.matches("next: ").count() == 1, "{typed}:\n{screen}");
        shell.follow(&suggestion(&screen)?)?;
    }
    for typed in SILENT {
        let screen = shell.run(typed)?;
        ensure!(!screen.contains("next: "), "{typed}:\n{screen}");
        let says_written = screen.contains("wrote new.viperf");
        ensure!(says_written == typed.ends_with("cat"), "{typed}:\n{screen}");
    }
    Ok(())
}

fn what_looks_at_processes_says_it_too(interpreter: &Interpreter) -> Result<()> {
    let fixture = Fixture::start(&interpreter.path, "pure.py", &[])?;
    let pid = fixture.pid();
    let mut shell = Shell::open("next-live")?;
    let keep = format!("next: viperf record -p {pid} -d ");
    let lines: [(String, &str, &str); 7] = [
        (
            format!("v record -p {pid} -d 1s -o live.viperf"),
            "",
            "next: viperf report live.viperf, or viperf view live.viperf",
        ),
        (
            "v view live.viperf".to_owned(),
            "C-c",
            "next: viperf report live.viperf",
        ),
        (format!("v dump -p {pid}"), "", &keep),
        (format!("v top -p {pid}"), "q", &keep),
        (format!("v top --plain -d 2s -p {pid}"), "", &keep),
        ("v man -o pages".to_owned(), "", "next: man "),
        // `app.py` stands for one's own program.
        (
            "v doctor".to_owned(),
            "",
            "next: viperf record -- python3 app.py",
        ),
    ];
    for (typed, key, next) in lines {
        let screen = shell.run_and(&typed, |terminal| {
            if key.is_empty() {
                return Ok(());
            }
            terminal.wait_for("it runs", |screen| {
                screen.contains("Ctrl-C ends it") || screen.contains("functions]")
            })?;
            terminal.key(key)
        })?;
        let said = screen.replace('\n', "");
        ensure!(said.contains(next), "{typed}:\n{screen}");
        ensure!(said.matches("next: ").count() == 1, "{typed}:\n{screen}");
        shell.follow(&suggestion(&screen)?)?;
    }
    let screen = shell.run("man -P cat pages/viperf-record.1 | head -3")?;
    ensure!(
        screen.contains("viperf-record") || screen.contains("not found"),
        "{screen}"
    );
    Ok(())
}

/// Work of a second or more; what is soon done says nothing, which is why this is so much.
fn long_work_says_how_it_goes() -> Result<()> {
    const STACKS: usize = 120_000;
    let mut shell = Shell::open("next-progress")?;
    let line = |number: usize| {
        let frames: Vec<String> = (0..12)
            .map(|depth| format!("f{} (m{depth}.py:{number})_[p]", number >> depth))
            .collect();
        format!("app;{} 1\n", frames.join(";"))
    };
    let lines: String = (0..STACKS).map(line).collect();
    let large = output_folder().join("next-progress/large.folded");
    fs::write(&large, lines)?;
    let screen = shell.run_and("v convert large.folded -o large.html", |terminal| {
        terminal.wait_for("what is done", |screen| {
            screen.contains("viperf: reading, ") && screen.contains(" left ")
                || screen.contains(" s · writing large.html")
        })?;
        Ok(())
    })?;
    let is_gone = |screen: &str| !screen.contains("reading, ") && !screen.contains("· writing");
    ensure!(
        screen.contains("wrote large.html") && is_gone(&screen),
        "{screen}"
    );
    // Where nobody would see it, there is nothing of it.
    shell.run("v convert large.folded -o large.html 2> piped.txt")?;
    let piped = fs::read_to_string(output_folder().join("next-progress/piped.txt"))?;
    ensure!(piped.lines().count() == 1 && is_gone(&piped), "{piped}");
    fs::remove_file(large)?;
    Ok(())
}
