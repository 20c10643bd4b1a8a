//! Programs that work in the libraries of `fixtures/c/native_*` and in C's own.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    process::Command,
};

use viperf_e2e::{Need, output_folder};

use super::{
    libraries::Library,
    program::{PROGRAM, Program},
};

const WORK: Program = Program {
    file: "native_library.py",
    library: Some(Library::Work),
    ..PROGRAM
};

const THROWING: Program = Program {
    library: Some(Library::Throwing),
    ..WORK
};

const RUST: Program = Program {
    library: Some(Library::Rust),
    ..WORK
};

const FILE: Program = Program {
    file: "native_files.py",
    seen: &[(
        "n:burn_in_c",
        &["l:python > ... > p:main > p:work > ... > l:libffi > l:libmoved > ..."],
    )],
    ..WORK
};

/// What C compilers and C libraries make of a stack.
pub(super) const IN_C: [Program; 14] = [
    Program {
        name: "jit-object",
        file: "native_jit_object.py",
        // Only the unwind information that the program tells debuggers of says how this frame is left. It is read when the
        // first sample has met such code, and that one and those of the next moments are not whole.
        seen: &[(
            "n:burn_in_c",
            &[
                "l:python > ... > p:main > p:work > ... > l:libffi > n:told_to_debuggers > n:burn_in_c > ...",
                "l:python > ... > p:main > p:work > ... > n:told_to_debuggers > n:burn_in_c > ...",
                "p:<module> > p:main > p:work > ... > n:told_to_debuggers > n:burn_in_c > ...",
            ],
        )],
        least_complete: 0.7,
        ..WORK
    },
    Program {
        name: "alloca",
        arguments: &["--work", "alloca"],
        seen: &[(
            "n:burn_in_c",
            &["l:python > ... > p:main > p:alloca > ... > n:burn_after_alloca > n:burn_in_c > ..."],
        )],
        ..WORK
    },
    Program {
        name: "realigned",
        arguments: &["--work", "realigned"],
        seen: &[(
            "n:burn_in_c",
            &["l:python > ... > p:main > p:realigned > ... > n:burn_realigned > n:burn_in_c > ..."],
        )],
        ..WORK
    },
    Program {
        name: "cfa-in-rbx",
        arguments: &["--work", "cfa_in_rbx"],
        seen: &[(
            "n:burn_in_c",
            &[
                "l:python > ... > p:main > p:cfa_in_rbx > ... > n:burn_with_cfa_in_rbx > n:call_with_cfa_in_rbx > n:burn_three_milliseconds > n:burn_in_c > ...",
            ],
        )],
        ..WORK
    },
    Program {
        name: "realigned-alloca",
        arguments: &["--work", "realigned_alloca"],
        seen: &[(
            "n:burn_in_c",
            &[
                "l:python > ... > p:main > p:realigned_alloca > ... > n:burn_realigned_after_alloca > n:burn_in_c > ...",
            ],
        )],
        ..WORK
    },
    Program {
        name: "longjmp",
        arguments: &["--work", "longjmp"],
        seen: &[(
            "n:burn_in_c",
            &[
                "l:python > ... > p:main > p:longjmp > ... > n:burn_after_longjmp > n:burn_in_c > ...",
            ],
        )],
        ..WORK
    },
    Program {
        name: "context",
        arguments: &["--work", "context"],
        // The context's stack ends at its own root. The walk goes on at the Python frames of the stack that it was entered
        // from, and the native frames between are not to be had: every sample has that gap, and says so.
        seen: &[(
            "n:burn_in_c",
            &[
                "l:python > ... > p:<module> > p:main > p:context > ... > n:burn_in_context > n:burn_in_c > ...",
                "p:<module> > p:main > p:context > ... > n:burn_in_context > n:burn_in_c > ...",
            ],
        )],
        least_complete: 0.0,
        ..WORK
    },
    Program {
        name: "vfork",
        arguments: &["--work", "vfork"],
        seen: &[(
            "n:burn_in_c",
            &[
                "l:python > ... > p:main > p:vfork > ... > n:burn_in_vfork > n:burn_in_vfork_child > n:burn_in_c > ...",
            ],
        )],
        ..WORK
    },
    Program {
        name: "without-rows",
        arguments: &["--work", "without_rows"],
        seen: &[(
            "n:burn_in_c",
            &[
                "l:python > ... > p:without_rows > ... > n:burn_without_rows > n:call_without_rows > n:burn_three_milliseconds > n:burn_in_c > ...",
            ],
        )],
        ..WORK
    },
    Program {
        name: "chains",
        arguments: &["--work", "chains"],
        seen: &[(
            "n:burn_in_c",
            &["l:python > ... > p:chains > ... > n:burn_in_chains > \
               l:code > l:code > l:code > l:code > l:code > l:code > l:code > l:code > \
               n:burn_three_milliseconds > n:burn_in_c > ..."],
        )],
        ..WORK
    },
    Program {
        name: "signal-handler",
        arguments: &["--work", "interrupted"],
        seen: &[(
            "n:handler_in_c",
            &["l:python > ... > p:main > ... > l:libc > n:handler_in_c > n:burn_in_c > ..."],
        )],
        ..WORK
    },
    Program {
        name: "signal-handler-alternate-stack",
        arguments: &["--work", "interrupted", "--alternate", "1"],
        seen: &[(
            "n:handler_in_c",
            &["l:python > ... > p:main > ... > l:libc > n:handler_in_c > n:burn_in_c > ..."],
        )],
        ..WORK
    },
    Program {
        name: "signal-handler-in-python",
        file: "native_signals.py",
        library: None,
        seen: &[
            (
                "p:in_handler",
                &["l:python > ... > p:main > ... > p:handler > p:in_handler > ..."],
            ),
            (
                "n:deflate",
                &["l:python > ... > p:main > p:compress > ... > n:deflate > ..."],
            ),
        ],
        ..WORK
    },
    Program {
        name: "vdso",
        arguments: &["--work", "clock"],
        seen: &[(
            "l:[vdso]",
            &["l:python > ... > p:main > p:clock > ... > n:read_clock > ... > l:libc > l:[vdso]"],
        )],
        ..WORK
    },
];

/// A handler of C, on a C library that has no unwind information.
pub(super) const ON_MUSL: Program = Program {
    name: "signal-handler",
    arguments: &["--work", "interrupted"],
    library: Some(Library::WorkForMusl),
    seen: &[(
        "n:handler_in_c",
        &["... > p:main > ... > l:libc > n:handler_in_c > n:burn_in_c > ..."],
    )],
    ..WORK
};

/// What other languages make of it.
pub(super) const IN_OTHER_LANGUAGES: [Program; 4] = [
    Program {
        name: "throwing",
        arguments: &["--work", "throwing"],
        seen: &[(
            "n:throwing::catch_one()",
            &[
                "l:python > ... > p:main > p:throwing > ... > n:throw_and_catch > n:throwing::catch_one() > ...",
            ],
        )],
        ..THROWING
    },
    Program {
        name: "rust",
        arguments: &["--work", "in_rust"],
        seen: &[(
            "n:native_rust::spin",
            &[
                "l:python > ... > p:main > p:in_rust > ... > n:burn_in_rust > n:native_rust::descend > ... > n:native_rust::spin > ...",
            ],
        )],
        ..RUST
    },
    Program {
        name: "rust-panicking",
        arguments: &["--work", "panicking"],
        seen: &[(
            "n:panic_and_catch",
            &["l:python > ... > p:main > p:panicking > ... > n:panic_and_catch > ..."],
        )],
        ..RUST
    },
    Program {
        name: "rust-calls-python",
        arguments: &["--work", "called_from_rust"],
        seen: &[(
            "p:spin",
            &[
                "l:python > ... > p:main > p:called_from_rust > ... > n:call_python > n:native_rust::descend > ... > \
               p:called_from_rust.<locals>.<lambda> > p:spin > ...",
            ],
        )],
        ..RUST
    },
];

/// A library whose file is not, or no longer, what its name says.
pub(super) const FILES: [Program; 7] = [
    Program {
        name: "file-deleted",
        arguments: &["--way", "deleted", "--folder", "$FOLDER"],
        ..FILE
    },
    Program {
        name: "file-replaced",
        arguments: &["--way", "replaced", "--folder", "$FOLDER"],
        ..FILE
    },
    Program {
        name: "file-memfd",
        arguments: &["--way", "memfd"],
        seen: &[(
            "n:burn_in_c",
            &["l:python > ... > p:main > p:work > ... > l:libffi > n:burn_in_c > ..."],
        )],
        ..FILE
    },
    Program {
        name: "file-long-path",
        arguments: &["--way", "long", "--folder", "$FOLDER"],
        ..FILE
    },
    Program {
        name: "file-large",
        arguments: &["--way", "large", "--folder", "$FOLDER"],
        system: has_holes,
        ..FILE
    },
    Program {
        name: "file-truncated",
        arguments: &["--way", "truncated", "--folder", "$FOLDER"],
        seen: &[(
            "l:libmoved",
            &["l:python > ... > p:main > p:work > ... > l:libffi > l:libmoved > ..."],
        )],
        ..FILE
    },
    Program {
        name: "file-on-overlay",
        // Neither mount is seen outside, and both go with the program.
        arguments: &[
            "--way",
            "plain",
            "--folder",
            "$FOLDER/mounted/merged/folder",
        ],
        start: r#"export FOLDER PYTHON
exec unshare -m --propagation private sh -ec '
mkdir -p "$FOLDER/mounted"
mount -t tmpfs tmpfs "$FOLDER/mounted"
cd "$FOLDER/mounted"
mkdir lower upper work merged
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged
exec "$PYTHON" "$@"' sh "$@""#,
        system: has_overlay,
        ..FILE
    },
];

const CHILD: Program = Program {
    file: "native_children.py",
    // `/bin/true` is no Python, and is gone a moment after it has begun.
    process: "python",
    // Between `fork` and `exec` a child lives for a moment, in which its mappings change under the walk.
    least_complete: 0.97,
    ..PROGRAM
};

/// A child of posix_spawn before its exec: on a stack of its own, called by its parent's Python frames.
const ON_ANOTHER_STACK: &str = "p:<module> > p:main > ... > n:clone3 > ...";

/// Short programs, started one after the other: what happens between `vfork` and `exec`.
pub(super) const CHILDREN: [Program; 3] = [
    Program {
        name: "children-popen",
        arguments: &["--way", "popen"],
        seen: &[(
            "p:popen",
            &[
                "l:python > ... > p:<module> > p:main > p:popen > ...",
                ON_ANOTHER_STACK,
            ],
        )],
        ..CHILD
    },
    Program {
        name: "children-spawn",
        arguments: &["--way", "spawn"],
        seen: &[(
            "p:spawn",
            &[
                "l:python > ... > p:<module> > p:main > p:spawn > ...",
                ON_ANOTHER_STACK,
            ],
        )],
        ..CHILD
    },
    Program {
        name: "children-fork",
        arguments: &["--way", "fork"],
        seen: &[(
            "p:in_child",
            &["l:python > ... > p:<module> > p:main > p:fork > p:in_child > ..."],
        )],
        ..CHILD
    },
];

/// A file of the size of `LARGE` in `fixtures/python/native_files.py` can be made, and takes no such room on the disk.
fn has_holes() -> Need {
    const LARGE: u64 = 3 << 30;
    /// In 512 bytes each.
    const MOST_BLOCKS: u64 = 2048;
    let file = output_folder().join(format!("holes-{}", std::process::id()));
    let make = || {
        fs::create_dir_all(output_folder())?;
        let made = File::create(&file)?;
        made.set_len(LARGE)?;
        made.write_all_at(b"end", LARGE)?;
        made.sync_all()?;
        Ok::<_, std::io::Error>(made.metadata()?.blocks())
    };
    let blocks = make();
    // What could not be made need not be taken away.
    fs::remove_file(&file).ok();
    match blocks {
        Ok(blocks) if blocks <= MOST_BLOCKS => Ok(()),
        Ok(_) => Err("files here have no holes, and one of 3 GiB would take them".to_owned()),
        Err(error) => Err(format!("no file of 3 GiB can be made here: {error}")),
    }
}

/// The kernel knows overlay file systems, and this process may mount them where nobody sees it.
fn has_overlay() -> Need {
    let private = Command::new("unshare").args(["-m", "true"]).status();
    if !private.is_ok_and(|status| status.success()) {
        return Err("no mount namespace can be made".to_owned());
    }
    // The kernel may have it as a module; asking to mount nothing loads that.
    Command::new("mount")
        .args(["-t", "overlay", "none", "/nowhere"])
        .output()
        .ok();
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    match known.contains("\toverlay\n") {
        true => Ok(()),
        false => Err("the kernel has no overlay file system".to_owned()),
    }
}
