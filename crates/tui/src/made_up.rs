//! Profiles made by hand, for tests.

use std::time::Duration;

use viperf_profile::{
    Frame, FrameHandle, FrameKind, Function, Library, Process, Profile, Sample, Thread,
    ThreadHandle,
};

use crate::live::Live;

/// A centisecond: what every made-up sample stands for.
const PERIOD_NS: u64 = 10_000_000;

/// A profile that grows.
#[derive(Debug, Default)]
pub(crate) struct MadeUp {
    pub(crate) profile: Profile,
    pub(crate) live: Live,
    elapsed: Duration,
}

impl MadeUp {
    pub(crate) fn python(&mut self, name: &str, file: &str, line: u32) -> FrameHandle {
        let name = self.profile.strings.intern(name);
        let file = Some(self.profile.strings.intern(file));
        let function = self.profile.functions.intern(Function {
            name,
            file,
            library: None,
            first_line: 1,
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

    pub(crate) fn thread(&mut self, process: &str, pid: u32, tid: u32) -> ThreadHandle {
        self.thread_of_version(process, pid, tid, "3.12.4")
    }

    pub(crate) fn thread_of_version(
        &mut self,
        process: &str,
        pid: u32,
        tid: u32,
        version: &str,
    ) -> ThreadHandle {
        let name = self.profile.strings.intern(process);
        let command_line = self
            .profile
            .strings
            .intern(&format!("{process} /srv/shop/app.py --port 80"));
        let python_version = Some(self.profile.strings.intern(version));
        let process = self.profile.processes.intern(Process {
            python_version,
            ..Process::new(pid, name, command_line)
        });
        let name = self.profile.strings.intern(&format!("thread {tid}"));
        self.profile.threads.intern(Thread { process, tid, name })
    }

    /// `count` samples of one stack, the root first.
    pub(crate) fn samples(&mut self, thread: ThreadHandle, frames: &[FrameHandle], count: u64) {
        let stack = self
            .profile
            .intern_stack_root_first(frames.iter().copied())
            .unwrap();
        for _ in 0..count {
            self.profile.samples.push(Sample {
                time_ns: 0,
                weight_ns: PERIOD_NS,
                cpu: 0,
                thread,
                stack,
                complete: true,
            });
        }
    }

    /// A second is over: the live view hears of what has come, and the samples are let go.
    pub(crate) fn second(&mut self) -> Vec<Sample> {
        self.elapsed += Duration::from_secs(1);
        self.profile.information.period_ns = PERIOD_NS;
        let samples = std::mem::take(&mut self.profile.samples);
        self.live
            .grow(&self.profile, &samples, self.elapsed)
            .unwrap();
        samples
    }
}

/// A shop: one process that computes in two functions and a library, and one that waits for its GIL.
pub(crate) fn shop(seconds: u64) -> MadeUp {
    let mut made = MadeUp::default();
    made.profile.information.target = "every Python process".to_owned();
    let main = made.thread("python3", 4242, 4242);
    let worker = made.thread("python3", 4242, 4243);
    let other = made.thread("celery", 5000, 5000);
    let start = made.of_kind(FrameKind::Native, "__libc_start_main", "libc.so.6");
    let eval = made.of_kind(
        FrameKind::Interpreter,
        "_PyEval_EvalFrameDefault",
        "python3.12",
    );
    let call = made.of_kind(FrameKind::Native, "_PyObject_Call", "python3.12");
    let serve = made.python("Shop.serve", "/srv/shop/app.py", 12);
    let price = made.python("price", "/srv/shop/prices.py", 7);
    let price_too = made.python("price", "/srv/shop/prices.py", 9);
    let deflate = made.of_kind(FrameKind::Native, "deflate", "libz.so.1");
    let take_gil = made.of_kind(FrameKind::Native, "take_gil", "python3.12");
    let futex = made.of_kind(FrameKind::Kernel, "do_futex", "");
    let encode = made.python("dumps", "/usr/lib/python3.12/json/__init__.py", 231);
    for _ in 0..seconds {
        made.samples(main, &[start, eval, serve, price], 40);
        made.samples(main, &[start, eval, serve, price_too], 20);
        made.samples(main, &[start, eval, serve, price, call, price_too], 10);
        made.samples(main, &[start, eval, serve, call, deflate], 30);
        made.samples(worker, &[start, eval, serve, take_gil, futex], 5);
        made.samples(other, &[eval, encode], 25);
        made.second();
    }
    made
}
