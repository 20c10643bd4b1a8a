//! Profiles made by hand.

use viperf_profile::{
    Frame, FrameHandle, FrameKind, Function, Library, Placement, Process, Profile,
    ProfileInformation, Sample, Thread, ThreadHandle,
};

pub(crate) const PERIOD_NS: u64 = 10_000_000;

#[derive(Debug, Default)]
pub(crate) struct MadeUp {
    pub(crate) profile: Profile,
}

impl MadeUp {
    pub(crate) fn python(&mut self, name: &str, file: &str, first: u32, line: u32) -> FrameHandle {
        let name = self.profile.strings.intern(name);
        let file = Some(self.profile.strings.intern(file));
        let function = self.profile.functions.intern(Function {
            name,
            file,
            library: None,
            first_line: first,
            kind: FrameKind::Python,
        });
        self.profile.frames.intern(Frame::at_line(function, line))
    }

    pub(crate) fn other(&mut self, kind: FrameKind, name: &str, library: &str) -> FrameHandle {
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

    pub(crate) fn thread(&mut self, process: &str, pid: u32, tid: u32, name: &str) -> ThreadHandle {
        let comm = self.profile.strings.intern(process);
        let command_line = self
            .profile
            .strings
            .intern("python3 /srv/shop/manage.py runserver");
        let python_version = Some(self.profile.strings.intern("3.12.4"));
        let process = self.profile.processes.intern(Process {
            python_version,
            ..Process::new(pid, comm, command_line)
        });
        let name = self.profile.strings.intern(name);
        self.profile.threads.intern(Thread { process, tid, name })
    }

    /// `count` samples of one stack, the root first.
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

/// A web shop: a request through a framework into the project, the database driver, zlib, the kernel, and a worker.
pub(crate) fn shop() -> Profile {
    let mut made = MadeUp::default();
    let main = made.thread("python3", 4242, 4242, "MainThread");
    let worker = made.thread("python3", 4242, 4243, "worker 1");
    let start = made.other(FrameKind::Native, "_start", "python3.12");
    add_requests(&mut made, main, start);
    add_export(&mut made, worker, start);
    for sample in made.profile.samples.iter_mut().rev().take(2) {
        sample.complete = false;
    }
    let mut profile = made.profile;
    profile.incomplete = [("native: unreadable stack".to_owned(), 2)].into();
    profile.lost = 3;
    profile.information = ProfileInformation {
        viperf_version: "0.1.0".into(),
        hostname: "build-7".into(),
        kernel: "6.1.0-28-amd64".into(),
        started_unix_ns: 1_700_000_000_000_000_000,
        duration_ns: 1_250_000_000,
        period_ns: PERIOD_NS,
        rate_hz: 100,
        target: "python3 manage.py runserver".into(),
        ..ProfileInformation::default()
    };
    profile
}

/// The shop in a container, and beside it a program in none.
pub(crate) fn shop_in_container() -> Profile {
    let mut profile = shop();
    let (handle, &process) = profile.processes.iter().next().unwrap();
    let placement = Placement {
        container_id: Some(profile.strings.intern("0123456789abcdef0123456789abcdef")),
        container_name: Some(profile.strings.intern("shop-web-1")),
        container_image: Some(profile.strings.intern("registry.example/shop:1.2")),
        ..Placement::default()
    };
    let process = Process {
        placement,
        ..process
    };
    assert_eq!(profile.processes.replace(handle, process), handle);
    let mut made = MadeUp { profile };
    let thread = made.thread("backup", 77, 77, "backup");
    let frame = made.other(FrameKind::Native, "memmove", "libc.so.6");
    made.samples(thread, &[frame], 10);
    made.profile
}

fn add_requests(made: &mut MadeUp, thread: ThreadHandle, start: FrameHandle) {
    let packages = "/srv/venv/lib/python3.12/site-packages";
    let django = format!("{packages}/django/core");
    let models = "/srv/shop/shop/models.py";
    let json = "/usr/lib/python3.12/json";
    let module = made.python("<module>", "/srv/shop/manage.py", 1, 22);
    let serve = made.python(
        "WSGIHandler.__call__",
        &format!("{django}/wsgi.py"),
        120,
        124,
    );
    let respond = made.python(
        "BaseHandler.get_response",
        &format!("{django}/base.py"),
        138,
        140,
    );
    let view = made.python("basket", "/srv/shop/shop/views.py", 30, 34);
    let price = made.python("Basket.price", models, 80, 85);
    let price_again = made.python("Basket.price", models, 80, 87);
    let execute = made.python(
        "Cursor.execute",
        &format!("{packages}/psycopg/cursor.py"),
        90,
        97,
    );
    let dumps = made.python("dumps", &format!("{json}/__init__.py"), 183, 231);
    let encode = made.python(
        "JSONEncoder.encode",
        &format!("{json}/encoder.py"),
        183,
        200,
    );
    let call = made.other(FrameKind::Native, "cfunction_call", "python3.12");
    let receive = made.other(FrameKind::Native, "PQgetResult", "libpq.so.5.16");
    let read = made.other(FrameKind::Kernel, "tcp_recvmsg", "");
    let request = [start, module, serve, respond, view];
    for (frames, count) in [
        (&[][..], 5),
        (&[price], 20),
        (&[price_again, price_again], 10),
        (&[execute, receive, read], 25),
        (&[dumps, encode], 12),
        (&[dumps, encode, call], 3),
    ] {
        made.samples(thread, &[&request[..], frames].concat(), count);
    }
    made.samples(thread, &[start, module, serve], 5);
}

fn add_export(made: &mut MadeUp, thread: ThreadHandle, start: FrameHandle) {
    let threading = "/usr/lib/python3.12/threading.py";
    let bootstrap = made.python("Thread._bootstrap", threading, 1000, 1030);
    let export = made.python("export", "/srv/shop/shop/tasks.py", 5, 9);
    let call = made.other(FrameKind::Native, "cfunction_call", "python3.12");
    let zlib = "zlib.cpython-312-x86_64-linux-gnu.so";
    let compress = made.other(FrameKind::Native, "zlib_compress", zlib);
    let deflate = made.other(FrameKind::Native, "deflate_slow", "libz.so.1.3");
    let take_gil = made.other(FrameKind::Native, "take_gil", "python3.12");
    let futex = made.other(FrameKind::Kernel, "futex_wait", "");
    let broken = made.other(FrameKind::Incomplete, "native: unreadable stack", "");
    let exporting = [start, bootstrap, export];
    made.samples(
        thread,
        &[&exporting[..], &[call, compress, deflate]].concat(),
        14,
    );
    made.samples(thread, &[&exporting[..], &[take_gil, futex]].concat(), 4);
    made.samples(thread, &[broken, export], 2);
}

/// The shop after a change: more time in the price, the export is gone, a check is new.
pub(crate) fn shop_after() -> Profile {
    let mut made = MadeUp { profile: shop() };
    let thread = made.thread("python3", 4242, 4242, "MainThread");
    let worker = made.profile.samples.last().unwrap().thread;
    made.profile
        .samples
        .retain(|sample| sample.thread != worker);
    made.profile.lost = 0;
    made.profile.incomplete.clear();
    let module = made.python("<module>", "/srv/shop/manage.py", 1, 22);
    let view = made.python("basket", "/srv/shop/shop/views.py", 31, 36);
    let price = made.python("Basket.price", "/srv/shop/shop/models.py", 82, 88);
    let check = made.python("check_stock", "/srv/shop/shop/stock.py", 3, 4);
    made.samples(thread, &[module, view, price], 60);
    made.samples(thread, &[module, view, check], 40);
    made.profile
}

/// The same work ten times over: enough samples to tell what is chance.
pub(crate) fn ten_times(mut profile: Profile) -> Profile {
    let once = std::mem::take(&mut profile.samples);
    for _ in 0..10 {
        for sample in &once {
            let time_ns = profile.samples.len() as u64 * PERIOD_NS;
            profile.samples.push(Sample { time_ns, ..*sample });
        }
    }
    profile.information.duration_ns *= 10;
    profile
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
