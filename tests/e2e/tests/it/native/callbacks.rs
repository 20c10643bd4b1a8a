//! Python that C calls back: `qsort` compares through a closure that libffi made, on every version.

use viperf_e2e::{Interpreter, Plan};

use super::program::{PROGRAM, Program};

/// The root's name is not in every stripped interpreter, and before 3.11 a call in Python goes through C.
const CALLBACKS: Program = Program {
    name: "callbacks",
    file: "native_callbacks.py",
    seen: &[(
        "p:weigh",
        &[
            "... > p:<module> > ... > p:main > ... > p:sort_in_c > ... > l:libc > ... > p:compare > ... > p:weigh > ...",
        ],
    )],
    ..PROGRAM
};

pub(super) fn plan(plan: &mut Plan, interpreters: &[Interpreter]) {
    for interpreter in interpreters {
        CALLBACKS.plan(plan, interpreter);
    }
}
