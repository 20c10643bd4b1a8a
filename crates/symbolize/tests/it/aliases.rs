//! Functions of several names, without a type, or with a version.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use viperf_process::{MappingKind, Pid, read_mappings};
use viperf_symbolize::Symbolizer;

use crate::compiled::{address_of, build};
use crate::oracle;

const C: &str = r#"
static int implementation(int x) { return x * 3; }
int __published(int x) { volatile int y = x; return y + 1; }
extern int published(int) __attribute__((alias("__published")));
extern int published_again(int) __attribute__((weak, alias("__published")));
static int (*choose(void))(int) { return implementation; }
int chosen(int) __attribute__((ifunc("choose")));
int old_and_new_2(int x) { volatile int y = x; return y * 5; }
__asm__(".symver old_and_new_2,old_and_new@@LIBRARY_2");
"#;

#[test]
fn of_several_names_the_public_plain_one_is_shown() {
    let versions = tempfile::NamedTempFile::new().unwrap();
    fs::write(versions.path(), "LIBRARY_1 { }; LIBRARY_2 { } LIBRARY_1;").unwrap();
    let script = format!("-Wl,--version-script={}", versions.path().display());
    let built = build("gcc", "library.c", C, &[&script]);
    let name = |address| {
        let found = Symbolizer::default().symbolize_file(&built.library, &[address]);
        found.into_iter().next().unwrap().unwrap().name
    };
    assert_eq!(name(address_of(&built.library, "__published")), "published");
    let resolver = address_of(&built.library, "chosen");
    assert_eq!(name(resolver), "chosen");
    assert_eq!(
        name(address_of(&built.library, "old_and_new@@LIBRARY_2") + 2),
        "old_and_new"
    );
}

#[test]
fn an_installed_library_gives_each_function_one_public_name() {
    let libc = Path::new("/lib/x86_64-linux-gnu/libc.so.6");
    if !libc.exists() {
        eprintln!("skipped: names of libc: {} is not there", libc.display());
        return;
    }
    let mut names: HashMap<(u64, u64), Vec<String>> = HashMap::new();
    for function in oracle::functions(libc, &["--dynamic"]) {
        names
            .entry((function.address, function.size))
            .or_default()
            .push(function.name);
    }
    let several: Vec<_> = names.iter().filter(|(_, names)| names.len() > 1).collect();
    assert!(several.len() > 100);
    let addresses: Vec<u64> = several.iter().map(|((address, _), _)| *address).collect();
    let found = Symbolizer::default().symbolize_file(libc, &addresses);
    let underscores = |name: &str| name.len() - name.trim_start_matches('_').len();
    for (found, (_, names)) in found.into_iter().zip(several) {
        let name = found.unwrap().name;
        assert!(!name.contains('@'), "{name}");
        let fewest = names.iter().map(|name| underscores(name)).min().unwrap();
        // With debug symbols installed there are more names than exports.
        if names.contains(&name) {
            assert_eq!(underscores(&name), fewest, "{name} of {names:?}");
        }
    }
}

#[test]
fn the_kernels_own_library_has_names() {
    let own = Pid(std::process::id());
    let mappings = read_mappings(own).unwrap();
    let Some(vdso) = mappings
        .iter()
        .find(|mapping| mapping.kind() == MappingKind::Vdso)
    else {
        eprintln!("skipped: vDSO: this kernel gives none");
        return;
    };
    let mut bytes = vec![0; usize::try_from(vdso.end - vdso.start).unwrap()];
    let memory = fs::File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut bytes, vdso.start).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    let functions = oracle::functions(file.path(), &["--dynamic"]);
    assert!(
        functions
            .iter()
            .any(|function| function.name == "clock_gettime")
    );
    for function in &functions {
        let last = function.address + function.size - 1;
        for found in Symbolizer::default().symbolize_file(file.path(), &[function.address, last]) {
            let name = found.unwrap().name;
            let at_once = functions
                .iter()
                .filter(|other| other.address == function.address);
            assert!(
                at_once.clone().any(|other| other.name == name),
                "{name} for {function:?}"
            );
        }
    }
}
