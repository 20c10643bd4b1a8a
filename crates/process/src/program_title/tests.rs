use super::*;

fn title(words: &[&str]) -> Option<String> {
    let mut text = words.join("\0").into_bytes();
    text.push(0);
    describe_program(&text, "python3.11", None)
}

#[test]
fn what_runs_is_named_and_not_the_interpreter() {
    for (words, expected) in [
        (
            &["python3", "/srv/shop/worker.py", "-v"][..],
            "/srv/shop/worker.py",
        ),
        (&["python3", "app.py"], "app.py"),
        (&["python3", "-m", "http.server", "8000"], "http.server"),
        (&["python3", "-Im", "pkg.tool"], "pkg.tool"),
        (&["python3", "-mpkg"], "pkg"),
        (
            &["python3", "-u", "-W", "ignore", "-X", "dev", "a.py"],
            "a.py",
        ),
        (&["python3", "-Wignore", "-Xdev", "a.py"], "a.py"),
        (
            &["python3", "--check-hash-based-pycs", "never", "a.py"],
            "a.py",
        ),
        (&["python3", "--", "-odd.py"], "-odd.py"),
        (&["python3", "-c", "print(1)"], "python -c"),
        (&["python3", "-bbuc", "print(1)"], "python -c"),
        (&["/usr/bin/python3.13t", "tool.pyz"], "tool.pyz"),
        (&["python2.7", "-Qnew", "old.py"], "old.py"),
        (&["/venv/bin/python", "/venv/bin/pytest", "-x"], "pytest"),
        (&["python3", "/opt/app/__main__.py"], "/opt/app/__main__.py"),
        (
            &["python3", "manage.py", "runserver", "0.0.0.0:80"],
            "manage.py runserver",
        ),
        (
            &["python3", "/srv/shop/manage.py", "--settings=x", "migrate"],
            "manage.py migrate",
        ),
        (
            &["python3", "-m", "django", "runserver"],
            "django runserver",
        ),
        (
            &[
                "/venv/bin/python",
                "/venv/bin/flask",
                "--app",
                "./x.py",
                "run",
            ],
            "flask run",
        ),
        (
            &[
                "/opt/conda/bin/python",
                "/opt/conda/bin/jupyter-lab",
                "--no-browser",
            ],
            "jupyter-lab",
        ),
    ] {
        assert_eq!(title(words).as_deref(), Some(expected), "{words:?}");
    }
}

const SERVERS: &[(&[&str], &str)] = &[
    (
        &[
            "/venv/bin/python",
            "/venv/bin/gunicorn",
            "-b",
            "localhost:8000",
            "app:wsgi",
        ],
        "gunicorn app:wsgi",
    ),
    (
        &[
            "/venv/bin/python",
            "/venv/bin/gunicorn",
            "shop.wsgi:make()",
            "-w",
            "4",
        ],
        "gunicorn shop.wsgi:make()",
    ),
    (
        &["python3", "-m", "uvicorn", "app:main", "--reload"],
        "uvicorn app:main",
    ),
    (
        &["/venv/bin/python", "/venv/bin/uvicorn", "app:main"],
        "uvicorn app:main",
    ),
    (
        &[
            "/venv/bin/python",
            "/venv/bin/celery",
            "-A",
            "shop",
            "worker",
            "-l",
            "info",
        ],
        "celery -A shop worker",
    ),
    (
        &["python3", "-m", "celery", "--app=shop", "beat"],
        "celery -A shop beat",
    ),
    (
        &["uwsgi", "--http", ":80", "--module", "shop.wsgi"],
        "uwsgi shop.wsgi",
    ),
    (&["uwsgi", "--ini", "/etc/shop.ini"], "uwsgi /etc/shop.ini"),
    (&["uwsgi", "-wshop:app"], "uwsgi shop:app"),
    (
        &[
            "python",
            "-m",
            "ipykernel_launcher",
            "-f",
            "/run/kernel-3f2a77b1-11.json",
        ],
        "jupyter kernel 3f2a77b1",
    ),
    (
        &[
            "python",
            "-m",
            "joblib.externals.loky.backend.popen_loky_posix",
            "--process-name",
            "LokyProcess-1",
        ],
        "loky LokyProcess-1",
    ),
];

#[test]
fn servers_and_workers_are_named_with_their_application() {
    for &(words, expected) in SERVERS {
        assert_eq!(title(words).as_deref(), Some(expected), "{words:?}");
    }
}

#[test]
fn titles_that_programs_give_themselves_are_kept() {
    for (text, expected) in [
        (
            &b"gunicorn: worker [app]\0\0\0\0\0"[..],
            "gunicorn: worker [app]",
        ),
        (
            b"[celeryd: celery@host:MainProcess] -active- (worker)",
            "[celeryd: celery@host:MainProcess] -active- (worker)",
        ),
        (b"uWSGI worker 1            ", "uWSGI worker 1"),
        (
            b"nginx: master process nginx -g daemon off;\0",
            "nginx: master process nginx -g daemon off;",
        ),
    ] {
        assert_eq!(
            describe_program(text, "python", None).as_deref(),
            Some(expected)
        );
    }
}

#[test]
fn helpers_of_multiprocessing_are_named_after_who_started_them() {
    let code =
        "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)";
    let words = ["python3", "-c", code, "--multiprocessing-fork", ""].join("\0");
    let title = |parent| describe_program(words.as_bytes(), "python3", parent);
    assert_eq!(
        title(Some("app.py")).as_deref(),
        Some("app.py: spawned process")
    );
    let of_helper = title(Some("app.py: spawned process"));
    assert_eq!(of_helper.as_deref(), Some("app.py: spawned process"));
    assert_eq!(
        title(None).as_deref(),
        Some("multiprocessing: spawned process")
    );
    let server = b"python3\0-E\0-c\0from multiprocessing.forkserver import main; main(1, 2)\0";
    assert_eq!(
        describe_program(server, "python3", Some("app.py")).as_deref(),
        Some("app.py: fork server")
    );
    let tracker = b"python3\0-c\0from multiprocessing.resource_tracker import main;main(5)\0";
    assert_eq!(
        describe_program(tracker, "python3", Some("app.py")).as_deref(),
        Some("app.py: resource tracker")
    );
}

#[test]
fn where_the_name_says_as_much_there_is_no_title() {
    assert_eq!(title(&["python3.11"]), None);
    assert_eq!(title(&["python3.11", "-i"]), None);
    assert_eq!(title(&["python3.11", "-"]), None);
    assert_eq!(title(&["python3.11", "-m"]), None);
    assert_eq!(
        describe_program(b"/usr/sbin/sshd\0-D\0", "sshd", None),
        None
    );
    assert_eq!(describe_program(b"-bash\0", "bash", None), None);
    assert_eq!(describe_program(b"bash\0/opt/tool\0", "tool", None), None);
}

#[test]
fn a_name_that_the_kernel_has_cut_is_whole_in_the_title() {
    let title = describe_program(
        b"/usr/lib/systemd/systemd-timesyncd\0",
        "systemd-timesyn",
        None,
    );
    assert_eq!(title.as_deref(), Some("systemd-timesyncd"));
}

#[test]
fn hostile_arguments_give_short_titles_in_a_moment() {
    let mut inputs: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0; 2 << 20],
        vec![b' '; 2 << 20],
        vec![b'a'; 2 << 20],
        b"a ".repeat(1 << 20),
        b"python\0".repeat(1 << 18),
        b"python3\0-X\0".repeat(1 << 18),
        [&b"python3\0-m\0"[..], &vec![b'm'; 2 << 20]].concat(),
        [&b"python3\0/"[..], &b"d/".repeat(1 << 20)].concat(),
        [&b"python3\0"[..], "é".repeat(1 << 20).as_bytes()].concat(),
        b"python3\0\xff\xfe\x80.py\0".to_vec(),
        b"\xff\xff\0-m\0\xff\0".to_vec(),
        b"python3\0-\xffm\0x\0".to_vec(),
        b"celery\0-A\0".to_vec(),
        b"python3\0-c\0from multiprocessing.\0".to_vec(),
        b"python3\0--check-hash-based-pycs\0".to_vec(),
    ];
    // Damaged forms of what is usual: the same numbers on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut text =
            b"python3\0-X\0dev\0-m\0gunicorn\0-b\0:80\0app:wsgi\0--process-name\0-A\0kernel-\0"
                .to_vec();
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let place = (state >> 8) as usize % text.len();
            text[place] = state as u8;
        }
        inputs.push(text);
    }
    for input in inputs {
        if let Some(title) = describe_program(&input, "", Some("parent")) {
            let count = title.chars().count();
            assert!(0 < count && count <= TITLE_CHARACTERS + 1, "{title:?}");
            assert!(!title.contains('\0'), "{title:?}");
        }
    }
}
