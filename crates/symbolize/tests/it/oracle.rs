//! What binutils say about a file.

use std::path::Path;
use std::process::Command;

/// One defined function as `nm` lists it.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) name: String,
}

/// Runs a tool and gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The functions with a size in `.symtab`, or in `.dynsym` with `--dynamic` among the arguments.
pub(crate) fn functions(path: &Path, arguments: &[&str]) -> Vec<Function> {
    let mut all = vec!["--defined-only", "--print-size"];
    all.extend_from_slice(arguments);
    all.push(path.to_str().unwrap());
    run("nm", &all)
        .lines()
        .filter_map(|line| {
            let mut words = line.splitn(4, ' ');
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let size = u64::from_str_radix(words.next()?, 16).ok()?;
            let kind = words.next()?;
            let name = words.next()?.split('@').next()?.to_owned();
            (size > 0 && matches!(kind, "t" | "T" | "w" | "W" | "i")).then_some(Function {
                address,
                size,
                name,
            })
        })
        .collect()
}

/// `FILE:LINE` of each address as `addr2line` gives it, discriminators left away.
pub(crate) fn lines(path: &Path, addresses: &[u64]) -> Vec<String> {
    let addresses: Vec<String> = addresses.iter().map(|a| format!("{a:#x}")).collect();
    let mut arguments = vec!["-e", path.to_str().unwrap()];
    arguments.extend(addresses.iter().map(String::as_str));
    run("addr2line", &arguments)
        .lines()
        .map(|line| line.split(" (").next().unwrap().to_owned())
        .collect()
}

/// `FUNCTION FILE:LINE` of each inlined function and the function itself, innermost first, for each address.
pub(crate) fn inlined_frames(path: &Path, addresses: &[u64]) -> Vec<Vec<String>> {
    let addresses: Vec<String> = addresses.iter().map(|a| format!("{a:#x}")).collect();
    let mut arguments = vec!["-a", "-i", "-f", "-C", "-e", path.to_str().unwrap()];
    arguments.extend(addresses.iter().map(String::as_str));
    let output = run("addr2line", &arguments);
    let mut frames: Vec<Vec<String>> = Vec::new();
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            frames.push(Vec::new());
            continue;
        }
        let place = lines.next().unwrap().split(" (").next().unwrap();
        frames.last_mut().unwrap().push(format!("{line} {place}"));
    }
    frames
}

/// As hexadecimal digits.
pub(crate) fn build_id(path: &Path) -> String {
    let notes = run("readelf", &["-n", path.to_str().unwrap()]);
    let id = notes
        .lines()
        .find_map(|line| line.trim().strip_prefix("Build ID: "));
    id.unwrap().to_owned()
}

/// Whether a tool is there and succeeds.
pub(crate) fn try_run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
