//! Completions and manual pages are what shells and man can read.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use viperf_e2e::{Need, Plan, output_folder, viperf_binary};

use crate::terminal::{Terminal, needs_tmux};

pub(crate) fn plan(plan: &mut Plan) {
    plan.beside("shell/bash-completes", Ok(()), bash_completes);
    plan.beside("shell/fish-completes", needs("fish"), fish_completes);
    plan.beside(
        "shell/zsh-completes",
        needs("zsh").and(needs_tmux()),
        zsh_completes,
    );
    plan.beside("shell/pages", Ok(()), every_verb_has_a_page);
}

fn bash_completes() -> Result<()> {
    // What bash offers after `viperf rec` and after `viperf top --pl`.
    let script = "source <(\"$1\" completions bash) || exit 1
        complete -p viperf
        for words in 'viperf rec' 'viperf top --pl'; do
            COMP_WORDS=($words); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
            _viperf viperf \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
            echo \"${COMPREPLY[@]}\"
        done";
    let run = Command::new("bash")
        .args(["--norc", "-c", script, "bash"])
        .arg(viperf_binary()?)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&run.stdout);
    let lines: Vec<_> = said.lines().collect();
    ensure!(
        run.status.success() && lines.get(1..) == Some(&["record", "--plain"]),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(())
}

fn needs(shell: &str) -> Need {
    let found = Command::new(shell).arg("--version").output();
    found
        .map(|_| ())
        .map_err(|_missing| format!("{shell} is missing; `cargo xtask setup --test` installs it"))
}

fn fish_completes() -> Result<()> {
    let viperf = viperf_binary()?.display().to_string();
    let script = format!(
        "{viperf} completions fish | source; \
         complete --do-complete 'viperf rec'; complete --do-complete 'viperf report --gr'; \
         complete --do-complete 'viperf report --group cont'"
    );
    let run = Command::new("fish")
        .args(["--no-config", "--command", &script])
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&run.stdout);
    // Each is followed by what it means.
    let words: Vec<_> = said
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default())
        .collect();
    ensure!(
        run.status.success() && words == ["record", "--group", "container"],
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(())
}

/// Its completion lives in the line editor, so a line is typed.
fn zsh_completes() -> Result<()> {
    let terminal = Terminal::open("zsh")?;
    let viperf = viperf_binary()?.display().to_string();
    terminal.line("exec zsh -f")?;
    terminal.line("PS1='z> '; autoload -Uz compinit; compinit -D -u; echo rea\"\"dy")?;
    terminal.wait_for("zsh", |screen| screen.contains("\nready"))?;
    // The words that complete are those of the command's name.
    terminal.line(&format!(
        "viperf() {{ {viperf} \"$@\"; }}; source <(viperf completions zsh); clear"
    ))?;
    terminal.wait_for("a clear screen", |screen| screen.trim() == "z>")?;
    for (typed, completed) in [
        ("viperf rec", "z> viperf record"),
        ("viperf report --gro", "z> viperf report --group="),
        ("viperf top --pl", "z> viperf top --plain"),
    ] {
        terminal.text(typed)?;
        terminal.key("Tab")?;
        terminal.wait_for(completed, |screen| {
            screen.lines().any(|line| line.trim_end() == completed)
        })?;
        terminal.key("C-u")?;
    }
    Ok(())
}

fn every_verb_has_a_page() -> Result<()> {
    let folder = output_folder().join("shell_pages");
    let run = Command::new(viperf_binary()?)
        .args(["man", "--output"])
        .arg(&folder)
        .output()?;
    ensure!(run.status.success(), "{run:?}");
    for page in ["viperf", "viperf-record", "viperf-top", "viperf-report"] {
        let text = std::fs::read_to_string(folder.join(format!("{page}.1")))?;
        ensure!(
            text.contains(".SH EXAMPLES"),
            "{page} has no examples: {text}"
        );
    }
    Ok(())
}
