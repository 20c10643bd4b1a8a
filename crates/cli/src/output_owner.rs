//! Whose file the output is: that of whoever started viperf, not root's, if it was started through sudo.

use std::env;
use std::fs::{File, Metadata};
use std::os::unix::fs::{MetadataExt as _, fchown};

/// Gives a file that was just made to whom it belongs: like the one that it replaces, or to the user behind sudo.
/// Where that is not permitted it stays as it is.
pub(crate) fn give(file: &File, replaced: Option<&Metadata>) {
    let Ok(made) = file.metadata() else {
        return;
    };
    let owner = match replaced {
        Some(replaced) => Some((replaced.uid(), replaced.gid())),
        None => find_sudo_user(made.uid(), |name| env::var(name).ok()),
    };
    if let Some((user, group)) = owner.filter(|owner| *owner != (made.uid(), made.gid())) {
        // A file that stays root's is still the file that was asked for.
        let _ = fchown(file, Some(user), Some(group));
    }
    if let Some(replaced) = replaced {
        let _ = file.set_permissions(replaced.permissions());
    }
}

/// User and group behind sudo, if root is who makes the file.
fn find_sudo_user(maker: u32, variable: impl Fn(&str) -> Option<String>) -> Option<(u32, u32)> {
    let number = |name: &str| variable(name)?.parse().ok();
    (maker == 0).then_some((number("SUDO_UID")?, number("SUDO_GID")?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_root_under_sudo_gives_files_away() {
        let sudo = |name: &str| match name {
            "SUDO_UID" => Some("1000".to_owned()),
            "SUDO_GID" => Some("100".to_owned()),
            _ => None,
        };
        assert_eq!(find_sudo_user(0, sudo), Some((1000, 100)));
        assert_eq!(find_sudo_user(1000, sudo), None);
        assert_eq!(find_sudo_user(0, |_| None), None);
        assert_eq!(find_sudo_user(0, |_| Some("-1".to_owned())), None);
    }

    #[test]
    fn what_replaces_a_file_has_its_owner_and_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let old = File::create(folder.path().join("old")).unwrap();
        old.set_permissions(fs::Permissions::from_mode(0o640))
            .unwrap();
        if fchown(&old, Some(65534), Some(65534)).is_err() {
            return println!("skipped: the owner of a replaced file: not root");
        }
        let new = File::create(folder.path().join("new")).unwrap();
        give(&new, Some(&old.metadata().unwrap()));
        let made = new.metadata().unwrap();
        assert_eq!(
            (made.uid(), made.gid(), made.mode() & 0o777),
            (65534, 65534, 0o640)
        );
    }
}
