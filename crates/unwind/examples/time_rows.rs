//! What the unwind rows of files cost: `measure FILE...` prints one line of the table in `docs/unwinding.md` for each.

use std::path::Path;
use std::time::{Duration, Instant};

use viperf_elf::Image;
use viperf_unwind::{
    Row, Rule, analyse_code, build_rows_of_image, find_code_to_analyse, find_rule,
};

const TURNS: u32 = 3;
const LOOKUPS: u32 = 1_000_000;

/// The fastest of some turns, and what the last one gave.
fn time<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut fastest = Duration::MAX;
    let mut result = None;
    for _ in 0..TURNS {
        let started = Instant::now();
        result = Some(work());
        fastest = fastest.min(started.elapsed());
    }
    (fastest, result.expect("there is a turn at least"))
}

/// Bytes that have a rule.
fn covered(rows: &[Row], code: &[std::ops::Range<u64>]) -> u64 {
    let pairs = rows.windows(2).filter(|pair| pair[0].rule != Rule::NONE);
    let within = |pair: &[Row]| {
        let (start, end) = (u64::from(pair[0].pc), u64::from(pair[1].pc));
        let part = code
            .iter()
            .map(|code| end.min(code.end).saturating_sub(start.max(code.start)));
        part.sum::<u64>()
    };
    pairs.map(within).sum()
}

/// The mean time of a search for one row, of addresses spread over all rows in no order.
fn lookup(rows: &[Row]) -> Duration {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Duration::ZERO;
    };
    let length = u64::from(last.pc - first.pc).max(1);
    let mut state = 0x9e37_79b9_u64;
    let started = Instant::now();
    for _ in 0..LOOKUPS {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let pc = u64::from(first.pc) + (state >> 32) % length;
        std::hint::black_box(find_rule(rows, u32::try_from(pc).unwrap_or(u32::MAX)));
    }
    started.elapsed() / LOOKUPS
}

fn measure(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path)?;
    let image = Image::parse(&bytes)?;
    let code = image.code_sections();
    let size: u64 = code.iter().map(|part| part.end - part.start).sum();
    let share = |rows: &[Row]| 100.0 * covered(rows, &code) as f64 / size.max(1) as f64;
    let (build, table) = time(|| build_rows_of_image(&image).unwrap_or_default());
    let (analysis, more) = time(|| {
        let mut table = table.clone();
        if !find_code_to_analyse(&image, &table).is_empty() {
            analyse_code(&image, &mut table);
        }
        table
    });
    println!(
        "| {} | {:.1} | {} | {} | {} | {:.1} | {:.2} | {} | {:.2} | {:.0} | {} | {} |",
        path.file_name().unwrap_or_default().to_string_lossy(),
        size as f64 / f64::from(1 << 20),
        table.fdes,
        table.rows.len(),
        table.rows.len() * size_of::<Row>() / 1024,
        build.as_secs_f64() * 1e3,
        share(&table.rows),
        more.rows.len().saturating_sub(table.rows.len()),
        share(&more.rows),
        analysis.as_secs_f64() * 1e3,
        usize::BITS - more.rows.len().leading_zeros(),
        lookup(&more.rows).as_nanos(),
    );
    Ok(())
}

fn main() {
    println!(
        "| file | code MiB | FDEs | rows | KiB | build ms | covered % | extra rows | then % | analysis ms | steps | look-up ns |"
    );
    for path in std::env::args().skip(1) {
        if let Err(error) = measure(Path::new(&path)) {
            eprintln!("{path}: {error}");
        }
    }
}
