//! Sampling on the kernel's own timer tick.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    time::Duration,
};

use libbpf_rs::{Link, ProgramMut};

use crate::{SampleError, load::is_before_5_15, memory_map::MemoryMap};

/// What makes the program run that takes a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// An event of viperf's own on each CPU, at any rate.
    #[default]
    Event,
    /// The tick of the kernel's timer, which comes anyway: for rates up to its own.
    Tick,
}

/// Where the programs read how many of the ticks they are to sample.
pub(crate) const SHARE_MAP: &str = ".data.clock";

/// Where each of a CPU's timers runs out; the tick is one of them.
const TRACEPOINT: &str = "hrtimer_expire_entry";

/// The functions that the tick's timer calls, each in other kernels; the programs know it by its name (`clock.h`).
const TICK_FUNCTIONS: [&str; 2] = ["tick_nohz_handler", "tick_sched_timer"];
/// The kernel's names, as it tells them to programs.
const KERNEL_NAMES: &str = "/proc/kallsyms";

/// Says what of the kernel's own the programs need and do not find.
///
/// # Errors
/// The kernel is too old to tell a program the name of a function, its tick is no timer like others, or has no name.
pub(crate) fn check_kernel() -> Result<(), SampleError> {
    if is_before_5_15() {
        return Err(lacks("it needs Linux 5.15 or newer"));
    }
    // Timers of the resolution of a tick run out with it, not by themselves.
    if resolution(libc::CLOCK_MONOTONIC) >= length() {
        return Err(lacks(
            "this kernel has no timers of high resolution (highres=off)",
        ));
    }
    // Names that cannot be read are no reason to refuse: the programs do not read them there.
    match File::open(KERNEL_NAMES).map(|names| find_tick(BufReader::with_capacity(1 << 16, names)))
    {
        Ok(Ok(false)) => Err(lacks(&no_function())),
        _ => Ok(()),
    }
}

/// Whether one of the lines (`address kind name`, and a module for some) names the tick's function.
fn find_tick(mut lines: impl BufRead) -> std::io::Result<bool> {
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let name = line
            .split(u8::is_ascii_whitespace)
            .nth(2)
            .unwrap_or_default();
        if TICK_FUNCTIONS
            .iter()
            .any(|wanted| wanted.as_bytes() == name)
        {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

fn no_function() -> String {
    let functions = TICK_FUNCTIONS.join(" nor ");
    format!(
        "{KERNEL_NAMES} names neither {functions}, by which the tick is known: boot a kernel with CONFIG_KALLSYMS and one of them"
    )
}

fn lacks(why: &str) -> SampleError {
    SampleError::NoTick {
        why: why.to_owned(),
    }
}

/// From one tick to the next: what the coarse clocks count in, 1 to 10 ms.
pub(crate) fn length() -> Duration {
    resolution(libc::CLOCK_MONOTONIC_COARSE)
}

fn resolution(clock: libc::clockid_t) -> Duration {
    let mut resolution = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel fills the struct, which lives across the call; both clocks are always there.
    unsafe { libc::clock_getres(clock, &raw mut resolution) };
    Duration::new(
        resolution.tv_sec.unsigned_abs(),
        (resolution.tv_nsec.unsigned_abs() as u32).max(1),
    )
}

/// Of 2^32 ticks so many are to be sampled, each of which then stands for a period; `None` when the period is shorter than
/// a tick.
fn share(tick: Duration, period: Duration) -> Option<u64> {
    // The tick of 300 Hz is no whole number of nanoseconds.
    let longest = tick.as_nanos() - tick.as_nanos() / 1000;
    let all = 1_u128 << 32;
    let share = (tick.as_nanos() * all).checked_div(period.as_nanos())?;
    (period.as_nanos() >= longest).then(|| share.min(all) as u64)
}

/// Makes the programs sample one tick in each period on average.
///
/// # Errors
/// The tick is slower than that.
pub(crate) fn set_period(shares: &MemoryMap, period: Duration) -> Result<(), SampleError> {
    let tick = length();
    let Some(share) = share(tick, period) else {
        let hz = (1.0 / tick.as_secs_f64()).round();
        return Err(lacks(&format!(
            "this kernel's timer ticks {hz} times a second: choose a --rate of {hz} at most"
        )));
    };
    shares.write(0, &share.to_ne_bytes());
    Ok(())
}

/// Starts the sampling program on every CPU.
pub(crate) fn attach(program: &ProgramMut<'_>) -> Result<Link, SampleError> {
    program
        .attach_raw_tracepoint(TRACEPOINT)
        .map_err(|source| SampleError::from_bpf("attaching to the timer tick", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tick_is_sampled_with_the_odds_that_give_the_rate() {
        let share_at = |tick_ns, period_ns| {
            share(
                Duration::from_nanos(tick_ns),
                Duration::from_nanos(period_ns),
            )
        };
        assert_eq!(share_at(4_000_000, 4_000_000), Some(1 << 32));
        assert_eq!(share_at(4_000_000, 8_000_000), Some(1 << 31));
        assert_eq!(share_at(3_333_333, 3_333_333), Some(1 << 32));
        assert_eq!(share_at(3_333_334, 3_333_333), Some(1 << 32));
        assert_eq!(share_at(4_000_000, 1_000_000), None);
        assert_eq!(share_at(10_000_000, 4_000_000), None);
    }

    #[test]
    fn a_kernel_without_the_ticks_function_is_told_from_one_that_has_it() {
        let lines = |name: &str| format!("0000000000000000 T _text\n0000000000000000 t {name}\n");
        let has_tick = |name| find_tick(lines(name).as_bytes()).unwrap();
        assert!(has_tick("tick_nohz_handler") && has_tick("tick_sched_timer"));
        assert!(has_tick("tick_sched_timer\t[a_module]"));
        for other in [
            "tick_sched_timer.llvm.1",
            "tick_sched",
            "",
            "a tick_nohz_handler",
        ] {
            assert!(!has_tick(other), "{other}");
        }
        assert!(!find_tick(&b""[..]).unwrap());
        let said = lacks(&no_function()).to_string();
        for part in ["tick_nohz_handler", "CONFIG_KALLSYMS", "--clock tick"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn the_programs_look_for_the_same_names() {
        let source = include_str!("../../bpf/src/bpf/clock.h");
        for name in TICK_FUNCTIONS {
            assert!(source.contains(&format!("\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn the_tick_of_this_machine_is_between_one_and_ten_milliseconds() {
        let tick = length();
        assert!(
            tick >= Duration::from_micros(900) && tick <= Duration::from_millis(11),
            "{tick:?}"
        );
    }
}
