//! What processes say of the code that they generate, read while they live: at the end they and their files may be gone.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use viperf_abi::Word;
use viperf_symbolize::{GeneratedCode, NativeSymbol, NoSymbol};

/// A compiler at run time adds names all the time; reading them costs the sampled machine something.
const REFRESH: Duration = Duration::from_secs(1);

/// The names of generated code, by process description.
#[derive(Debug, Default)]
pub(crate) struct GeneratedNames {
    by_process: HashMap<u32, GeneratedCode>,
    refreshed: Option<Instant>,
}

impl GeneratedNames {
    /// A stack of a process has come in: if it runs code without a file, the names of that are wanted.
    pub(crate) fn note(&mut self, process: u32, pid: u32, native: &[u64]) {
        let is_generated = |word: &u64| matches!(Word::decode(*word), Word::Address(_));
        if self.by_process.contains_key(&process) || !native.iter().any(is_generated) {
            return;
        }
        let mut code = GeneratedCode::of_process(pid);
        code.refresh();
        self.by_process.insert(process, code);
    }

    /// Reads what is new, if it is time.
    pub(crate) fn refresh(&mut self, now: Instant) {
        let is_due = self
            .refreshed
            .is_none_or(|refreshed| now.duration_since(refreshed) >= REFRESH);
        if is_due && !self.by_process.is_empty() {
            self.refreshed = Some(now);
            self.refresh_all();
        }
    }

    /// Reads what is new once more.
    pub(crate) fn refresh_all(&mut self) {
        for code in self.by_process.values_mut() {
            code.refresh();
        }
    }

    /// The function at an address of a process.
    ///
    /// # Errors
    /// Why it has no name.
    pub(crate) fn find(&self, process: u32, address: u64) -> Result<NativeSymbol, NoSymbol> {
        self.by_process
            .get(&process)
            .ok_or(NoSymbol::NoPerfMap)?
            .find(address)
    }
}
