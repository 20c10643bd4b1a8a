//! `viperf record --live`: the page that grows while the recording goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use viperf_agent::{Kept, Observer, Progress, Stage, Statistics, WantedSource};
use viperf_encode::html;
use viperf_profile::{Profile, SourceTable};
use viperf_serve::{LiveContent, Server};

use crate::exit::Failure;
use crate::record::status_line::StatusLine;
use crate::sources::SourceArguments;
use crate::terminal;
use crate::view::announce;

/// How often the page has something new.
pub(super) const GROW_EVERY: Duration = Duration::from_secs(1);

/// How long the end waits for pages to take it.
const LAST_PAGE: Duration = Duration::from_secs(5);

/// The part of the newest rate in the one that is shown; what is heard four times a second jumps.
const NEWEST: f64 = 0.2;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct LivePage {
    pub(super) port: Option<u16>,
    pub(super) open: bool,
}

/// Where the live page may have the text of source files from.
#[derive(Clone, Debug)]
pub(super) struct LiveSources {
    /// From where the target has them.
    pub(super) embedded: bool,
    /// The target was started by viperf, in its own root.
    pub(super) runs_command: bool,
    /// From these folders.
    pub(super) roots: SourceArguments,
}

impl LiveSources {
    fn are_allowed(&self) -> bool {
        self.embedded || !self.roots.is_empty()
    }
}

/// The server and what it shows.
#[derive(Debug)]
pub(super) struct Live {
    content: Arc<LiveContent>,
    sources: LiveSources,
    /// The texts that pages were given.
    shown: Mutex<SourceTable>,
    /// Serves until it is dropped.
    _server: Server,
}

impl Live {
    /// Serves from now on, and tells where.
    pub(super) fn start(
        page: LivePage,
        options: html::Options,
        sources: LiveSources,
    ) -> Result<Self, Failure> {
        let content = Arc::new(LiveContent::new(options, sources.are_allowed()));
        let shown: Arc<LiveContent> = Arc::clone(&content);
        let server =
            Server::start(page.port, shown).map_err(|error| Failure::failed(error.to_string()))?;
        announce(server.address(), page.open);
        Ok(Self {
            content,
            sources,
            shown: Mutex::default(),
            _server: server,
        })
    }

    fn grow(&self, profile: &Profile, rate_achieved: f64) {
        if let Err(error) = self.content.grow(profile, rate_achieved) {
            terminal::say(&format!("the live page stands still: {error}"));
        }
        let wanted = self.content.wanted_sources();
        if !wanted.is_empty() {
            self.give_sources(profile, &wanted);
        }
    }

    /// Reads them here, on the thread that may look into the roots of targets.
    fn give_sources(&self, profile: &Profile, wanted: &[String]) {
        let mut found = match self.sources.embedded {
            true => viperf_agent::read_wanted_sources(profile, wanted, self.sources.runs_command),
            false => viperf_agent::find_sampled_files(profile, wanted),
        }
        .unwrap_or_default();
        for path in wanted {
            let missing = |why: &str| Err(format!("{path} {why}"));
            let in_roots = || self.sources.roots.find(path, &profile.information);
            let found = match found.remove(path).unwrap_or(WantedSource::Unknown) {
                WantedSource::Unknown => missing("is no Python file with samples"),
                WantedSource::Found(file) => Ok(file),
                WantedSource::TooLarge => missing("is too large to be shown"),
                WantedSource::Missing => in_roots().map_or_else(
                    || missing("was not found: it is gone, or in another place (--source-root)"),
                    Ok,
                ),
            };
            let given = self
                .content
                .give_source(path, found.as_ref().map_err(Clone::clone));
            if let Err(error) = given {
                terminal::say(&format!("a source file cannot be shown: {error}"));
            }
            if let Ok(file) = found {
                let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.insert(path, file);
            }
        }
    }

    /// Puts the texts that were seen into the profile: at the end, a process and its files may be gone.
    pub(super) fn keep_sources(&self, profile: &mut Profile) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, file) in shown.iter() {
            profile.sources.insert(path, file.clone());
        }
    }

    /// Gives the end to pages that look, then ends.
    pub(super) fn finish(self, profile: &Profile) {
        if let Err(error) = self.content.finish(profile, LAST_PAGE) {
            terminal::say(&format!("the live page has not the end: {error}"));
        }
    }
}

/// Tells the terminal, and the page if there is one.
#[derive(Debug)]
pub(super) struct RecordObserver<'run> {
    status: StatusLine,
    live: Option<&'run Live>,
    rate: f64,
}

impl<'run> RecordObserver<'run> {
    pub(super) fn new(status: StatusLine, live: Option<&'run Live>) -> Self {
        Self {
            status,
            live,
            rate: 0.0,
        }
    }

    /// Takes the line on the terminal away.
    pub(super) fn clear(&mut self) {
        self.status.clear();
    }
}

impl Observer for RecordObserver<'_> {
    fn progress(&mut self, progress: &Progress) {
        self.status.progress(progress);
        if matches!(progress.stage, Stage::Sampling) {
            let newest = if self.rate == 0.0 { 1.0 } else { NEWEST };
            self.rate += (progress.rate_achieved - self.rate) * newest;
        }
    }

    fn grew(&mut self, profile: &Profile, _: &Statistics) -> Kept {
        if let Some(live) = self.live {
            live.grow(profile, self.rate);
        }
        Kept::Samples
    }
}
