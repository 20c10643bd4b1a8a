//! Who may use whom: the rules of ARCHITECTURE.md, checked against Cargo's own account and the sources.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{command, tree};

/// What we know; a noun uses nouns only.
const NOUNS: [&str; 6] = ["abi", "elf", "unwind", "cpython", "process", "profile"];
/// What happens to the data; a verb uses nouns, never a verb. `bpf` is the object that `sample` loads.
const VERBS: [&str; 4] = ["sample", "symbolize", "encode", "report"];
const OBJECT: &str = "bpf";
/// The pipeline uses nouns and verbs; a face uses everything, `cli` the other faces too.
const PIPELINE: &str = "agent";
const FACES: [&str; 3] = ["cli", "serve", "tui"];
const PROGRAM: &str = "cli";
/// For tests alone; they use nouns only, and nothing but tests uses them.
const FOR_TESTS: [&str; 1] = ["host-walk"];
/// Packages that are tests: they use what they test, and nothing uses them.
const TESTS: [&str; 2] = ["viperf-e2e", "viperf-fuzz"];

/// Crates that may hold `unsafe`; every other one forbids it.
const UNSAFE: [&str; 5] = ["abi", "sample", "process", "cli", "host-walk"];

/// Text that only the named crates may hold outside their tests, and why.
const RESERVED: [(&str, &[&str], &str); 5] = [
    ("\"/proc/", &["process"], "only process reads /proc"),
    (
        "SYS_perf_event_open",
        &["sample"],
        "only sample calls perf_event_open(2)",
    ),
    ("libbpf_rs", &["sample"], "only sample calls bpf(2)"),
    ("println!", &["cli", "bpf"], "only a face prints"),
    (
        "std::process::exit",
        &["cli"],
        "only a face ends the program",
    ),
];

/// Where reserved text is right all the same, and why.
const EXCEPTIONS: [(&str, &str, &str); 7] = [
    (
        "crates/cli/src/doctor/checks.rs",
        "\"/proc/sys/kernel/",
        "settings of the kernel, of no process",
    ),
    (
        "crates/cli/src/doctor/checks.rs",
        "\"/proc/kallsyms\"",
        "the kernel's symbols are of no process",
    ),
    (
        "crates/sample/src/tick.rs",
        "\"/proc/kallsyms\"",
        "the kernel's symbols are of no process",
    ),
    (
        "crates/symbolize/src/kernel.rs",
        "\"/proc/kallsyms\"",
        "the kernel's symbols are of no process",
    ),
    (
        "crates/symbolize/src/search_root.rs",
        "\"/proc/self/fd/",
        "a name for a file that viperf itself has open",
    ),
    (
        "crates/symbolize/src/generated.rs",
        "/proc/{pid}/status",
        "whose files of symbols are believed: the users that the target is and was",
    ),
    (
        "crates/agent/src/named_file.rs",
        "\"/proc/self/fd/",
        "a name for a file that viperf itself has open",
    ),
];

/// What breaks a rule.
///
/// # Errors
/// Cargo's metadata or a source file cannot be read.
pub(crate) fn complaints() -> Result<Vec<String>> {
    let metadata = command::output(
        Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(tree::root()),
    )?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is no JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let mut complaints = Vec::new();
    for package in packages {
        let Some(name) = own_name(&package["name"]) else {
            continue;
        };
        complaints.extend(wrong_dependencies(name, &used_by(package)));
    }
    for source in tree::sources()? {
        let Some(name) = crate_of(&source.path) else {
            continue;
        };
        complaints.extend(wrong_text(name, &source));
    }
    Ok(complaints)
}

/// `abi` of `viperf-abi`, `cli` of `viperf`; none for what is no crate of the product.
fn own_name(name: &Value) -> Option<&str> {
    match name.as_str()? {
        "viperf" => Some("cli"),
        name if TESTS.contains(&name) => None,
        name => name.strip_prefix("viperf-"),
    }
}

/// Our own crates that a package uses outside its tests.
fn used_by(package: &Value) -> BTreeSet<&str> {
    let dependencies = package["dependencies"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let used = dependencies
        .iter()
        .filter(|dependency| dependency["kind"] != "dev");
    used.filter_map(|dependency| own_name(&dependency["name"]))
        .collect()
}

fn wrong_dependencies(name: &str, used: &BTreeSet<&str>) -> Vec<String> {
    let mut allowed: BTreeSet<&str> = NOUNS.into();
    if VERBS.contains(&name) {
        allowed.insert(OBJECT);
    } else if name == PIPELINE || FACES.contains(&name) {
        allowed.extend(VERBS);
        allowed.insert(OBJECT);
        allowed.insert(PIPELINE);
        if name == PROGRAM {
            allowed.extend(FACES);
        }
    } else if !NOUNS.contains(&name) && !FOR_TESTS.contains(&name) && name != OBJECT {
        return vec![format!(
            "crate {name} has no place in the layers; name it in xtask and ARCHITECTURE.md"
        )];
    }
    let wrong = used
        .iter()
        .filter(|used| !allowed.contains(*used) || **used == name);
    wrong
        .map(|used| format!("{name} must not use {used}"))
        .collect()
}

fn crate_of(path: &str) -> Option<&str> {
    let (name, rest) = path.strip_prefix("crates/")?.split_once('/')?;
    (rest.starts_with("src/") && path.ends_with(".rs")).then_some(name)
}

fn wrong_text(name: &str, source: &tree::Source) -> Vec<String> {
    let mut wrong = Vec::new();
    if source.path.ends_with("src/lib.rs")
        && !UNSAFE.contains(&name)
        && !source.text.contains("forbid(unsafe_code)")
    {
        wrong.push(format!("{} does not forbid unsafe code", source.path));
    }
    for (number, line) in source.product_lines() {
        let is_excepted =
            |(path, text, _): &(&str, &str, &str)| source.path == *path && line.contains(text);
        if line.trim_start().starts_with("//") || EXCEPTIONS.iter().any(is_excepted) {
            continue;
        }
        for (text, allowed, why) in RESERVED {
            if line.contains(text) && !allowed.contains(&name) {
                wrong.push(format!("{}:{number}: {text}: {why}", source.path));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noun_uses_nouns_only() {
        assert!(wrong_dependencies("unwind", &["elf"].into()).is_empty());
        assert_eq!(
            wrong_dependencies("unwind", &["sample"].into()),
            ["unwind must not use sample"]
        );
    }

    #[test]
    fn a_verb_uses_no_verb() {
        assert_eq!(
            wrong_dependencies("encode", &["report"].into()),
            ["encode must not use report"]
        );
        assert!(wrong_dependencies("sample", &["abi", "bpf"].into()).is_empty());
        assert_eq!(
            wrong_dependencies("encode", &["symbolize"].into()),
            ["encode must not use symbolize"]
        );
    }

    #[test]
    fn the_pipeline_does_not_know_the_faces() {
        assert_eq!(
            wrong_dependencies("agent", &["cli", "sample"].into()),
            ["agent must not use cli"]
        );
        assert_eq!(wrong_dependencies("newcomer", &BTreeSet::new()).len(), 1);
    }
}
