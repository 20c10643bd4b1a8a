//! What processes say of the code that they generate, read while they live: at the end they and their files may be gone.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use viperf_abi::Word;
use viperf_symbolize::{FrameSection, GeneratedCode, NativeSymbol, NoSymbol};

/// A compiler at run time adds names all the time; reading them costs the sampled machine something.
const REFRESH: Duration = Duration::from_secs(1);

/// A process that maps code many times a second is not asked each time.
const REFRESH_FRAMES: Duration = Duration::from_millis(50);

/// The names of generated code, by process description. One thread reads them while the processes live, another asks for them.
#[derive(Debug, Default)]
pub(crate) struct GeneratedNames {
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    by_process: HashMap<u32, Generating>,
    refreshed: Option<Instant>,
}

#[derive(Debug)]
struct Generating {
    pid: u32,
    code: GeneratedCode,
    /// When it was asked last where its call frame information is.
    asked: Instant,
    /// There is nothing new to read.
    has_ended: bool,
}

impl GeneratedNames {
    /// A stack of a process has come in: if it runs code without a file, the names of that are wanted. True if it has not been
    /// seen to do so before: then where it keeps its call frame information is known now, too.
    pub(crate) fn note(&self, process: u32, pid: u32, native: &[u64]) -> bool {
        let is_generated = |word: &u64| matches!(Word::decode(*word), Word::Address(_));
        if !native.iter().any(is_generated) {
            return false;
        }
        let mut names = self.lock();
        let Entry::Vacant(entry) = names.by_process.entry(process) else {
            return false;
        };
        let mut code = GeneratedCode::of_process(pid);
        code.refresh();
        let is_told = code.frame_sections().next().is_some();
        entry.insert(Generating {
            pid,
            code,
            asked: Instant::now(),
            has_ended: false,
        });
        is_told
    }

    /// Where a process that runs generated code keeps the call frame information of that within `code` (AVMA).
    pub(crate) fn frame_sections(&self, pid: u32, code: &Range<u64>) -> Vec<FrameSection> {
        let mut names = self.lock();
        let mut found = Vec::new();
        for generating in names.by_process.values_mut() {
            if generating.pid != pid || generating.has_ended {
                continue;
            }
            if generating.asked.elapsed() >= REFRESH_FRAMES {
                generating.code.refresh_frame_sections();
                generating.asked = Instant::now();
            }
            let sections = generating.code.frame_sections();
            let is_within =
                |found: &&FrameSection| found.code.start < code.end && code.start < found.code.end;
            found.extend(sections.filter(is_within).cloned());
        }
        found.sort_unstable_by_key(|section| section.address);
        found
    }

    /// Reads what is new, if it is time.
    pub(crate) fn refresh(&self, now: Instant) {
        let mut names = self.lock();
        let is_due = names
            .refreshed
            .is_none_or(|refreshed| now.duration_since(refreshed) >= REFRESH);
        if is_due && !names.by_process.is_empty() {
            names.refreshed = Some(now);
            names.refresh_if(|_| true);
        }
    }

    /// A process has ended. Its files are still there; what it has written last is read before they go.
    pub(crate) fn process_ended(&self, pid: u32) {
        let mut names = self.lock();
        names.refresh_if(|generating| generating.pid == pid);
        for generating in names.by_process.values_mut() {
            generating.has_ended |= generating.pid == pid;
        }
    }

    /// Nobody asks for names of this process any more.
    pub(crate) fn forget(&self, process: u32) {
        self.lock().by_process.remove(&process);
    }

    /// Reads what is new once more.
    pub(crate) fn refresh_all(&self) {
        self.lock().refresh_if(|_| true);
    }

    /// The functions at addresses of a process, each with its name or why it has none, in their order. When one has none, what
    /// is new is read first: the process may have named it after it was last asked.
    pub(crate) fn find(
        &self,
        process: u32,
        addresses: &[u64],
    ) -> Vec<Result<NativeSymbol, NoSymbol>> {
        let mut names = self.lock();
        let Some(generating) = names.by_process.get_mut(&process) else {
            return vec![Err(NoSymbol::NoPerfMap); addresses.len()];
        };
        let find = |code: &GeneratedCode| -> Vec<_> {
            addresses
                .iter()
                .map(|address| code.find(*address))
                .collect()
        };
        let found = find(&generating.code);
        if generating.has_ended || found.iter().all(Result::is_ok) {
            return found;
        }
        generating.code.refresh();
        find(&generating.code)
    }

    /// A thread that panics while it holds the lock leaves names that were not read.
    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    fn refresh_if(&mut self, is_wanted: impl Fn(&Generating) -> bool) {
        for generating in self.by_process.values_mut() {
            if !generating.has_ended && is_wanted(generating) {
                generating.code.refresh();
            }
        }
    }
}
