//! A part of a profile: some of its samples, some of its frames.

use std::collections::{BTreeMap, HashMap};

use regex::Regex;

use crate::division::DivideBy;
use crate::frame_table::{Frame, FrameHandle};
use crate::function_table::{FrameKind, Function};
use crate::process_table::Process;
use crate::profile::Profile;
use crate::sample::Sample;
use crate::stack_table::{Stack, StackHandle, StackTable};
use crate::string_table::StringHandle;
use crate::table::Handle as _;
use crate::validate::ProfileError;

/// The name of the frame that stands for a stack of which every frame is hidden; its kind is [`FrameKind::Incomplete`].
pub const ALL_HIDDEN: &str = "every frame is hidden";

/// The reason of an incomplete sample whose stack does not show it.
const REASON_NOT_SHOWN: &str = "reason not shown in the stack";

/// Which processes or threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one with this pid or tid.
    Id(u32),
    /// All of this name; processes also by their title or its first words.
    Name(String),
}

impl Selector {
    /// Whether this is the process or thread of this number, called `name`.
    #[must_use]
    pub fn selects(&self, id: u32, name: &str) -> bool {
        match self {
            Self::Id(wanted) => *wanted == id,
            Self::Name(wanted) => wanted == name,
        }
    }

    /// Whether this is the process of this number with this title: all of it, or its first words.
    #[must_use]
    pub fn selects_title(&self, pid: u32, title: &str) -> bool {
        match self {
            Self::Id(wanted) => *wanted == pid,
            Self::Name(wanted) => is_beginning(title, wanted),
        }
    }
}

/// Whether `text` is `words`, or goes on after them with something that is not of a word.
fn is_beginning(text: &str, words: &str) -> bool {
    let rest = text.strip_prefix(words).filter(|_| !words.is_empty());
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
}

/// Where a process has to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceSelector {
    /// What `text` names: a container, pod, unit or control group; nothing is selected by what is no place.
    pub by: DivideBy,
    /// A container by its name or the beginning of its ID, a pod by its name, `NAMESPACE/NAME` or UID, a unit with or without
    /// its suffix, a control group with all that are below it.
    pub text: String,
}

impl PlaceSelector {
    /// Whether `process` runs there.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when a handle is not of this profile.
    pub fn selects(&self, profile: &Profile, process: &Process) -> Result<bool, ProfileError> {
        let text = |handle: Option<StringHandle>| match handle {
            Some(handle) => profile.string(handle).map(Some),
            None => Ok(None),
        };
        let wanted = self.text.as_str();
        let is = |found: Option<&str>| !wanted.is_empty() && found == Some(wanted);
        let place = process.placement;
        Ok(match self.by {
            DivideBy::Container => {
                let id = text(place.container_id)?.unwrap_or_default();
                let is_id = !wanted.is_empty() && id.starts_with(wanted);
                is_id || is(text(place.container_name)?)
            }
            DivideBy::Pod => {
                let (pod, namespace) = (text(place.pod)?, text(place.pod_namespace)?);
                let whole = pod.zip(namespace).is_some_and(|(pod, namespace)| {
                    wanted.split_once('/') == Some((namespace, pod))
                });
                whole || is(pod) || is(text(place.pod_uid)?)
            }
            DivideBy::Unit => {
                let unit = text(place.unit)?;
                is(unit) || is(unit.and_then(|unit| Some(unit.rsplit_once('.')?.0)))
            }
            DivideBy::ControlGroup => {
                let path = text(place.cgroup)?.unwrap_or_default();
                let wanted = wanted.trim_end_matches('/');
                let below = path.strip_prefix(wanted);
                !self.text.is_empty()
                    && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            DivideBy::Thread | DivideBy::Process | DivideBy::Program => false,
        })
    }
}

/// What to keep; the default keeps everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Samples of these processes; of all when empty.
    pub processes: Vec<Selector>,
    /// Samples of these threads; of all when empty.
    pub threads: Vec<Selector>,
    /// Samples of processes that run here: of several places of one kind in any, of several kinds in each; anywhere when empty.
    pub places: Vec<PlaceSelector>,
    /// Samples from this time on, in nanoseconds since the profile's start; default 0.
    pub from_ns: u64,
    /// Samples before this time; default is that there is no end.
    pub to_ns: Option<u64>,
    /// Samples with a frame whose function, file or library this finds.
    pub matching: Option<Regex>,
    /// Samples without any frame whose function, file or library this finds.
    pub not_matching: Option<Regex>,
    /// Frames of these kinds are taken out of every stack; their time becomes their callers' own.
    pub hidden: Vec<FrameKind>,
}

/// The part of `profile` that `filter` keeps.
///
/// Handles of strings, functions, frames, processes and threads stay what they were; handles of stacks do, too, unless
/// frames are hidden.
/// A stack of which every frame is hidden becomes one frame that says so ([`ALL_HIDDEN`]): no sample gets lost.
/// The counts of reasons are taken again from the stacks that are left, as soon as a sample has been left out.
/// Samples that were lost belong to no process and no time, so their number stays that of the whole.
///
/// # Errors
///
/// [`ProfileError`] when a handle is not of this profile.
pub fn filter(mut profile: Profile, filter: &Filter) -> Result<Profile, ProfileError> {
    profile.validate()?;
    let threads = selected_threads(&profile, filter)?;
    let stacks = selected_stacks(&profile, filter)?;
    let before = profile.samples.len();
    let mut samples = std::mem::take(&mut profile.samples);
    samples.retain(|sample| {
        let in_time =
            sample.time_ns >= filter.from_ns && filter.to_ns.is_none_or(|to| sample.time_ns < to);
        in_time && at(&threads, sample.thread.index()) && at(&stacks, sample.stack.index())
    });
    profile.samples = samples;
    if profile.samples.len() != before {
        profile.incomplete = count_reasons(&profile, &profile.samples)?;
    }
    let end = profile.information.duration_ns;
    let to = filter.to_ns.map_or(end, |to| to.min(end));
    profile.information.duration_ns = to.saturating_sub(filter.from_ns);
    if !filter.hidden.is_empty() {
        hide(&mut profile, &filter.hidden)?;
    }
    Ok(profile)
}

fn at(flags: &[bool], index: u32) -> bool {
    flags.get(index as usize).copied().unwrap_or_default()
}

fn selected_threads(profile: &Profile, filter: &Filter) -> Result<Vec<bool>, ProfileError> {
    let mut processes = Vec::with_capacity(profile.processes.len());
    for (_, process) in profile.processes.iter() {
        processes.push(is_selected(profile, process, filter)?);
    }
    let is_thread = |tid, name| {
        let mut wanted = filter.threads.iter();
        filter.threads.is_empty() || wanted.any(|wanted| wanted.selects(tid, name))
    };
    let threads = profile.threads.iter().map(|(_, thread)| {
        let is_named = is_thread(thread.tid, profile.string(thread.name)?);
        Ok(is_named && at(&processes, thread.process.index()))
    });
    threads.collect()
}

fn is_selected(
    profile: &Profile,
    process: &Process,
    filter: &Filter,
) -> Result<bool, ProfileError> {
    let name = profile.string(process.name)?;
    let title = profile.string(process.shown_name())?;
    let is_process = |wanted: &Selector| {
        wanted.selects(process.pid, name) || wanted.selects_title(process.pid, title)
    };
    if !filter.processes.is_empty() && !filter.processes.iter().any(is_process) {
        return Ok(false);
    }
    for place in &filter.places {
        let mut is_there = false;
        for other in filter.places.iter().filter(|other| other.by == place.by) {
            is_there |= other.selects(profile, process)?;
        }
        if !is_there {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether each stack has a frame that is wanted and none that is not: what its caller's has, and its own frame.
fn selected_stacks(profile: &Profile, filter: &Filter) -> Result<Vec<bool>, ProfileError> {
    let wanted = matching_frames(profile, filter.matching.as_ref())?;
    let unwanted = matching_frames(profile, filter.not_matching.as_ref())?;
    let mut has: Vec<(bool, bool)> = Vec::with_capacity(profile.stacks.len());
    for (_, Stack { parent, frame }) in profile.stacks.iter() {
        let above = parent.and_then(|parent| has.get(parent.index() as usize));
        let (above_wanted, above_unwanted) = above.copied().unwrap_or_default();
        has.push((
            above_wanted || at(&wanted, frame.index()),
            above_unwanted || at(&unwanted, frame.index()),
        ));
    }
    let wants_all = filter.matching.is_none();
    Ok(has
        .into_iter()
        .map(|(wanted, unwanted)| (wants_all || wanted) && !unwanted)
        .collect())
}

/// Which frames the expression finds; none without one. Each string is looked at once.
fn matching_frames(
    profile: &Profile,
    expression: Option<&Regex>,
) -> Result<Vec<bool>, ProfileError> {
    let Some(expression) = expression else {
        return Ok(Vec::new());
    };
    let strings: Vec<bool> = profile
        .strings
        .iter()
        .map(|(_, text)| expression.is_match(text))
        .collect();
    let matches = |handle: StringHandle| at(&strings, handle.index());
    let is_found = |frame: &Frame| {
        let function = profile.function(frame.function)?;
        let Function {
            name,
            file,
            library,
            ..
        } = function;
        let library = library
            .map(|library| profile.library(library))
            .transpose()?;
        Ok(matches(name)
            || file.is_some_and(matches)
            || library.is_some_and(|library| matches(library.name)))
    };
    profile
        .frames
        .iter()
        .map(|(_, frame)| is_found(frame))
        .collect()
}

/// The reason of each incomplete one of `samples`: the first, from the leaf, that its stack shows.
///
/// # Errors
///
/// [`ProfileError`] when a handle is not of this profile.
pub fn count_reasons(
    profile: &Profile,
    samples: &[Sample],
) -> Result<BTreeMap<String, u64>, ProfileError> {
    let mut stacks: HashMap<StackHandle, u64> = HashMap::new();
    for sample in samples.iter().filter(|sample| !sample.complete) {
        *stacks.entry(sample.stack).or_default() += 1;
    }
    let mut reasons = BTreeMap::new();
    for (stack, count) in stacks {
        let mut reason = REASON_NOT_SHOWN;
        for frame in profile.stacks.frames_leaf_first(stack) {
            let function = profile.function(profile.frame(frame)?.function)?;
            if function.kind == FrameKind::Incomplete {
                reason = profile.string(function.name)?;
                break;
            }
        }
        *reasons.entry(reason.to_owned()).or_default() += count;
    }
    Ok(reasons)
}

/// Takes frames of the `hidden` kinds out of every stack.
fn hide(profile: &mut Profile, hidden: &[FrameKind]) -> Result<(), ProfileError> {
    let mut is_hidden = Vec::with_capacity(profile.frames.len());
    for (_, frame) in profile.frames.iter() {
        is_hidden.push(hidden.contains(&profile.function(frame.function)?.kind));
    }
    if !is_hidden.contains(&true) {
        return Ok(());
    }
    let mut stacks = StackTable::default();
    stacks.reserve(profile.stacks.len());
    let mut new_of: Vec<Option<StackHandle>> = Vec::with_capacity(profile.stacks.len());
    for (_, Stack { parent, frame }) in profile.stacks.iter() {
        let parent =
            parent.and_then(|parent| new_of.get(parent.index() as usize).copied().flatten());
        new_of.push(match at(&is_hidden, frame.index()) {
            true => parent,
            false => Some(stacks.intern(Stack { parent, frame })?),
        });
    }
    let new_of = |old: StackHandle| new_of.get(old.index() as usize).copied().flatten();
    let mut samples = std::mem::take(&mut profile.samples);
    let mut nothing_left = None;
    for Sample { stack, .. } in &mut samples {
        *stack = match new_of(*stack) {
            Some(new) => new,
            None => {
                let frame = *nothing_left.get_or_insert_with(|| all_hidden(profile));
                stacks.intern(Stack {
                    parent: None,
                    frame,
                })?
            }
        };
    }
    profile.stacks = stacks;
    profile.samples = samples;
    Ok(())
}

fn all_hidden(profile: &mut Profile) -> FrameHandle {
    let name = profile.strings.intern(ALL_HIDDEN);
    let function = profile.functions.intern(Function {
        name,
        file: None,
        library: None,
        first_line: 0,
        kind: FrameKind::Incomplete,
    });
    profile.frames.intern(Frame::at_line(function, 0))
}

#[cfg(test)]
mod tests;
