//! From what was seen to the dump: names, states, the order of threads.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant, SystemTime},
};

use viperf_abi::{SAMPLE_NO_THREAD_STATE, SAMPLE_PYTHON, ThreadRecord};
use viperf_profile::{
    Activity, Dump, DumpedFrame, DumpedProcess, DumpedStack, DumpedThread, FrameKind, Gil, Profile,
    Sample, SystemCall,
};

use super::{
    gil, local_variables,
    seen::{Seen, Sightings, Unseen},
    source_text::SourceTexts,
};
use crate::{build_profile::Builder, recording::Recording, statistics::Costs};

/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/sched.h#L105>
mod task_state {
    pub(super) const INTERRUPTIBLE: u32 = 1;
    pub(super) const UNINTERRUPTIBLE: u32 = 2;
    pub(super) const STOPPED: u32 = 4;
    pub(super) const TRACED: u32 = 8;
    pub(super) const EXITING: u32 = 0x10 | 0x20 | 0x80;
}

/// Makes the dump of what was seen. `recording` and `builder` keep what the next dump can use.
pub(super) fn build(
    recording: &mut Recording,
    builder: &mut Builder,
    sightings: Sightings,
    started: SystemTime,
    took: Duration,
) -> Dump {
    let (seen, unseen) = sightings.into_parts();
    for one in &seen {
        recording.add_sample(&one.sample, one.stack);
    }
    let processes = &recording.processes;
    let find = |pid, process| processes.python_of(pid, process);
    recording.threads.read_names(Instant::now(), find);
    recording.generated.refresh_all();
    let costs = Costs {
        sampled_for: took,
        ..Costs::default()
    };
    builder.let_samples_go();
    builder.take(recording.take_news());
    builder.grow(None, &mut |_done, _total| {});
    builder.note_costs(&costs, Some(&started));
    let profile = builder.profile();
    let seen = seen.into_iter().map(|one| (one.sample.tid, one)).collect();
    let mut dump = Dump {
        viperf_version: profile.information.viperf_version.clone(),
        hostname: profile.information.hostname.clone(),
        kernel: profile.information.kernel.clone(),
        taken_unix_ns: profile.information.started_unix_ns,
        took_ns: took.as_nanos() as u64,
        processes: Vec::new(),
    };
    dump.processes = list_processes(profile, &seen, recording, unseen);
    dump
}

fn list_processes(
    profile: &Profile,
    seen: &HashMap<u32, Seen>,
    recording: &Recording,
    unseen: Vec<Unseen>,
) -> Vec<DumpedProcess> {
    let mut processes: BTreeMap<u32, DumpedProcess> = BTreeMap::new();
    let mut texts: HashMap<u32, SourceTexts> = HashMap::new();
    for sample in &profile.samples {
        let Some((pid, thread)) = describe(profile, sample, seen, &mut texts) else {
            continue;
        };
        let process = processes
            .entry(pid)
            .or_insert_with(|| describe_process(recording, pid));
        process.threads.push(thread);
    }
    for thread in unseen {
        let process = processes
            .entry(thread.pid)
            .or_insert_with(|| describe_process(recording, thread.pid));
        process.threads.push(DumpedThread {
            tid: thread.tid,
            name: kernel_name(&thread.name),
            activity: Activity::Unknown,
            system_call: None,
            gil: Gil::Unknown,
            is_python: true,
            stack: Err(thread.why.text()),
        });
    }
    for process in processes.values_mut() {
        let holds = |thread: &DumpedThread| thread.gil != Gil::Holds;
        process
            .threads
            .sort_by_key(|thread| (holds(thread), thread.tid));
    }
    processes.into_values().collect()
}

fn describe_process(recording: &Recording, pid: u32) -> DumpedProcess {
    let Some(described) = recording.processes.describe_last(pid) else {
        return DumpedProcess {
            pid,
            ..DumpedProcess::default()
        };
    };
    DumpedProcess {
        pid,
        parent_pid: described.parent,
        name: described.name.clone(),
        command_line: described.command_line.clone(),
        python_version: described.python_version.clone(),
        threads: Vec::new(),
    }
}

/// The thread of a sample, and its pid.
fn describe(
    profile: &Profile,
    sample: &Sample,
    seen: &HashMap<u32, Seen>,
    texts: &mut HashMap<u32, SourceTexts>,
) -> Option<(u32, DumpedThread)> {
    let thread = profile.thread(sample.thread).ok()?;
    let process = profile.process(thread.process).ok()?;
    let one = seen.get(&thread.tid)?;
    let texts = texts
        .entry(process.pid)
        .or_insert_with(|| SourceTexts::new(process.pid));
    let frames = profile.stacks.frames_leaf_first(sample.stack);
    let mut frames: Vec<DumpedFrame> = frames
        .filter_map(|frame| describe_frame(profile, frame, texts))
        .collect();
    local_variables::assign(&mut frames, &one.locals);
    let record = one.record.as_ref();
    let flags = one.sample.flags;
    let name = profile.string(thread.name).unwrap_or_default();
    let described = DumpedThread {
        tid: thread.tid,
        name: name
            .strip_suffix(crate::threads::NO_PYTHON)
            .unwrap_or(name)
            .to_owned(),
        activity: record.map_or(Activity::OnCpu, activity),
        system_call: record.and_then(system_call),
        gil: gil::of_thread(flags, record, &frames),
        is_python: flags & SAMPLE_PYTHON != 0 && flags & SAMPLE_NO_THREAD_STATE == 0,
        stack: Ok(DumpedStack {
            frames: frames
                .into_iter()
                .filter(|frame| frame.kind != FrameKind::Interpreter)
                .collect(),
            complete: sample.complete,
        }),
    };
    Some((process.pid, described))
}

fn describe_frame(
    profile: &Profile,
    frame: viperf_profile::FrameHandle,
    texts: &mut SourceTexts,
) -> Option<DumpedFrame> {
    let frame = profile.frame(frame).ok()?;
    let function = profile.function(frame.function).ok()?;
    let text = |handle| profile.string(handle).unwrap_or_default().to_owned();
    let file = function.file.map(text);
    let line = match (&file, function.kind) {
        (Some(file), FrameKind::Python) => texts.line(file, frame.source.line),
        _ => None,
    };
    let library = profile.library_name(&function).ok().flatten();
    Some(DumpedFrame {
        kind: function.kind,
        function: text(function.name),
        file,
        library: library.map(str::to_owned),
        source: frame.source,
        first_line: function.first_line,
        address: frame.address,
        inlined: frame.inlined,
        text: line,
        locals: None,
    })
}

fn activity(record: &ThreadRecord) -> Activity {
    let is = |bits: u32| record.state & bits != 0;
    match record.state {
        0 => Activity::Runnable,
        _ if is(task_state::EXITING) => Activity::Ending,
        _ if is(task_state::STOPPED | task_state::TRACED) => Activity::Stopped,
        _ if is(task_state::UNINTERRUPTIBLE) => Activity::Uninterruptible,
        _ if is(task_state::INTERRUPTIBLE) => Activity::Blocked,
        _ => Activity::Unknown,
    }
}

fn system_call(record: &ThreadRecord) -> Option<SystemCall> {
    let number = u32::try_from(record.system_call).ok()?;
    let known = syscalls::x86_64::Sysno::new(number as usize);
    Some(SystemCall {
        number,
        name: known.map(|known| known.name()),
    })
}

fn kernel_name(bytes: &[u8]) -> String {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
