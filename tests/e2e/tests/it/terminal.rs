//! A real terminal of 80 × 24, in tmux: keys are typed, the screen is read.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use viperf_e2e::Need;

/// How long a screen may take to show what it must; on a machine that is busy, everything takes its time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Whether there is tmux.
pub(crate) fn needs_tmux() -> Need {
    let tmux = Command::new("tmux").arg("-V").output();
    tmux.map(|_| ())
        .map_err(|_missing| "tmux is missing; `cargo xtask setup --test` installs it".to_owned())
}

/// A terminal of its own, with a shell in it.
pub(crate) struct Terminal {
    socket: String,
}

impl Terminal {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let socket = format!("viperf-{}-{name}", std::process::id());
        let terminal = Self { socket };
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "PS1='$ ' sh",
        ])?;
        terminal.wait_for("a prompt", |screen| screen.starts_with('$'))?;
        Ok(terminal)
    }

    pub(crate) fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let run = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            run.status.success(),
            "tmux {arguments:?}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
        Ok(String::from_utf8_lossy(&run.stdout).into_owned())
    }

    /// Types text as it is.
    pub(crate) fn text(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", text]).map(|_| ())
    }

    /// Presses one key by its name.
    pub(crate) fn key(&self, key: &str) -> Result<()> {
        self.tmux(&["send-keys", key]).map(|_| ())
    }

    pub(crate) fn line(&self, line: &str) -> Result<()> {
        self.text(line)?;
        self.key("Enter")
    }

    pub(crate) fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Looks until the screen is as it must be.
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&str) -> bool) -> Result<String> {
        let start = Instant::now();
        loop {
            let screen = self.screen()?;
            if is_so(&screen) {
                return Ok(screen);
            }
            ensure!(start.elapsed() < PATIENCE, "{what} did not come:\n{screen}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]).ok();
    }
}
