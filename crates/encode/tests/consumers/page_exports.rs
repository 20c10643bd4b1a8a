//! What the page saves by itself, opened by the same consumers as what `viperf convert` writes.

use std::process::Command;

use viperf_encode::Format;

use super::synthetic::NEEDLE;
use super::{
    SAMPLES, answer, as_samples, assert_go_counts_every_sample, assert_samples, by_node,
    find_program, node_modules, script, synthetic, total, write,
};

#[test]
fn the_pages_own_pprof_and_speedscope_count_every_sample() {
    let Some(modules) = node_modules() else {
        eprintln!("skipped: the page's exports: VIPERF_TEST_NODE_MODULES names no folder");
        return;
    };
    let Some(chromium) = find_program(&["chromium", "chromium-browser", "google-chrome"]) else {
        eprintln!("skipped: the page's exports: no Chromium in PATH");
        return;
    };
    let (folder, page) = write(Format::Html);
    let output = Command::new("node")
        .arg(script("export_page.mjs"))
        .args([&modules, &page, folder.path(), &chromium])
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: the page's exports: no node in PATH");
        return;
    };
    let Some(saved) = answer("the page's exports", output) else {
        return;
    };
    let file = |format: &str| folder.path().join(saved[format].as_str().expect("a file"));

    let pprof = file("pprof");
    let found =
        by_node("pprof-format", &pprof).expect("its page was opened with the same packages");
    assert_eq!(found["samples"], SAMPLES);
    assert_eq!(found["total"], total(&synthetic().profile));
    assert_eq!(found["needle_samples"], synthetic().needle_samples);
    assert_eq!(found["types"], "samples/count cpu/nanoseconds");
    assert_go_counts_every_sample(folder.path(), &pprof);

    let found = by_node("speedscope", &file("speedscope"));
    let found = found.expect("its page was opened with the same packages");
    assert_eq!(found["errors"], 0);
    let row = &found["profiles"][0];
    assert_samples(as_samples(&row["total"], 1e9), SAMPLES as u64);
    assert_samples(as_samples(&row["needle"], 1e9), synthetic().needle_samples);

    let folded = std::fs::read_to_string(file("folded")).expect("text");
    let counts = |wanted: &str| -> u64 {
        let lines = folded.lines().filter(|line| line.contains(wanted));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum()
    };
    assert_eq!(counts(""), SAMPLES as u64);
    assert_eq!(counts(NEEDLE), synthetic().needle_samples);
}
