//! Metrics over HTTP. Any user of this machine may ask for them.
//!
//! **Bounded:** [`IDLE`] connections that have not said anything, for [`SILENT`] each, the oldest of which makes room; [`MOST`]
//! requests of [`LONGEST`] bytes each at a time, for [`PATIENCE`] each.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore, oneshot},
    task::AbortHandle,
};

use super::{metrics, status::ServiceStatus};

/// So many requests are answered at a time; others wait.
const MOST: usize = 16;
/// So many connections may be silent: of more, the oldest is closed. A scraper speaks at once.
const IDLE: usize = 64;
/// How long one may be silent.
const SILENT: Duration = Duration::from_secs(1);
/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Whoever asks again within this span gets the same answer: asking often costs the service nothing.
const FRESH: Duration = Duration::from_secs(1);
/// A request of a scraper is a few hundred bytes; hyper takes no smaller limit.
const LONGEST: usize = 8192;

/// Answers scrapers until it is dropped. `ask` has somebody make a status.
pub async fn serve<A>(listener: TcpListener, ask: A)
where
    A: Fn(oneshot::Sender<ServiceStatus>) + Send + Sync + 'static,
{
    let source = Arc::new(MetricsSource { ask, last: Mutex::default() });
    let room = Arc::new(Semaphore::new(MOST));
    let mut silent: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                silent.retain(|task| !task.is_finished());
                if silent.len() >= IDLE
                    && let Some(oldest) = silent.pop_front()
                {
                    oldest.abort();
                }
                let (source, room) = (Arc::clone(&source), Arc::clone(&room));
                let speaks = tokio::spawn(async move {
                    let said = tokio::time::timeout(SILENT, stream.peek(&mut [0])).await;
                    if !matches!(said, Ok(Ok(1..))) {
                        return;
                    }
                    // From here on it is no longer one that may be closed for others.
                    tokio::spawn(async move {
                        let Ok(_permit) = room.acquire_owned().await else { return };
                        // Not finished by then: it is cut off, in the middle of whatever it does.
                        let _ = tokio::time::timeout(PATIENCE, answer(stream, &source)).await;
                    });
                });
                silent.push_back(speaks.abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "a scraper could not be let in");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

struct MetricsSource<A> {
    ask: A,
    /// The last answer, and when it was made. Held while the next one is made: one is made at a time.
    last: Mutex<Option<(Instant, String)>>,
}

impl<A: Fn(oneshot::Sender<ServiceStatus>)> MetricsSource<A> {
    /// `None`: the service ends.
    async fn text(&self) -> Option<String> {
        let mut last = self.last.lock().await;
        if let Some((_, text)) = last.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return Some(text.clone());
        }
        let (sender, made) = oneshot::channel();
        (self.ask)(sender);
        let text = metrics::text(&made.await.ok()?).ok()?;
        *last = Some((Instant::now(), text.clone()));
        Some(text)
    }
}

async fn answer<A: Fn(oneshot::Sender<ServiceStatus>)>(
    stream: TcpStream,
    source: &MetricsSource<A>,
) {
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(respond(&request, source).await) });
    let done = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENT)
        .max_buf_size(LONGEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = done {
        tracing::debug!(%error, "a scraper went away, or spoke no HTTP");
    }
}

async fn respond<A: Fn(oneshot::Sender<ServiceStatus>)>(
    request: &Request<Incoming>,
    source: &MetricsSource<A>,
) -> Response<String> {
    let plain = |status, text: &str| {
        let mut response = Response::new(text.to_owned());
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    // hyper leaves the body out of the answer to HEAD.
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "metrics are read with GET\n");
        response
            .headers_mut()
            .insert(ALLOW, const { hyper::header::HeaderValue::from_static("GET, HEAD") });
        return response;
    }
    let Some(text) = source.text().await else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the service ends\n");
    };
    let mut response = Response::new(text);
    let kind = hyper::header::HeaderValue::from_static(metrics::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
