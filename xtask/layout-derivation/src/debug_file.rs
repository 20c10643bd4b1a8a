//! What an interpreter's file says of itself beside its debug information: its version, and where that lies if it
//! is in a file of its own.

use std::path::{Path, PathBuf};

use object::{File, Object, ObjectSection, ObjectSymbol};

use crate::Version;

/// The version of an interpreter from its variable `Py_Version`, which exists from 3.11 on.
#[must_use]
pub fn find_version(elf: &[u8]) -> Option<Version> {
    let file = File::parse(elf).ok()?;
    let mut symbols = file.dynamic_symbols().chain(file.symbols());
    let symbol =
        symbols.find(|symbol| symbol.name() == Ok("Py_Version") && symbol.is_definition())?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let bytes = section.data_range(symbol.address(), 8).ok()??;
    let hex = u64::from_le_bytes(bytes.try_into().ok()?);
    Some(Version::from_hex(u32::try_from(hex).ok()?))
}

/// Files that may hold the debug information of the ELF file at `path`, whose bytes are given, likeliest first: the
/// file itself, then those named by its build ID and by its `.gnu_debuglink`.
///
/// Under the system's root and under every folder above the file, which may be a root of its own.
/// <https://sourceware.org/gdb/current/onlinedocs/gdb.html/Separate-Debug-Files.html>
#[must_use]
pub fn debug_file_candidates(path: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let Ok(file) = File::parse(bytes) else {
        return Vec::new();
    };
    if file
        .section_by_name(".debug_info")
        .is_some_and(|section| section.size() > 0)
    {
        return vec![path.to_owned()];
    }
    let mut candidates = Vec::new();
    if let Ok(Some(build_id)) = file.build_id() {
        let digits: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some((first, rest)) = digits.split_at_checked(2) {
            let below = format!("usr/lib/debug/.build-id/{first}/{rest}.debug");
            candidates.extend(path.ancestors().skip(1).map(|folder| folder.join(&below)));
        }
    }
    if let (Ok(Some((name, _checksum))), Some(folder)) = (file.gnu_debuglink(), path.parent()) {
        let name = String::from_utf8_lossy(name).into_owned();
        candidates.push(folder.join(&name));
        candidates.push(folder.join(".debug").join(&name));
        let from_root = folder.strip_prefix("/").unwrap_or(folder);
        candidates.push(Path::new("/usr/lib/debug").join(from_root).join(&name));
    }
    candidates
}
