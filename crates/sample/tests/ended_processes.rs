//! A process is known to the kernel's programs until nothing of it is left, and no longer.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use viperf_abi::{Configuration, PROCESS_TARGET, Process, Record, RecordKind, decode_record};
use viperf_sample::Sampler;

const PATIENCE: Duration = Duration::from_secs(20);

/// Killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn comes_true(is_true: impl Fn() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !is_true() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    is_true()
}

/// It has ended, and nobody has waited for it.
fn is_zombie(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // The state stands behind the name, which may have spaces and parentheses.
    let status = status.unwrap_or_default();
    let state = status.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|rest| rest.starts_with('Z'))
}

/// The ends that the kernel has told since the last call.
fn told_ends(sampler: &mut Sampler, pid: u32) -> usize {
    let polled = sampler.poll(Duration::ZERO, Vec::new());
    let records = polled.records().filter_map(decode_record);
    records
        .filter(|record| matches!(record, Record::Exit(exit) if exit.tgid == pid))
        .count()
}

#[test]
fn an_ended_process_is_known_until_it_has_been_waited_for() {
    let name = "an_ended_process_is_known_until_it_has_been_waited_for";
    let mut sampler = match Sampler::load(Configuration::default(), 4 << 20) {
        Ok(sampler) => sampler,
        Err(error) => return println!("skipped: {name}: {error}"),
    };
    sampler.follow_processes().unwrap();
    // Lives until its input ends. `spawn` comes back before the kernel has told the exec.
    let mut child = Command::new("cat");
    child.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Running(child.spawn().unwrap());
    child.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    let output = child.0.stdout.as_mut().unwrap();
    output.read_exact(&mut [0]).unwrap();
    let pid = child.0.id();
    let process = Process {
        epoch: 7,
        flags: PROCESS_TARGET,
        ..Process::default()
    };
    sampler.add_process(pid, &process).unwrap();
    assert!(sampler.knows_process(pid, 7) && !sampler.knows_process(pid, 8));
    assert!(sampler.update_process(pid, &process).unwrap());
    drop(child.0.stdin.take());
    assert!(comes_true(|| is_zombie(pid)));
    // What it does at its end is sampled; nothing that would hold for its memory is told of it any longer.
    assert!(sampler.knows_process(pid, 7));
    assert!(!sampler.update_process(pid, &process).unwrap());
    assert_eq!(told_ends(&mut sampler, pid), 1, "{:?}", RecordKind::Exit);
    child.0.wait().unwrap();
    assert!(comes_true(|| !sampler.knows_process(pid, 7)));
    assert_eq!(told_ends(&mut sampler, pid), 0);
}
