//! What long work is at, on a terminal: nothing for work that is soon done, and nothing where nobody looks.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{quantities::show_elapsed, terminal};

/// Work that takes less is done before its line could be read.
const PATIENCE: Duration = Duration::from_millis(500);

/// Enough to look alive, and little to send over a slow connection.
const REDRAW: Duration = Duration::from_millis(200);

/// Reading: how much, how fast, how long still. `wide` cuts the line at the terminal's edge.
const READING: &str =
    "viperf: reading, {bytes} of {total_bytes} · {bytes_per_sec} · {left} left · {wide_msg}";

/// Work of which no part can be counted.
const WORKING: &str = "viperf: {shown_elapsed} · {wide_msg}";

/// One piece of long work, shown until it is dropped.
#[derive(Debug)]
struct Work {
    /// `None` where nobody looks.
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    /// Gone before the line is due: there will be none.
    _is_wanted: Sender<()>,
}

impl Work {
    fn begin(template: &str, what: &str, parts: Option<u64>) -> Self {
        let is_seen = io::stderr().is_terminal() && !terminal::is_quiet();
        let style = ProgressStyle::with_template(template);
        let Some(style) = style.ok().filter(|_| is_seen) else {
            return Self { shown: None };
        };
        let style = style
            .with_key(
                "left",
                |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    // Nobody is told that a line could not be put together.
                    let _ = write!(out, "{}", show_elapsed(state.eta()));
                },
            )
            .with_key(
                "shown_elapsed",
                |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    let _ = write!(out, "{}", show_elapsed(state.elapsed()));
                },
            );
        let bar = ProgressBar::with_draw_target(parts, ProgressDrawTarget::hidden());
        bar.set_style(style);
        bar.set_message(what.to_owned());
        let (is_wanted, ends) = channel::<()>();
        let later = bar.clone();
        let waiter = thread::Builder::new().name("viperf-progress".to_owned());
        // Where no thread can be started, there is no line.
        let _ = waiter.spawn(move || {
            if let Err(RecvTimeoutError::Timeout) = ends.recv_timeout(PATIENCE) {
                later.set_draw_target(ProgressDrawTarget::stderr());
                later.enable_steady_tick(REDRAW);
            }
        });
        Self {
            shown: Some(Shown {
                bar,
                _is_wanted: is_wanted,
            }),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(Shown { bar, .. }) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// Does `work`, and says `what` it is if it takes long.
pub(crate) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let _work = Work::begin(WORKING, what, None);
    work()
}

/// Does `work` on the `bytes` bytes of the file at `path`; it says how many it has read.
pub(crate) fn reading<T>(
    path: &Path,
    bytes: usize,
    work: impl FnOnce(&mut dyn FnMut(usize)) -> T,
) -> T {
    let shown = viperf_report::escape_for_terminal(&path.display().to_string()).into_owned();
    let reading = Work::begin(READING, &shown, Some(bytes as u64));
    work(&mut |done| {
        if let Some(Shown { bar, .. }) = &reading.shown {
            bar.set_position(done as u64);
        }
    })
}
