//! The rows of a table: what each is called, what it takes, in which order.

use viperf_profile::{
    FrameKind, FunctionHandle, Handle as _, Module, Origin, ProfileError, Weight,
};

use crate::history::{Parts, Window};
use crate::live::Live;
use crate::search::Search;
use crate::tally::{Figures, Tally, tally};
use crate::tree::Branch;
use crate::trend::{find_rate_trend, find_trend};
use crate::view::{Key, Selection, View};

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// Own time in the window; of processes and threads their CPU.
    Own,
    /// Time with all that is called.
    Total,
    /// Own time since the reset.
    Time,
    /// The change, the greatest first.
    Trend,
    /// The name.
    Name,
}

impl SortBy {
    /// Every order, as a key switches through them.
    pub const ALL: [Self; 5] = [Self::Own, Self::Total, Self::Time, Self::Trend, Self::Name];

    /// The name on screen and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Total => "total",
            Self::Time => "time",
            Self::Trend => "trend",
            Self::Name => "name",
        }
    }

    /// The next one.
    #[must_use]
    pub(crate) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self);
        let next = (at.unwrap_or_default() + 1) % Self::ALL.len();
        Self::ALL.get(next).copied().unwrap_or(self)
    }
}

/// Names a row from one look to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowId {
    /// A row of a table.
    Key(Key),
    /// A branch of the tree: the functions from the root to it.
    Path(Vec<FunctionHandle>),
}

/// One row of a table or tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which it is.
    pub id: RowId,
    /// The part of the window's samples, from 0 to 1; of a process or thread its CPUs, 1 for one that is always busy.
    pub own: f64,
    /// The same with all that is called.
    pub total: f64,
    /// CPU time of its own since the reset.
    pub own_time: Weight,
    /// CPU time with all that is called since the reset.
    pub total_time: Weight,
    /// How its share (of a process or thread, its CPU) has changed, in points of 100 %, if that is no chance.
    pub trend: Option<f64>,
    /// Of a process or thread: CPUs' worth of bytecode, which needs the GIL; none without a GIL.
    pub gil: Option<f64>,
    /// Of a process or thread: CPUs' worth of waiting for the GIL without sleeping; none without a GIL.
    pub gil_wait: Option<f64>,
    /// pid or tid; 0 for what has none.
    pub number: u32,
    /// What it is called; not yet escaped.
    pub name: String,
    /// Where it is, or what it runs; not yet escaped.
    pub place: String,
    /// What kind of code it is.
    pub kind: FrameKind,
    /// Whose code it is.
    pub origin: Origin,
    /// How it stands in the tree; none in tables.
    pub branch: Option<Branch>,
}

/// The rows of `view`, sorted, those that `search` finds.
///
/// # Errors
///
/// [`ProfileError`] when a handle is not of this profile.
pub(crate) fn table_rows(
    live: &Live,
    view: View,
    window: Window,
    selection: Selection,
    (sort, search): (SortBy, &Search),
) -> Result<Vec<Row>, ProfileError> {
    let Tally { whole, rows } = tally(live, view, window, selection);
    let scale = Scale::new(live, view, window, whole);
    let mut found = Vec::new();
    let is_of_time = matches!(view, View::Processes | View::Threads);
    for (key, figures) in rows {
        // A process that sleeps is still of interest, a function that has long returned is not.
        if figures.total.window.is_empty() && !is_of_time {
            continue;
        }
        let row = scale.row(live, key, figures)?;
        if search.finds(&[&row.name, &row.place]) {
            found.push((key, row));
        }
    }
    found.sort_by(|(left_key, left), (right_key, right)| {
        let by_figures = match sort {
            SortBy::Own => descending(left.own, right.own),
            SortBy::Total => descending(left.total, right.total),
            SortBy::Time => right.own_time.ns.cmp(&left.own_time.ns),
            SortBy::Trend => {
                let trend = |row: &Row| row.trend.unwrap_or_default();
                descending(trend(left), trend(right))
            }
            SortBy::Name => left.name.cmp(&right.name),
        };
        by_figures
            .then_with(|| descending(left.own, right.own))
            .then_with(|| descending(left.total, right.total))
            .then_with(|| right.total_time.ns.cmp(&left.total_time.ns))
            .then_with(|| left_key.cmp(right_key))
    });
    Ok(found.into_iter().map(|(_, row)| row).collect())
}

fn descending(left: f64, right: f64) -> std::cmp::Ordering {
    right.total_cmp(&left)
}

/// What shares are shares of.
struct Scale {
    whole: Parts,
    /// Of processes and threads: the length of the window; else none, and shares are of the samples.
    seconds: Option<f64>,
}

impl Scale {
    fn new(live: &Live, view: View, window: Window, whole: Parts) -> Self {
        let is_of_time = matches!(view, View::Processes | View::Threads);
        let seconds = live.quality(window).duration.as_secs_f64();
        Self {
            whole,
            seconds: is_of_time.then_some(seconds),
        }
    }

    fn share(&self, parts: Parts) -> f64 {
        let (part, whole) = match self.seconds {
            Some(seconds) => (parts.window.ns as f64 / 1e9, seconds),
            None => (
                parts.window.samples as f64,
                self.whole.window.samples as f64,
            ),
        };
        if whole > 0.0 { part / whole } else { 0.0 }
    }

    fn trend(&self, live: &Live, own: Parts) -> Option<f64> {
        if self.seconds.is_none() {
            return find_trend(own, self.whole);
        }
        let period = live.profile().information.period_ns as f64 / 1e9;
        find_rate_trend(own, live.spans()).map(|change| change * period * 100.0)
    }

    fn row(&self, live: &Live, key: Key, figures: Figures) -> Result<Row, ProfileError> {
        let Figures {
            own,
            total,
            gil,
            gil_wait,
            ..
        } = figures;
        let named = Named::of_key(live, key)?;
        let of_gil = |parts| named.has_gil.then(|| self.share(parts));
        Ok(Row {
            id: RowId::Key(key),
            own: self.share(own),
            total: self.share(total),
            own_time: own.since_reset,
            total_time: total.since_reset,
            trend: self.trend(live, own),
            gil: of_gil(gil),
            gil_wait: of_gil(gil_wait),
            number: named.number,
            name: named.name,
            place: named.place,
            kind: named.kind,
            origin: named.origin,
            branch: None,
        })
    }
}

/// What is said of a row beside its figures.
pub(crate) struct Named {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) place: String,
    pub(crate) kind: FrameKind,
    pub(crate) origin: Origin,
    /// Whether it belongs to a Python that has a GIL.
    pub(crate) has_gil: bool,
}

impl Named {
    pub(crate) fn of_key(live: &Live, key: Key) -> Result<Self, ProfileError> {
        match key {
            Key::Process(process) => Self::of_process(live, process),
            Key::Thread(process, tid) => Self::of_thread(live, process, tid),
            Key::Function(function) => Self::of_function(live, function, 0),
            Key::Line(function, line) => Self::of_function(live, function, line),
            Key::Module(number) => {
                let module = live.module(number).cloned();
                Ok(Self {
                    number: 0,
                    kind: module
                        .as_ref()
                        .map_or(FrameKind::Native, |module| module.kind),
                    origin: module
                        .as_ref()
                        .map_or(Origin::Project, |module| module.origin),
                    name: module.map(|module| module.name).unwrap_or_default(),
                    place: String::new(),
                    has_gil: false,
                })
            }
        }
    }

    fn of_process(
        live: &Live,
        process: viperf_profile::ProcessHandle,
    ) -> Result<Self, ProfileError> {
        let profile = live.profile();
        let process = profile.process(process)?;
        let version = process.python_version;
        let version = version.map(|version| profile.string(version)).transpose()?;
        Ok(Self {
            number: process.pid,
            name: profile.string(process.shown_name())?.to_owned(),
            place: match (profile.string(process.command_line)?, version) {
                ("", Some(version)) => format!("Python {version}"),
                (command, _) => command.to_owned(),
            },
            kind: FrameKind::Python,
            origin: Origin::Project,
            // `3.13.1t` is how a build without a GIL is called.
            has_gil: version.is_some_and(|version| !is_free_threaded(version)),
        })
    }

    fn of_thread(
        live: &Live,
        process: viperf_profile::ProcessHandle,
        tid: u32,
    ) -> Result<Self, ProfileError> {
        let profile = live.profile();
        let of_process = Self::of_process(live, process)?;
        let is_it =
            |thread: &viperf_profile::Thread| thread.process == process && thread.tid == tid;
        // The newest name of a thread that was renamed.
        let threads = 0..profile.threads.len() as u32;
        let thread = threads
            .rev()
            .filter_map(|number| {
                let handle = viperf_profile::ThreadHandle::from_index(number);
                profile.threads.find(handle)
            })
            .find(|thread| is_it(thread));
        let name = thread
            .map(|thread| profile.string(thread.name))
            .transpose()?;
        Ok(Self {
            number: tid,
            name: name.unwrap_or_default().to_owned(),
            place: format!("{} ({})", of_process.name, of_process.number),
            ..of_process
        })
    }

    pub(crate) fn of_function(
        live: &Live,
        function: FunctionHandle,
        line: u32,
    ) -> Result<Self, ProfileError> {
        let profile = live.profile();
        let function = profile.function(function)?;
        let file = function.file.map(|file| profile.string(file)).transpose()?;
        let library = profile.library_name(&function)?;
        let module = file
            .filter(|_| function.kind == FrameKind::Python)
            .map(Module::of_file);
        let line = if line == 0 { function.first_line } else { line };
        let origin = module
            .as_ref()
            .map_or(Origin::Project, |module| module.origin);
        let place = match (module, library) {
            (Some(module), _) if line == 0 => module.name.into_owned(),
            (Some(module), _) => format!("{}:{line}", module.name),
            (None, library) => library.unwrap_or_default().to_owned(),
        };
        Ok(Self {
            number: 0,
            name: profile.string(function.name)?.to_owned(),
            place,
            kind: function.kind,
            origin,
            has_gil: false,
        })
    }
}

/// Whether a version (`3.13.1t`, `3.14.0t (untested)`) is of a build without a GIL.
fn is_free_threaded(version: &str) -> bool {
    let number = version.split(' ').next().unwrap_or_default();
    number.ends_with('t')
}
