//! Native stacks that hold everywhere: live programs in places that unwinders get wrong.
//!
//! Each must have 99 complete samples of 100, the frames that it says in their order, and a place for every run of
//! Python frames. What is missing of a walk is named by its reason in the figures.

mod callbacks;
mod deep;
mod gdb_equal;
mod libraries;
mod loading;
mod memory;
mod own;
mod packages;
mod pattern;
mod program;
mod trampolines;

use viperf_e2e::{Interpreter, Plan};

/// The version that `fixtures/python/packages.txt` has the packages for.
const WITH_PACKAGES: (u64, u64) = (3, 12);

/// `of_versions` has one release build of each version.
pub(crate) fn plan(plan: &mut Plan, interpreters: &[Interpreter], of_versions: &[Interpreter]) {
    plan.beside(
        "native/patterns",
        Ok(()),
        pattern::patterns_mean_what_they_say,
    );
    callbacks::plan(plan, of_versions);
    trampolines::plan(plan, of_versions);
    gdb_equal::plan(plan, of_versions);
    if let Ok(newest) = crate::newest(interpreters) {
        let own = [
            &own::IN_C[..],
            &own::IN_OTHER_LANGUAGES,
            &own::FILES,
            &own::CHILDREN,
        ];
        for program in own.into_iter().flatten() {
            program.plan(plan, newest);
        }
        deep::plan(plan, newest);
        loading::plan(plan, newest);
        memory::plan(plan, newest);
    }
    let on_musl = |found: &&Interpreter| found.musl && found.shared && found.is_supported();
    if let Some(interpreter) = interpreters.iter().find(on_musl) {
        own::ON_MUSL.plan(plan, interpreter);
    }
    let has_packages = |found: &&Interpreter| (found.version.0, found.version.1) == WITH_PACKAGES;
    if let Some(interpreter) = of_versions.iter().find(has_packages) {
        let all = [
            &packages::BLAS[..],
            &packages::COMPILING,
            &packages::SWITCHING,
            &packages::EXTENSIONS,
        ];
        for program in all.into_iter().flatten() {
            program.plan(plan, interpreter);
        }
    }
}
