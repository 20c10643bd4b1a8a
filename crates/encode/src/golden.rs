//! Expected files, as text: `VIPERF_BLESS=1 cargo test -p viperf-encode` writes them anew.

use std::path::Path;

/// Compares `text` with the file `tests/golden/NAME`.
pub(crate) fn check(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("VIPERF_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        expected == text,
        "tests/golden/{name} differs; VIPERF_BLESS=1 writes it anew. It is now:\n{text}"
    );
}

/// JSON with a line per value, so that what changed can be seen.
pub(crate) fn pretty(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}
