//! Where symbols are when they are not in the file itself: separate debug files and `.gnu_debugdata`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use viperf_symbolize::{NativeFile, NativeSymbol, NoSymbol, SearchRoot, Symbolizer};

use crate::compiled::{address_of, build_c, path_text};
use crate::oracle;

/// A folder that is a target's root, with a stripped library in it, whose debug file is elsewhere.
struct Target {
    folder: TempDir,
    library: PathBuf,
    debug_file: PathBuf,
    /// Of the local function `hidden`.
    hidden: u64,
    expected_line: String,
}

const PATH: &str = "/opt/app/library.so";

fn target() -> Target {
    let built = build_c();
    let hidden = address_of(&built.library, "hidden");
    let expected_line = oracle::lines(&built.library, &[hidden]).remove(0);
    let folder = TempDir::new().unwrap();
    let library = folder.path().join(&PATH[1..]);
    fs::create_dir_all(library.parent().unwrap()).unwrap();
    let debug_file = folder.path().join("kept.debug");
    let text = path_text;
    oracle::run(
        "objcopy",
        &["--only-keep-debug", text(&built.library), text(&debug_file)],
    );
    oracle::run("strip", &["-o", text(&library), text(&built.library)]);
    Target {
        folder,
        library,
        debug_file,
        hidden,
        expected_line,
    }
}

impl Target {
    fn symbolize(&self) -> Result<NativeSymbol, NoSymbol> {
        let root = SearchRoot::open(self.folder.path()).unwrap();
        let file = NativeFile {
            path: &self.library,
            original_path: Some(Path::new(PATH)),
            root: Some(&root),
        };
        Symbolizer::default()
            .symbolize_native(&file, &[self.hidden])
            .remove(0)
    }

    fn place(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn assert_found(&self) {
        let symbol = self.symbolize().unwrap();
        assert_eq!(symbol.name, "hidden");
        let line = format!("{}:{}", symbol.file.unwrap(), symbol.line.unwrap());
        assert_eq!(line, self.expected_line);
    }

    fn build_id_path(&self) -> String {
        let id = oracle::build_id(&self.library);
        format!("usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..])
    }

    /// The link that says: my debug file is called `name` and has the contents of `debug_file`.
    fn add_link(&self, name: &str) {
        let named = self.folder.path().join(name);
        fs::copy(&self.debug_file, &named).unwrap();
        let link = format!("--add-gnu-debuglink={}", path_text(&named));
        oracle::run("objcopy", &[&link, path_text(&self.library)]);
        fs::remove_file(named).unwrap();
    }
}

#[test]
fn a_debug_file_is_found_by_build_id_in_the_targets_root() {
    let target = target();
    assert_eq!(target.symbolize(), Err(NoSymbol::Stripped));
    fs::copy(&target.debug_file, target.place(&target.build_id_path())).unwrap();
    target.assert_found();
}

#[test]
fn a_debug_link_is_followed_to_the_places_where_gdb_looks() {
    for place in [
        "opt/app/library.debug",
        "opt/app/.debug/library.debug",
        "usr/lib/debug/opt/app/library.debug",
    ] {
        let target = target();
        target.add_link("library.debug");
        assert_eq!(target.symbolize(), Err(NoSymbol::Stripped), "{place}");
        fs::copy(&target.debug_file, target.place(place)).unwrap();
        target.assert_found();
    }
}

#[test]
fn a_debug_file_of_another_build_is_not_believed() {
    let target = target();
    target.add_link("library.debug");
    let mut other = fs::read(&target.debug_file).unwrap();
    // The check sum of the link tells them apart.
    other.push(0);
    fs::write(target.place("opt/app/library.debug"), &other).unwrap();
    assert_eq!(target.symbolize(), Err(NoSymbol::Stripped));
    // The name says the build ID, the contents are of another one.
    let liar = build_c_with_another_id();
    fs::copy(liar, target.place(&target.build_id_path())).unwrap();
    assert_eq!(target.symbolize(), Err(NoSymbol::Stripped));
}

fn build_c_with_another_id() -> PathBuf {
    // The test itself is an ELF file with symbols.
    std::env::current_exe().unwrap()
}

#[test]
fn a_check_sum_is_enough_where_there_is_no_build_id() {
    let target = target();
    for file in [&target.library, &target.debug_file] {
        oracle::run(
            "objcopy",
            &["--remove-section=.note.gnu.build-id", path_text(file)],
        );
    }
    target.add_link("library.debug");
    let place = target.place("opt/app/library.debug");
    fs::copy(&target.debug_file, &place).unwrap();
    target.assert_found();
    fs::write(
        &place,
        [fs::read(&target.debug_file).unwrap(), vec![0]].concat(),
    )
    .unwrap();
    assert_eq!(target.symbolize(), Err(NoSymbol::Stripped));
}

#[test]
fn links_and_pipes_in_a_container_lead_nowhere_outside() {
    let target = target();
    let place = target.place(&target.build_id_path());
    // As seen from outside, this link leads to the right file; in the container it leads nowhere.
    let outside = TempDir::new().unwrap();
    let file = outside.path().join("file.debug");
    fs::copy(&target.debug_file, &file).unwrap();
    symlink(&file, &place).unwrap();
    assert_eq!(target.symbolize(), Err(NoSymbol::Stripped));
    fs::remove_file(&place).unwrap();
    oracle::run("mkfifo", &[path_text(&place)]);
    assert_eq!(target.symbolize(), Err(NoSymbol::Stripped));
    fs::remove_file(&place).unwrap();
    symlink("/kept.debug", &place).unwrap();
    target.assert_found();
}

#[test]
fn debug_information_may_be_compressed() {
    for kind in ["zlib", "zstd"] {
        let target = target();
        let place = target.place(&target.build_id_path());
        let compress = format!("--compress-debug-sections={kind}");
        let done = oracle::try_run(
            "objcopy",
            &[&compress, path_text(&target.debug_file), path_text(&place)],
        );
        if !done {
            eprintln!("skipped: {kind}: objcopy cannot compress by it");
            continue;
        }
        target.assert_found();
    }
}

#[test]
fn names_shared_by_dwz_are_found() {
    if !oracle::try_run("dwz", &["--version"]) {
        eprintln!("skipped: names shared by dwz: there is no dwz");
        return;
    }
    let target = target();
    let place = target.place(&target.build_id_path());
    let other = target.folder.path().join("other.debug");
    fs::copy(&target.debug_file, &place).unwrap();
    fs::copy(&target.debug_file, &other).unwrap();
    let shared = place.with_file_name("shared");
    oracle::run(
        "dwz",
        &[
            "-m",
            path_text(&shared),
            "-r",
            path_text(&place),
            path_text(&other),
        ],
    );
    target.assert_found();
}

#[test]
fn a_mini_symbol_table_names_local_functions() {
    // As described in gdb's manual: the symbols that are not exported, compressed, in a section.
    let built = build_c();
    let (hidden, exported) = (
        address_of(&built.library, "hidden"),
        address_of(&built.library, "exported"),
    );
    let folder = TempDir::new().unwrap();
    let mini = folder.path().join("mini");
    let stripped = folder.path().join("library.so");
    oracle::run(
        "objcopy",
        &[
            "-S",
            "--remove-section=.gdb_index",
            "--remove-section=.comment",
            "--keep-symbol=hidden",
            path_text(&built.library),
            path_text(&mini),
        ],
    );
    oracle::run(
        "strip",
        &["-o", path_text(&stripped), path_text(&built.library)],
    );
    oracle::run("xz", &[path_text(&mini)]);
    let symbolizer = Symbolizer::default();
    let name = || {
        symbolizer
            .symbolize_file(&stripped, &[hidden])
            .remove(0)
            .map(|symbol| symbol.name)
    };
    assert_eq!(name(), Err(NoSymbol::Stripped));
    let add = format!("--add-section=.gnu_debugdata={}.xz", path_text(&mini));
    oracle::run("objcopy", &[&add, path_text(&stripped)]);
    assert_eq!(name().unwrap(), "hidden");
    let found = symbolizer.symbolize_file(&stripped, &[exported, 0x7fff_ffff]);
    assert_eq!(found[0].as_ref().unwrap().name, "exported");
    assert_eq!(found[1], Err(NoSymbol::NoSymbolAtAddress));
}

#[test]
fn a_sparse_file_of_terabytes_costs_no_more_than_its_symbols() {
    let built = build_c();
    let exported = address_of(&built.library, "exported");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&built.library)
        .unwrap();
    if file
        .set_len(3 << 40)
        .or_else(|_| file.set_len(3 << 30))
        .is_err()
    {
        eprintln!(
            "skipped: sparse files: the file system of temporary files has none of this size"
        );
        return;
    }
    let found = Symbolizer::default().symbolize_file(&built.library, &[exported]);
    assert_eq!(found[0].as_ref().unwrap().name, "exported");
}
