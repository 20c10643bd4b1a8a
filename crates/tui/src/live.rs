//! What is known so far: the names that samples need, and the samples summed up.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use viperf_profile::{
    Frame, FrameKind, Function, Module, Origin, Profile, ProfileError, Sample, StackHandle,
    ThreadHandle, is_gil_function, is_interpreter,
};

use crate::compaction::Moved;
use crate::copied::Copied;
use crate::history::{History, Parts, Quality, Window};
use crate::tick::Tick;

/// What a view needs of a frame, found out once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameFacts {
    pub(crate) frame: Frame,
    pub(crate) kind: FrameKind,
    /// Number of the package, file of the project or library.
    pub(crate) module: u32,
    /// A native function of the interpreter itself.
    pub(crate) is_interpreter: bool,
    /// It takes the GIL: what is above it waits for the GIL.
    pub(crate) takes_gil: bool,
}

/// A package, a file of the project, or a library.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ModuleName {
    pub(crate) kind: FrameKind,
    pub(crate) origin: Origin,
    pub(crate) name: String,
}

/// A profile that grows, with its samples summed up.
///
/// Whoever records calls [`Live::grow`] with all of its tables and the samples that are new; rows are taken away only when
/// [`Live::begin_anew`] was called before, and only those of processes and threads change, so only what is new is looked at.
#[derive(Debug, Default)]
pub struct Live {
    /// The tables; it has no samples.
    pub(crate) profile: Profile,
    /// Those rows of the profile that grows that it has.
    pub(crate) incoming: Copied,
    pub(crate) facts: Vec<FrameFacts>,
    pub(crate) modules: Vec<ModuleName>,
    pub(crate) module_numbers: HashMap<ModuleName, u32>,
    pub(crate) history: History,
    /// What has come while frozen.
    pub(crate) held: Option<Tick>,
    is_frozen: bool,
    /// Totals at the last growth, to tell what is new.
    elapsed: Duration,
    lost: u64,
    incomplete: BTreeMap<String, u64>,
    incomplete_at_reset: BTreeMap<String, u64>,
    pub(crate) generation: u64,
    /// What became of rows when some were let go the last time, and how often that was.
    pub(crate) moved: Moved,
    pub(crate) times_moved: u64,
}

impl Live {
    /// Takes over what is new in `profile`: rows of its tables, and `samples`. `elapsed` is the time since sampling began,
    /// `profile.lost` and `profile.incomplete` are counts since then.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when a handle is not of this profile.
    pub fn grow(
        &mut self,
        profile: &Profile,
        samples: &[Sample],
        elapsed: Duration,
    ) -> Result<(), ProfileError> {
        let (incoming, tables) = (&mut self.incoming, &mut self.profile);
        incoming.copy_new_names(profile, tables)?;
        tables.information = profile.information.clone();
        let duration = elapsed.saturating_sub(self.elapsed);
        let lost = profile.lost.saturating_sub(self.lost);
        self.elapsed = elapsed;
        self.lost = profile.lost;
        self.incomplete.clone_from(&profile.incomplete);
        let tick = Tick::new(samples, duration, lost, |pair| {
            incoming.copy_pair(profile, tables, pair)
        })?;
        self.learn_frames()?;
        if self.is_frozen {
            self.held.get_or_insert_with(Tick::default).add(&tick);
        } else {
            self.history.push(tick);
            self.generation += 1;
        }
        Ok(())
    }

    /// Finds out about the frames that are new.
    pub(crate) fn learn_frames(&mut self) -> Result<(), ProfileError> {
        for (_, frame) in self.profile.frames.iter().skip(self.facts.len()) {
            let facts = facts_of(
                &self.profile,
                frame,
                &mut self.modules,
                &mut self.module_numbers,
            )?;
            self.facts.push(facts);
        }
        Ok(())
    }

    /// Keeps the picture as it is, or goes on; what has come meanwhile is not lost.
    pub fn freeze(&mut self, is_frozen: bool) {
        self.is_frozen = is_frozen;
        if !is_frozen && let Some(tick) = self.held.take() {
            self.history.push(tick);
        }
        self.generation += 1;
    }

    /// Begins to count anew.
    pub fn reset(&mut self) {
        self.history.reset();
        self.held = None;
        self.incomplete_at_reset.clone_from(&self.incomplete);
        self.generation += 1;
    }

    /// Changes with everything that a view shows.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Rate, completeness and loss.
    #[must_use]
    pub fn quality(&self, window: Window) -> Quality {
        self.history.quality(window)
    }

    /// What is profiled, as the user named it; empty before the first growth.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.profile.information.target
    }

    /// Samples and completeness since sampling began or the last reset.
    #[must_use]
    pub fn whole(&self) -> Quality {
        self.history.quality(Window::SinceReset)
    }

    /// Time since sampling began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Why samples since the reset are not complete, those with most samples first.
    #[must_use]
    pub fn incomplete(&self) -> Vec<(&str, u64)> {
        let before = |reason: &str| {
            let before = self.incomplete_at_reset.get(reason);
            before.copied().unwrap_or_default()
        };
        let mut reasons: Vec<(&str, u64)> = self
            .incomplete
            .iter()
            .map(|(reason, count)| (reason.as_str(), count.saturating_sub(before(reason))))
            .filter(|(_, count)| *count > 0)
            .collect();
        reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        reasons
    }

    /// The tables.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn parts(&self, window: Window) -> HashMap<(ThreadHandle, StackHandle), Parts> {
        self.history.parts(window)
    }

    /// See [`History::spans`].
    pub(crate) fn spans(&self) -> (f64, f64) {
        self.history.spans()
    }

    /// The frames of a stack from its leaf to its root, without the interpreter's own eval calls: the Python frames that
    /// they run stand for them.
    pub(crate) fn frames_leaf_first(
        &self,
        stack: StackHandle,
    ) -> impl Iterator<Item = &FrameFacts> + '_ {
        use viperf_profile::Handle as _;
        let frames = self.profile.stacks.frames_leaf_first(stack);
        frames
            .filter_map(|frame| self.facts.get(frame.index() as usize))
            .filter(|facts| facts.kind != FrameKind::Interpreter)
    }

    pub(crate) fn module(&self, number: u32) -> Option<&ModuleName> {
        self.modules.get(number as usize)
    }
}

fn facts_of(
    profile: &Profile,
    frame: &Frame,
    modules: &mut Vec<ModuleName>,
    numbers: &mut HashMap<ModuleName, u32>,
) -> Result<FrameFacts, ProfileError> {
    let function = profile.function(frame.function)?;
    let Function { name, kind, .. } = function;
    let library = profile.library_name(&function)?;
    let name = profile.string(name)?;
    let module = module_name(profile, &function, library)?;
    let next = modules.len() as u32;
    let number = *numbers.entry(module.clone()).or_insert(next);
    if number == next {
        modules.push(module);
    }
    let is_native = kind == FrameKind::Native;
    Ok(FrameFacts {
        frame: *frame,
        kind,
        module: number,
        is_interpreter: is_native && library.is_some_and(is_interpreter),
        takes_gil: is_gil_function(kind, name),
    })
}

fn module_name(
    profile: &Profile,
    function: &Function,
    library: Option<&str>,
) -> Result<ModuleName, ProfileError> {
    let file = function.file.map(|file| profile.string(file)).transpose()?;
    let of_project = |name: &str| ModuleName {
        kind: function.kind,
        origin: Origin::Project,
        name: name.to_owned(),
    };
    Ok(match (function.kind, file, library) {
        (FrameKind::Kernel, ..) => of_project("[kernel]"),
        (FrameKind::Incomplete, ..) => of_project("[incomplete]"),
        (FrameKind::Python, Some(file), _) => {
            let module = Module::of_file(file);
            ModuleName {
                kind: function.kind,
                origin: module.origin,
                name: module.package().to_owned(),
            }
        }
        (_, _, Some(library)) => of_project(library),
        (_, _, None) => of_project("[unknown]"),
    })
}
