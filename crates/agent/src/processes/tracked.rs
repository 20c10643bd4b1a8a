//! What the kernel is told of one process.

use std::rc::Rc;

use viperf_abi::{PROCESS_NEVER_DEFER, PROCESS_READ, PROCESS_TARGET, Process};
use viperf_process::ProcessError;
use viperf_sample::{SampleError, Sampler};

use super::{MappingRun, Tracked};
use crate::found::Found;

impl Tracked {
    /// Takes over what was found and tells the kernel; false, and nothing changed, when the kernel knows better.
    pub(super) fn take(
        &mut self,
        pid: u32,
        found: Found,
        sampler: &mut Sampler,
    ) -> Result<bool, SampleError> {
        let mut kernel = Process {
            flags: PROCESS_TARGET | PROCESS_READ | self.kernel.flags & PROCESS_NEVER_DEFER,
            ..self.kernel
        };
        let python = found
            .python
            .filter(|python| python.describe(found.library, &mut kernel));
        let known = self
            .run
            .as_ref()
            .is_some_and(|run| *run.mappings == *found.mappings);
        let mut run = None;
        if !known {
            let first = sampler.write_mappings(&found.mappings)?;
            kernel.first_mapping = first;
            kernel.mapping_count = found.mappings.len() as u32;
            // What led nowhere may lead somewhere now.
            kernel.flags &= !PROCESS_NEVER_DEFER;
            self.failed_deferrals = 0;
            let mappings = found.mappings.into();
            run = Some(Rc::new(MappingRun { first, mappings }));
        }
        if (kernel != self.kernel || self.unconfirmed) && !sampler.update_process(pid, &kernel)? {
            release(run, sampler);
            return Ok(false);
        }
        self.kernel = kernel;
        self.unconfirmed = false;
        self.python_executable = python.as_ref().map_or(0, |python| python.executable);
        self.python = python.map(|python| python.interpreter);
        if run.is_some() {
            release(std::mem::replace(&mut self.run, run), sampler);
        }
        Ok(true)
    }
}

/// Why a process could not become a target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrackError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Sample(#[from] SampleError),
}

/// Gives a run back once no process uses it.
pub(super) fn release(run: Option<Rc<MappingRun>>, sampler: &mut Sampler) {
    if let Some(run) = run.and_then(Rc::into_inner) {
        sampler.release_mappings(run.first, run.mappings.len() as u32);
    }
}
