//! From what the user named to the folder of a control group.

use std::path::{Path, PathBuf};

use viperf_process::ControlGroupVersion;

use crate::{RecordError, Target};

/// The folder that a target stands for; `None` when it is no control group.
pub(crate) fn find_folder(target: &Target) -> Result<Option<PathBuf>, RecordError> {
    match target {
        Target::ControlGroup(path) => find_control_group(path).map(Some),
        Target::Container(prefix) => find_container(prefix).map(Some),
        Target::Pids(_) | Target::Command(_) | Target::EveryPython | Target::EveryProcess => {
            Ok(None)
        }
    }
}

fn root_of(path: &Path) -> Result<PathBuf, RecordError> {
    viperf_process::find_control_groups().ok_or_else(|| RecordError::NoControlGroup {
        path: path.to_owned(),
        why: "the unified hierarchy is not mounted (mount -t cgroup2 none /sys/fs/cgroup)"
            .to_owned(),
    })
}

/// As it was given, if that is a folder of the hierarchy; else below where that is mounted, as `/proc/PID/cgroup` has it.
fn find_control_group(path: &Path) -> Result<PathBuf, RecordError> {
    let root = root_of(path)?;
    let below = root.join(path.strip_prefix("/").unwrap_or(path));
    let no_control_group = |why: String| RecordError::NoControlGroup {
        path: path.to_owned(),
        why,
    };
    let mut first_version = false;
    for folder in [path, &below] {
        match viperf_process::read_control_group_version(folder) {
            Ok(Some(ControlGroupVersion::Second)) if folder.is_dir() => {
                return Ok(folder.to_owned());
            }
            Ok(Some(ControlGroupVersion::First)) => first_version = true,
            Ok(_) | Err(_) => {}
        }
    }
    Err(no_control_group(match first_version {
        true => format!(
            "it is of version 1, whose processes the kernel cannot be asked for; name them: -p $(paste -sd, {}/cgroup.procs)",
            path.display()
        ),
        false => format!(
            "give a folder below {}, or its path from there",
            root.display()
        ),
    }))
}

fn find_container(prefix: &str) -> Result<PathBuf, RecordError> {
    let root = root_of(Path::new(prefix))?;
    let mut found = viperf_process::list_containers(&root, prefix);
    // A whole name may be the beginning of others.
    if let Some(index) = found
        .iter()
        .position(|(container, _)| container.id == prefix)
    {
        return Ok(found.swap_remove(index).1);
    }
    if let [(_, folder)] = found.as_slice() {
        return Ok(folder.clone());
    }
    if found.is_empty() {
        found = viperf_process::list_containers(&root, "");
    }
    let candidates = found.iter().map(|(container, folder)| {
        let path = folder.strip_prefix(&root).unwrap_or(folder);
        let text = format!("0::/{}", path.display());
        let group = viperf_process::parse_control_group(text.as_bytes());
        let short: String = container
            .id
            .chars()
            .take(SHORT_ID.max(prefix.len()))
            .collect();
        match viperf_process::read_container_facts(&group).name {
            Some(name) => format!("{short} ({name})"),
            None => short,
        }
    });
    Err(RecordError::NoContainer {
        prefix: prefix.to_owned(),
        candidates: candidates.collect(),
    })
}

/// As many digits of an ID as `docker ps` shows.
const SHORT_ID: usize = 12;

/// So many containers are listed.
const LISTED_CONTAINERS: usize = 10;

/// Why no container is meant, with those that could be.
pub(crate) fn describe_choice(prefix: &str, candidates: &[String]) -> String {
    let listed = candidates.get(..LISTED_CONTAINERS).unwrap_or(candidates);
    let more = match candidates.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let list = format!("{}{more}", listed.join(", "));
    let is_ambiguous = candidates
        .iter()
        .all(|candidate| candidate.starts_with(prefix));
    match (candidates, is_ambiguous) {
        ([], _) => format!(
            "there is no container {prefix}: no control group of this machine is a container's"
        ),
        (_, true) => format!("{prefix} is the beginning of more than one container: {list}"),
        (_, false) => format!("there is no container {prefix}; there are {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_to_choose_from_are_named() {
        let text = |candidates: &[&str]| {
            let candidates: Vec<String> = candidates.iter().map(ToString::to_string).collect();
            describe_choice("ab", &candidates)
        };
        assert_eq!(
            text(&["abc (web)", "abd"]),
            "ab is the beginning of more than one container: abc (web), abd"
        );
        assert_eq!(text(&["cde"]), "there is no container ab; there are cde");
        assert!(text(&[]).starts_with("there is no container ab: no control group"));
        assert!(text(&["x"; 12]).ends_with("x and 2 more"));
    }

    #[test]
    fn what_is_no_control_group_is_named_with_what_would_be_one() {
        let Some(root) = viperf_process::find_control_groups() else {
            println!("skipped: there is no unified hierarchy");
            return;
        };
        for path in ["/etc", "/no/such/group", "no/such/group"] {
            let error = find_control_group(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
            assert!(error.contains(&root.display().to_string()), "{error}");
        }
        assert_eq!(find_control_group(&root).unwrap(), root);
        assert_eq!(find_control_group(Path::new("/")).unwrap(), root.join(""));
        let error = find_container("no such container").unwrap_err();
        assert!(matches!(error, RecordError::NoContainer { .. }), "{error}");
    }
}
