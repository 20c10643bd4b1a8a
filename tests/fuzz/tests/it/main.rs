//! Each target for two seconds, or for as many as `VIPERF_FUZZ_SECONDS` says, then from another seed each time
//! unless `VIPERF_FUZZ_SEED` says which.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use peak_alloc::PeakAlloc;
use viperf_fuzz::{Target, run, targets};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One at a time: the allocator counts for all threads together.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const SEED: u64 = 0x5eed_5eed_5eed_5eed;

fn number_in_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn survive(target: &Target) -> Result<(), String> {
    let _only = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = number_in_environment("VIPERF_FUZZ_SECONDS");
    // A longer run is for inputs that the short one has not seen.
    let seed = seconds.map_or(SEED, |_| u64::from(std::process::id()));
    let seed = number_in_environment("VIPERF_FUZZ_SEED").unwrap_or(seed);
    let time = Duration::from_secs(seconds.unwrap_or(2));
    let failures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-failures");
    let summary = run(target, time, seed, &ALLOCATOR, &failures).map_err(|failure| {
        let folder = failures.display();
        format!(
            "{}: {failure}; the input is in {folder} (seed {seed})",
            target.name
        )
    })?;
    println!("{}: {summary:?}", target.name);
    Ok(())
}

macro_rules! survives {
    ($($test:ident: $target:ident,)*) => {
        $(
            #[test]
            fn $test() -> Result<(), String> {
                survive(&targets::$target())
            }
        )*
    };
}

survives! {
    damaged_elf_files_are_survived: elf,
    damaged_elf_files_that_are_read_in_parts_are_survived: partial_elf,
    damaged_eh_frame_is_survived: eh_frame,
    damaged_debug_frame_is_survived: debug_frame,
    damaged_libraries_still_get_sorted_rows: rows_of_file,
    any_code_can_be_analysed: code,
    damaged_perf_maps_are_survived: perf_map,
    damaged_jitdumps_are_survived: jitdump,
    damaged_objects_of_compilers_at_run_time_are_survived: jit_object,
    damaged_unwind_information_of_generated_code_is_survived: generated_frames,
    damaged_debug_links_are_survived: debug_link,
    damaged_line_tables_are_survived: line_tables,
    damaged_debug_offsets_are_survived: debug_offsets,
    any_text_can_be_decoded: text,
    damaged_viperf_files_are_survived: viperf_file,
    wrong_messages_in_viperf_files_are_survived: viperf_message,
}
