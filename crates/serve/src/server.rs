//! The server: one thread, a bounded number of connections, each with a bounded life.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};
use viperf_encode::html;

use crate::content::{Content, DataRequest, SourceAnswer};
use crate::request::{Asked, Route, route};

/// A browser opens six to one server; more than these are let wait by the kernel.
const MOST_CONNECTIONS: usize = 64;

/// Data is made for so many at once; it is what takes memory.
const MOST_ENCODERS: usize = 2;

/// From a connection's beginning, or the answer before, to the end of a request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The whole head of a request.
const HEAD_BYTES: usize = 16 << 10;

/// How long a request waits for news before it is told that there are none.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often is looked for news while somebody waits.
const LOOK: Duration = Duration::from_millis(200);

/// After this a connection is closed behind its answer; the browser opens another.
const CONNECTION_LIFE: Duration = Duration::from_secs(120);

/// And after this much longer without regard to it: whoever has not read its answer by now does not read.
const LAST_ANSWER: Duration = Duration::from_secs(60);

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The port cannot be had.
    #[error(
        "port {port} of 127.0.0.1 cannot be listened on: {source}; choose another with --port, or none for a free one"
    )]
    Port {
        /// The port asked for; 0 is any.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The system gave no random bytes for the token.
    #[error("no random bytes for the address: {0}")]
    Random(getrandom::Error),
    /// No thread, no runtime.
    #[error("the server cannot be started: {0}")]
    Start(io::Error),
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on 127.0.0.1, on `port` or on one that is free.
    ///
    /// # Errors
    ///
    /// [`ServeError`] when the port is taken or the system refuses.
    pub fn start(port: Option<u16>, content: Arc<dyn Content>) -> Result<Self, ServeError> {
        let port = port.unwrap_or(0);
        let refused = |source| ServeError::Port { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(refused)?;
        let port = listener.local_addr().map_err(refused)?.port();
        listener.set_nonblocking(true).map_err(ServeError::Start)?;
        let token = new_token()?;
        let address = format!("http://127.0.0.1:{port}/{token}/");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(MOST_ENCODERS)
            .build()
            .map_err(ServeError::Start)?;
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::new(Shared {
            port,
            token,
            page: Bytes::from(html::encode_served_page()),
            content,
            encoders: Semaphore::new(MOST_ENCODERS),
        });
        let run = move || {
            runtime.spawn(accept(listener, shared));
            // Whether it is told to or its owner is gone, it ends.
            let _ = runtime.block_on(stopped);
            // Connections end here; what an encoder still makes is for nobody.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("viperf-serve".to_owned())
            .spawn(run)
            .map_err(ServeError::Start)?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What to open in a browser, token included.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the hook.
            let _ = thread.join();
        }
    }
}

struct Shared {
    port: u16,
    token: String,
    page: Bytes,
    content: Arc<dyn Content>,
    encoders: Semaphore,
}

/// 128 random bits, which nobody guesses.
fn new_token() -> Result<String, ServeError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(ServeError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    serve_connection(stream, shared).await;
                    drop(place);
                });
            }
            // No descriptors left, or the client is gone already: others may come.
            Err(_) => sleep(LOOK).await,
        }
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&request, &shared).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends is the client's matter.
    if timeout(CONNECTION_LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER, connection).await;
    }
}

async fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |all| all.as_str());
    let host = request.headers().get(HOST);
    let asked = Asked {
        method: request.method().as_str(),
        target,
        host: host.and_then(|host| host.to_str().ok()),
    };
    match route(asked, shared.port, &shared.token) {
        Route::Page => respond(200, "text/html; charset=utf-8", shared.page.clone()),
        Route::Data(wanted) => answer_data(wanted, shared).await,
        Route::Source(path) => answer_source(&path, shared).await,
        Route::Refused(refusal) => plain(refusal.status(), refusal.text().to_owned()),
    }
}

async fn answer_data(wanted: DataRequest, shared: &Shared) -> Response<Full<Bytes>> {
    let until = Instant::now() + PATIENCE;
    while !shared.content.has_newer(&wanted) {
        if Instant::now() >= until {
            return plain(204, String::new());
        }
        sleep(LOOK).await;
    }
    let Ok(_permit) = shared.encoders.acquire().await else {
        return plain(503, "viperf is about to end\n".to_owned());
    };
    let content = Arc::clone(&shared.content);
    match tokio::task::spawn_blocking(move || content.data(&wanted)).await {
        Ok(Ok(data)) => {
            let mut response = respond(200, "application/octet-stream", Bytes::from(data));
            let headers = response.headers_mut();
            headers.insert("content-encoding", HeaderValue::from_static("gzip"));
            response
        }
        Ok(Err(why)) => plain(422, why),
        Err(_) => plain(500, "viperf failed to make the data\n".to_owned()),
    }
}

async fn answer_source(path: &str, shared: &Shared) -> Response<Full<Bytes>> {
    let until = Instant::now() + PATIENCE;
    loop {
        match shared.content.source(path) {
            SourceAnswer::Text(text) => {
                return respond(200, "application/json", Bytes::from(text));
            }
            SourceAnswer::None(why) => return plain(422, why),
            SourceAnswer::Waiting if Instant::now() >= until => return plain(204, String::new()),
            SourceAnswer::Waiting => sleep(LOOK).await,
        }
    }
}

fn plain(status: u16, text: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", Bytes::from(text))
}

fn respond(status: u16, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    // Only numbers that are written here reach this.
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(&html::served_policy());
    headers.insert("content-type", HeaderValue::from_static(content_type));
    if let Ok(policy) = policy {
        headers.insert("content-security-policy", policy);
    }
    for (name, value) in [
        ("cache-control", "no-store"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
