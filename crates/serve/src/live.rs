//! A profile while it is recorded.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use viperf_encode::EncodeError;
use viperf_encode::html::{
    Growing, LIVE_SAMPLES, Options, Served, ServedSources, ServedState, encode_served_data,
    encode_served_source,
};
use viperf_profile::{Profile, SourceFile};

use crate::content::{Content, DataRequest, SourceAnswer};
use crate::live_sources::LiveSources;

/// The position of the end.
const END: &str = "end";

/// A page asks at least this often, unless it is paused or closed.
const WATCHED: Duration = Duration::from_secs(45);

/// How often is looked whether pages have the end.
const LOOK: Duration = Duration::from_millis(50);

/// What [`crate::Server`] answers while a recording goes on.
#[derive(Debug)]
pub struct LiveContent {
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    growing: Growing,
    rate_achieved: f64,
    /// The whole, once there will be no more of it.
    end: Option<Vec<u8>>,
    /// When a page last asked; `None` before the first.
    asked: Option<Instant>,
    /// Pages that were given the end.
    has_told_end: bool,
    sources: LiveSources,
}

impl LiveContent {
    /// Nothing yet; pages open as `options` say, and get the text of source files if that is allowed.
    #[must_use]
    pub fn new(options: Options, sources_are_allowed: bool) -> Self {
        Self {
            options: options.clone(),
            state: Mutex::new(State {
                growing: Growing::new(options),
                rate_achieved: 0.0,
                end: None,
                asked: None,
                has_told_end: false,
                sources: LiveSources::new(sources_are_allowed),
            }),
        }
    }

    /// Whether somebody looks: otherwise [`LiveContent::grow`] would work for nobody.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        let asked = self.state().asked;
        asked.is_some_and(|asked| asked.elapsed() < WATCHED)
    }

    /// Takes in what the profile has grown by, unless nobody looks.
    ///
    /// `rate_achieved` is in samples per second.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the profile is not sound.
    pub fn grow(&self, profile: &Profile, rate_achieved: f64) -> Result<(), EncodeError> {
        if !self.is_watched() {
            return Ok(());
        }
        let mut state = self.state();
        state.rate_achieved = rate_achieved;
        state.growing.take_in(profile)
    }

    /// The source files that pages wait for, by the names that these gave, which may be any: what is not a file of the
    /// profile must not be read.
    #[must_use]
    pub fn wanted_sources(&self) -> Vec<String> {
        self.state().sources.wanted()
    }

    /// What became of one of them: its text, or one line for the page's reader.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the text cannot be encoded.
    pub fn give_source(
        &self,
        path: &str,
        file: Result<&SourceFile, String>,
    ) -> Result<(), EncodeError> {
        let text = match file {
            Ok(file) => Ok(encode_served_source(path, file)?),
            Err(why) => Err(why),
        };
        self.state().sources.give(path, text);
        Ok(())
    }

    /// Gives the profile as it is at the end, with everything that the page of a file has, to the pages that look, and
    /// waits, `patience` at most, until they have it.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the profile is not sound.
    pub fn finish(&self, profile: &Profile, patience: Duration) -> Result<(), EncodeError> {
        if !self.is_watched() {
            return Ok(());
        }
        let served = Served {
            position: END.to_owned(),
            state: ServedState::Ended,
            ..Served::default()
        };
        let end = encode_served_data(profile, &self.options, &served)?;
        self.state().end = Some(end);
        let until = Instant::now() + patience;
        while Instant::now() < until && !self.state().has_told_end {
            sleep(LOOK);
        }
        // What was made is on its way to the page yet.
        sleep(LOOK * 4);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content for LiveContent {
    fn has_newer(&self, request: &DataRequest) -> bool {
        let mut state = self.state();
        state.asked = Some(Instant::now());
        match &state.end {
            Some(_) => request.position != END,
            None => state.growing.is_newer_than(&request.position),
        }
    }

    fn data(&self, request: &DataRequest) -> Result<Vec<u8>, String> {
        let mut state = self.state();
        if let Some(end) = &state.end {
            let end = end.clone();
            state.has_told_end = true;
            return Ok(end);
        }
        let served = Served {
            state: ServedState::Recording,
            rate_achieved: state.rate_achieved,
            sources: match state.sources.is_allowed() {
                true => ServedSources::Asked,
                false => ServedSources::Refused,
            },
            notice: match state.growing.is_full() {
                true => format!(
                    "this page holds no more than about {LIVE_SAMPLES} samples; the file will have all"
                ),
                false => String::new(),
            },
            ..Served::default()
        };
        state
            .growing
            .encode_after(&request.position, &served)
            .map_err(|error| error.to_string())
    }

    fn source(&self, path: &str) -> SourceAnswer {
        let mut state = self.state();
        state.asked = Some(Instant::now());
        state.sources.ask(path)
    }
}
