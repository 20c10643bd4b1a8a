//! Profiles made by hand, for tests.

use crate::{
    Frame, FrameHandle, FrameKind, Function, Library, Placement, Process, Profile, Sample, Thread,
    ThreadHandle,
};

/// A millisecond: what every made-up sample stands for.
pub(crate) const PERIOD_NS: u64 = 1_000_000;

/// A profile in the making.
#[derive(Debug, Default)]
pub(crate) struct MadeUp {
    pub(crate) profile: Profile,
}

impl MadeUp {
    pub(crate) fn python(
        &mut self,
        name: &str,
        file: &str,
        first_line: u32,
        line: u32,
    ) -> FrameHandle {
        let name = self.profile.strings.intern(name);
        let file = Some(self.profile.strings.intern(file));
        let function = self.profile.functions.intern(Function {
            name,
            file,
            library: None,
            first_line,
            kind: FrameKind::Python,
        });
        self.profile.frames.intern(Frame::at_line(function, line))
    }

    pub(crate) fn of_kind(&mut self, kind: FrameKind, name: &str, library: &str) -> FrameHandle {
        let name = self.profile.strings.intern(name);
        let library = (!library.is_empty()).then(|| {
            let library = self.profile.strings.intern(library);
            self.profile.libraries.intern(Library::named(library))
        });
        let function = self.profile.functions.intern(Function {
            name,
            file: None,
            library,
            first_line: 0,
            kind,
        });
        self.profile.frames.intern(Frame::at_line(function, 0))
    }

    pub(crate) fn native(&mut self, name: &str, library: &str) -> FrameHandle {
        self.of_kind(FrameKind::Native, name, library)
    }

    pub(crate) fn kernel(&mut self, name: &str) -> FrameHandle {
        self.of_kind(FrameKind::Kernel, name, "")
    }

    pub(crate) fn thread(&mut self, process: &str, pid: u32, tid: u32) -> ThreadHandle {
        let name = self.profile.strings.intern(process);
        let process = self.profile.processes.intern(Process::new(pid, name, name));
        let name = self.profile.strings.intern(&format!("thread {tid}"));
        self.profile.threads.intern(Thread { process, tid, name })
    }

    /// `count` samples of one stack, the root first, one a millisecond after those before.
    pub(crate) fn samples(&mut self, thread: ThreadHandle, frames: &[FrameHandle], count: u64) {
        let stack = self
            .profile
            .intern_stack_root_first(frames.iter().copied())
            .unwrap();
        for _ in 0..count {
            let time_ns = self.profile.samples.len() as u64 * PERIOD_NS;
            self.profile.samples.push(Sample {
                time_ns,
                weight_ns: PERIOD_NS,
                cpu: 0,
                thread,
                stack,
                complete: true,
            });
        }
    }
}

/// Two workers of a server in a container with a name, a worker of a queue in a pod's container without one, and a program
/// of a unit.
pub(crate) fn placed() -> Profile {
    let mut made = MadeUp::default();
    let frame = made.python("f", "/srv/a.py", 1, 2);
    let mut process = |pid: u32, title: &str, places: &[(&str, &str)], count: u64| {
        let MadeUp { profile } = &mut made;
        let name = profile.strings.intern("python3");
        let mut fields = [None; 10];
        for (field, text) in places {
            let index = Placement::FIELDS.iter().position(|name| name == field);
            fields[index.unwrap()] = Some(profile.strings.intern(text));
        }
        let process = Process {
            title: (!title.is_empty()).then(|| profile.strings.intern(title)),
            placement: Placement::from_array(fields),
            ..Process::new(pid, name, name)
        };
        let process = profile.processes.intern(process);
        let thread = Thread {
            process,
            tid: pid,
            name,
        };
        let thread = profile.threads.intern(thread);
        made.samples(thread, &[frame], count);
    };
    let web = [
        ("cgroup", "/docker/a"),
        ("container_id", "0123456789abcdef"),
        ("container_name", "web"),
        ("container_image", "shop:1.2"),
        ("container_runtime", "docker"),
    ];
    process(1, "gunicorn: worker [app]", &web, 5);
    process(2, "gunicorn: worker [app]", &web, 3);
    let queue = [
        ("cgroup", "/kubepods/b"),
        ("container_id", "fedcba9876543210"),
        ("pod", "queue-7f"),
        ("pod_namespace", "shop"),
        ("pod_uid", "77-88"),
    ];
    process(3, "celery worker", &queue, 4);
    let unit = [
        ("cgroup", "/system.slice/ssh.service"),
        ("unit", "ssh.service"),
    ];
    process(4, "", &unit, 2);
    made.profile
}

/// The same numbers on every run (an xorshift).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// A profile of random stacks with recursion in two processes of two threads each.
pub(crate) fn random_profile(seed: u64, samples: u64) -> Profile {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut made = MadeUp::default();
    let threads: Vec<_> = (0..4)
        .map(|number| made.thread("python3", 10 + number / 2, 10 + number))
        .collect();
    let mut frames = Vec::new();
    for number in 0..6 {
        frames.push(made.python(&format!("f{number}"), "/srv/a.py", number, number + 1));
        frames.push(made.python(&format!("f{number}"), "/srv/a.py", number, number + 2));
        frames.push(made.native(&format!("n{number}"), "libn.so"));
    }
    frames.push(made.kernel("read"));
    frames.push(made.of_kind(FrameKind::Interpreter, "eval", "python3"));
    frames.push(made.of_kind(FrameKind::Incomplete, "native: unknown mapping", ""));
    for _ in 0..samples {
        let depth = 1 + random.below(8) as usize;
        let stack: Vec<_> = (0..depth)
            .map(|_| frames[random.below(frames.len() as u64) as usize])
            .collect();
        let thread = threads[random.below(4) as usize];
        made.samples(thread, &stack, 1);
    }
    made.profile
}
