//! Memory of a live view: what nobody is shown any more is let go.
//!
//! Rows are needed by the last minute, and by the sum since the last reset. The first is bounded by the rate; of the second the
//! stacks that took most keep their names, and the samples of all others are counted on under one name.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use viperf_profile::{
    Frame, FrameKind, Function, Process, Profile, ProfileError, StackHandle, Thread, ThreadHandle,
};

use crate::copied::Copied;
use crate::live::Live;
use crate::view::Key;

/// Stands for the processes and stacks whose names were let go.
pub(crate) const OTHERS: &str = "[others, let go to save memory]";

/// What has become of the rows of a live view when some were let go.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(crate) rows: Copied,
    /// Numbers of modules.
    pub(crate) modules: HashMap<u32, u32>,
}

impl Moved {
    /// The same row of a table as it is called now.
    pub(crate) fn key(&self, key: Key) -> Option<Key> {
        Some(match key {
            Key::Process(process) => Key::Process(self.rows.process(process)?),
            Key::Thread(process, tid) => Key::Thread(self.rows.process(process)?, tid),
            Key::Function(function) => Key::Function(self.rows.function(function)?),
            Key::Line(function, line) => Key::Line(self.rows.function(function)?, line),
            Key::Module(number) => Key::Module(*self.modules.get(&number)?),
        })
    }
}

impl Live {
    /// The next profile that is given to [`Live::grow`] is another one, which begins empty. Rows that nothing on the screen can
    /// need are let go; of those that are only needed since the reset, at most about `most_rows` stay, and the samples of the
    /// others are counted on under one name.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when the profile is not sound.
    pub fn begin_anew(&mut self, most_rows: usize) -> Result<(), ProfileError> {
        let mut rows = Copied::default();
        let mut kept = Profile {
            information: self.profile.information.clone(),
            ..Profile::default()
        };
        let recent = self.recent_pairs();
        for pair in &recent {
            rows.copy_pair(&self.profile, &mut kept, *pair)?;
        }
        let is_old = |(pair, _): &(&(ThreadHandle, StackHandle), _)| !recent.contains(*pair);
        let mut old: Vec<_> = self.history.since_reset().filter(is_old).collect();
        old.sort_unstable_by_key(|(pair, weight)| (Reverse(weight.ns), **pair));
        for (pair, _) in old {
            if kept.row_count() >= most_rows {
                break;
            }
            rows.copy_pair(&self.profile, &mut kept, *pair)?;
        }
        let mut others = None;
        let mut renumber = |pair| {
            rows.pair(pair)
                .unwrap_or_else(|| *others.get_or_insert_with(|| add_others(&mut kept)))
        };
        self.history.renumber(&mut renumber);
        if let Some(held) = &mut self.held {
            held.renumber(&mut renumber);
        }
        self.profile = kept;
        self.incoming = Copied::default();
        let modules = self.learn_frames_anew()?;
        self.moved = Moved { rows, modules };
        self.times_moved += 1;
        self.generation += 1;
        Ok(())
    }

    /// What the last minute was seen with, and what has come while frozen; in an order of their own, so that rows are.
    fn recent_pairs(&self) -> BTreeSet<(ThreadHandle, StackHandle)> {
        let held = self.held.iter().flat_map(|tick| tick.seen.keys());
        self.history.recent_pairs().chain(held).copied().collect()
    }

    /// The numbers that modules had and those that they have now.
    fn learn_frames_anew(&mut self) -> Result<HashMap<u32, u32>, ProfileError> {
        self.facts.clear();
        self.module_numbers.clear();
        let before = std::mem::take(&mut self.modules);
        self.learn_frames()?;
        let now = |name| self.module_numbers.get(name).copied();
        let moved = (0..).zip(&before);
        Ok(moved
            .filter_map(|(number, name)| Some((number, now(name)?)))
            .collect())
    }
}

/// The thread and the stack under which samples are counted whose own were let go.
fn add_others(profile: &mut Profile) -> (ThreadHandle, StackHandle) {
    let name = profile.strings.intern(OTHERS);
    let nothing = profile.strings.intern("");
    let process = profile.processes.intern(Process::new(0, name, nothing));
    let tid = 0;
    let thread = profile.threads.intern(Thread { process, tid, name });
    let function = profile.functions.intern(Function {
        name,
        file: None,
        library: None,
        first_line: 0,
        kind: FrameKind::Incomplete,
    });
    let frame = profile.frames.intern(Frame::at_line(function, 0));
    let stack = profile.intern_stack_root_first([frame]);
    (thread, stack.expect("a stack of one frame has a row"))
}
