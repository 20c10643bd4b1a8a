//! What machine this is.

use std::fs;

/// The machine's name; empty when it cannot be read.
#[must_use]
pub fn read_hostname() -> String {
    read_line("/proc/sys/kernel/hostname")
}

/// The running kernel's release, such as "6.1.0-18-amd64"; empty when it cannot be read.
#[must_use]
pub fn read_kernel_release() -> String {
    read_line("/proc/sys/kernel/osrelease")
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn name_and_release_are_those_that_uname_gives() {
        let uname = |flag| {
            let output = Command::new("uname").arg(flag).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(read_hostname(), uname("-n"));
        assert_eq!(read_kernel_release(), uname("-r"));
    }
}
