//! What any program of the machine may try with the port.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use viperf_serve::{Choice, Content, DataRequest, Server, SourceAnswer};

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Fixed;

impl Content for Fixed {
    fn has_newer(&self, request: &DataRequest) -> bool {
        request.position.is_empty()
    }

    fn data(&self, request: &DataRequest) -> Result<Vec<u8>, String> {
        match request.choice {
            Choice::Opening => Ok(b"the data".to_vec()),
            _ => Err("there is no such file to choose".to_owned()),
        }
    }

    fn source(&self, path: &str) -> SourceAnswer {
        match path {
            "/srv/app.py" => SourceAnswer::Text(b"the text".to_vec()),
            _ => SourceAnswer::None("it is not a file of the profile".to_owned()),
        }
    }
}

struct Served {
    server: Server,
    port: u16,
    path: String,
}

fn serve() -> Served {
    let server = Server::start(None, Arc::new(Fixed)).expect("a free port");
    let rest = server.address().strip_prefix("http://127.0.0.1:");
    let rest = rest.expect("loopback");
    let (port, path) = rest.split_once('/').expect("a path");
    let (port, path) = (port.parse().expect("a number"), format!("/{path}"));
    Served { server, port, path }
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// The answer to some bytes, as far as it comes; `None` when the connection was closed without one.
    fn answer(&self, request: &[u8]) -> Option<String> {
        let mut stream = self.connect();
        // The server may hang up before it has everything.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
    }

    fn get(&self, path: &str, host: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        self.whole_answer(&request)
    }

    /// The answer to a request of one who waits for it.
    fn whole_answer(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("a request");
        // The other half stays open: a client that closes it while it waits has gone.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn own_host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn still_answers(&self) {
        let page = self.get(&self.path, &self.own_host());
        assert!(page.starts_with("HTTP/1.1 200 "), "{page:.200}");
    }
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[test]
fn the_page_is_served_with_a_strict_policy_and_its_data_beside_it() {
    let served = serve();
    let page = served.get(&served.path, &served.own_host());
    assert_eq!(status(&page), "200");
    assert!(page.contains("default-src 'none'; script-src 'sha256-"));
    assert!(page.contains("frame-ancestors 'none'"));
    assert!(page.contains("cache-control: no-store"));
    assert!(page.contains("<html lang=\"en\" data-served>"));
    let data = served.get(&format!("{}data", served.path), &served.own_host());
    assert!(data.ends_with("\r\n\r\nthe data"), "{data}");
    let refused = served.get(&format!("{}data?file=3", served.path), &served.own_host());
    assert_eq!(status(&refused), "422");
    let source = |path: &str| {
        served.get(
            &format!("{}source?path={path}", served.path),
            &served.own_host(),
        )
    };
    let text = source("%2Fsrv%2Fapp.py");
    assert!(text.contains("content-type: application/json") && text.ends_with("the text"));
    assert_eq!(status(&source("%2Fetc%2Fpasswd")), "422");
    let other = serve();
    assert_ne!(
        served.path, other.path,
        "a token of its own for each server"
    );
    assert!(served.server.address().ends_with(&served.path));
}

#[test]
fn wrong_tokens_hosts_methods_and_paths_get_nothing_of_the_page() {
    let served = serve();
    let host = served.own_host();
    let wrong = "/00000000000000000000000000000000/";
    for (path, host, expected) in [
        (wrong, host.as_str(), "403"),
        ("/", &host, "403"),
        (&served.path, "evil.example", "421"),
        (&served.path, "evil.example:80", "421"),
        ("/../../../../etc/passwd", &host, "403"),
        (&format!("{}../../etc/passwd", served.path), &host, "404"),
        (&format!("{}%2e%2e%2fetc/passwd", served.path), &host, "404"),
    ] {
        let answer = served.get(path, host);
        assert_eq!(status(&answer), expected, "{path} {host}");
        assert!(!answer.contains("<html"), "{path} {host}");
        assert!(!answer.contains("root:"), "{path} {host}");
    }
    let post = format!(
        "POST {} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        served.path
    );
    assert_eq!(status(&served.whole_answer(&post)), "405");
}

#[test]
fn huge_and_broken_requests_are_cut_off() {
    let served = serve();
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20));
    let long_header = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let endless_body = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{}",
        "a".repeat(1 << 20)
    );
    for request in [
        long_path.as_bytes(),
        long_header.as_bytes(),
        many_headers.as_bytes(),
        endless_body.as_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET",
        b"\0\0\0\0\r\n\r\n",
        b"",
    ] {
        let answer = served.answer(request).unwrap_or_default();
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer:.200}");
    }
    served.still_answers();
}

#[test]
fn clients_that_say_nothing_are_let_go_and_others_come_to_their_turn() {
    let served = serve();
    let silent: Vec<TcpStream> = (0..80).map(|_| served.connect()).collect();
    let mut slow = served.connect();
    slow.write_all(b"GET / HT").expect("a beginning");
    // More than there are places: the server must throw the first ones out for this to be answered.
    served.still_answers();
    drop(silent);
    let started = Instant::now();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(started.elapsed() < PATIENCE, "it was not let go");
}

#[test]
fn a_server_that_is_dropped_is_gone() {
    let served = serve();
    let waiting = format!(
        "GET {}data?at=1 HTTP/1.1\r\nHost: {}\r\n\r\n",
        served.path,
        served.own_host()
    );
    let mut stream = served.connect();
    stream.write_all(waiting.as_bytes()).expect("a request");
    let port = served.port;
    drop(served);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
