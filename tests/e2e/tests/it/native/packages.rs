//! Programs that work in packages from PyPI.

use super::program::{PROGRAM, Program};

const MATMUL: Program = Program {
    file: "native_matmul.py",
    modules: &["numpy"],
    ..PROGRAM
};

const NUMBA: Program = Program {
    file: "native_numba.py",
    modules: &["numba"],
    ..PROGRAM
};

const EXTENSION: Program = Program {
    file: "native_extensions.py",
    ..PROGRAM
};

const IN_MULTIPLY: &str =
    "l:python > ... > p:<module> > p:main > p:multiply > ... > l:libscipy_openblas > ...";
const IN_FACTOR: &str =
    "l:python > ... > p:<module> > p:main > p:factor > ... > l:libscipy_openblas > ...";
/// The library looks at the machine when it is loaded.
const IN_IMPORT: &str =
    "l:python > ... > p:<module> > p:main > p:load > ... > l:libscipy_openblas > ...";
const IN_A_THREAD: &str = "l:libc > l:libc > l:libscipy_openblas > ...";

/// OpenBLAS, in the main thread, in its own threads, and in kernels that are assembly without rows.
pub(super) const BLAS: [Program; 4] = [
    Program {
        name: "matmul",
        seen: &[("l:libscipy_openblas", &[IN_MULTIPLY, IN_FACTOR])],
        ..MATMUL
    },
    Program {
        name: "matmul-threads",
        arguments: &["--threads", "2"],
        seen: &[(
            "l:libscipy_openblas",
            &[IN_MULTIPLY, IN_FACTOR, IN_A_THREAD],
        )],
        ..MATMUL
    },
    Program {
        name: "matmul-late",
        arguments: &["--late", "1"],
        seen: &[
            ("l:libscipy_openblas", &[IN_MULTIPLY, IN_FACTOR, IN_IMPORT]),
            (
                "p:load",
                &["l:python > ... > p:<module> > p:main > p:load > ..."],
            ),
        ],
        seconds: 3,
        ..MATMUL
    },
    Program {
        name: "matmul-assembly",
        // Kernels for a processor whose instructions every newer one has.
        start: r#"OPENBLAS_CORETYPE=Sandybridge exec "$PYTHON" "$@""#,
        // These have buffers of 28 KiB on the stack, so that the copies of it that the first samples wait with, for rows from
        // instructions, come in parts. On a machine with much else to do some of these find no room.
        seen: &[(
            "p:multiply",
            &[
                "p:<module> > p:main > p:multiply > ...",
                "l:python > ... > p:<module> > p:main > p:multiply > ...",
            ],
        )],
        seconds: 4,
        least_complete: 0.95,
        ..MATMUL
    },
];

/// Code that is made while the program runs. LLVM tells debuggers its names and its unwind information, and so viperf.
pub(super) const COMPILING: [Program; 3] = [
    Program {
        name: "numba",
        seen: &[
            (
                "p:computing",
                &["l:python > ... > p:<module> > p:main > p:computing > ... > n:__main__::* > ..."],
            ),
            // Of a jump by a table, instructions do not tell how the stack is where it leads.
            (
                "n:__main__::interpreting*",
                &[
                    "l:python > ... > p:<module> > p:main > p:jumping > ... > n:cpython::__main__::interpreting* > n:__main__::interpreting* > ...",
                ],
            ),
            (
                "p:called_from_machine_code",
                &[
                    "l:python > ... > p:<module> > p:main > p:calling > ... > n:__main__::calls_python* > ... > p:called_from_machine_code > ...",
                ],
            ),
        ],
        ..NUMBA
    },
    Program {
        name: "jax",
        file: "native_jax.py",
        modules: &["jax"],
        seen: &[(
            "l:libjax_common",
            &[
                "l:python > ... > p:<module> > p:main > p:multiply > ... > l:libjax_common > ...",
                "l:python > ... > p:<module> > p:main > p:compute > ... > l:libjax_common > ...",
                // Arrays that are given back.
                "l:python > ... > p:<module> > p:main > l:libjax_common > ...",
                "l:libc > l:libc > l:libjax_common > ...",
            ],
        )],
        ..PROGRAM
    },
    Program {
        name: "jax-compiled-code",
        file: "native_jax.py",
        modules: &["jax"],
        seen: &[(
            "l:[generated",
            &[
                "l:python > ... > p:<module> > p:main > p:compute > ... > l:libjax_common > l:[generated > ...",
                "l:python > ... > p:<module> > p:main > p:multiply > ... > l:libjax_common > l:[generated > ...",
                "l:libc > l:libc > l:libjax_common > ... > l:libjax_common > l:[generated > ...",
            ],
        )],
        // As little as a fiftieth of the time is in it, and a busy machine gives few samples.
        seconds: 8,
        ..PROGRAM
    },
];

/// Stacks that are switched.
pub(super) const SWITCHING: [Program; 2] = [
    Program {
        name: "gevent",
        file: "native_gevent.py",
        modules: &["gevent"],
        seen: &[("p:burn", &["... > p:worker > ... > p:step > p:burn > ..."])],
        ..PROGRAM
    },
    Program {
        name: "uvloop",
        file: "native_uvloop.py",
        modules: &["uvloop"],
        seen: &[(
            "p:burn",
            &["l:python > ... > p:main > ... > l:loop. > ... > p:worker > p:step > p:burn > ..."],
        )],
        ..PROGRAM
    },
];

/// Rust and Cython.
pub(super) const EXTENSIONS: [Program; 4] = [
    Program {
        name: "orjson",
        arguments: &["--work", "serialize"],
        modules: &["orjson"],
        seen: &[(
            "l:orjson.",
            &["l:python > ... > p:main > p:serialize.<locals>.work > ... > l:orjson. > ..."],
        )],
        ..EXTENSION
    },
    Program {
        name: "pydantic-core",
        arguments: &["--work", "validate"],
        modules: &["pydantic_core"],
        seen: &[(
            "p:burn",
            &[
                "l:python > ... > p:main > p:validate.<locals>.work > ... > l:_pydantic_core. > ... > \
               p:validate.<locals>.check > p:burn > ...",
            ],
        )],
        ..EXTENSION
    },
    Program {
        name: "cryptography",
        arguments: &["--work", "derive"],
        modules: &["cryptography"],
        seen: &[(
            "l:_rust.",
            &["l:python > ... > p:main > p:derive.<locals>.work > ... > l:_rust. > ..."],
        )],
        ..EXTENSION
    },
    Program {
        name: "lxml",
        arguments: &["--work", "transform"],
        modules: &["lxml"],
        seen: &[
            (
                "l:etree.",
                &["l:python > ... > p:main > p:transform.<locals>.work > ... > l:etree. > ..."],
            ),
            (
                "p:burn",
                &[
                    "l:python > ... > p:main > p:transform.<locals>.work > ... > l:etree. > ... > \
                   p:transform.<locals>.called_from_libxml2 > p:burn > ...",
                ],
            ),
        ],
        ..EXTENSION
    },
];
