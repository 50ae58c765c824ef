//! An external service that counts what reaches it, and that misbehaves where the path asks for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Result;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{HeaderValue, LOCATION};
use hyper::http::uri::Authority;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, http};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::gateway::Service;

/// A path that is never answered.
pub(crate) const HANGS: &str = "/hangs";
/// A path at which the connection ends instead of an answer.
pub(crate) const RESETS: &str = "/resets";
/// A path whose answer ends in the middle of its body.
pub(crate) const BREAKS: &str = "/breaks";
/// A path whose answer comes byte by byte.
pub(crate) const TRICKLES: &str = "/trickles";

/// A path that redirects, once it is released, to [`REDIRECTED`].
pub(crate) const REDIRECTS: &str = "/redirects";
pub(crate) const REDIRECTED: &str = "http://new.example/redirected";

/// The bodies of [`BREAKS`], which never all arrives, and [`TRICKLES`].
pub(crate) const DRIPS: u8 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The service, over HTTP/1.1 and HTTP/2 with prior knowledge; it lives as long as its runtime.
#[derive(Clone)]
pub(crate) struct Upstream {
    address: SocketAddr,
    arrivals: Arc<Arrivals>,
}

#[derive(Default)]
struct Arrivals {
    bytes: AtomicU64,
    requests: AtomicU64,
    strays: Mutex<Vec<String>>,
    release: Notify,
}

/// The stamp that every policy of these tests sets, and its value.
pub(crate) const STAMP: (&str, &str) = ("x-egress-team", "shop");
/// The stamp that names the policy a request passed by.
pub(crate) const POLICY_STAMP: &str = "x-egress-policy";

impl Upstream {
    /// Starts the service. It expects requests for hosts that `is_allowed` by the policy that
    /// stamped them; a request that is not so, or not stamped, is a stray.
    pub(crate) async fn start(is_allowed: fn(policy: &str, host: &str) -> bool) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let upstream = Self { address: listener.local_addr()?, arrivals: Arc::default() };
        let arrivals = Arc::clone(&upstream.arrivals);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&arrivals), is_allowed));
            }
        });
        Ok(upstream)
    }

    /// Bytes received, of connections that sent no request too.
    pub(crate) fn bytes(&self) -> u64 {
        self.arrivals.bytes.load(Relaxed)
    }

    /// Requests received, strays included.
    pub(crate) fn requests(&self) -> u64 {
        self.arrivals.requests.load(Relaxed)
    }

    /// Lets one request for [`REDIRECTS`] have its answer.
    pub(crate) fn release(&self) {
        self.arrivals.release.notify_one();
    }

    /// What should not have come.
    pub(crate) fn strays(&self) -> Vec<String> {
        self.arrivals.strays.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Service for Upstream {
    fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Arrivals {
    fn note(&self, request: &http::request::Parts, is_allowed: fn(&str, &str) -> bool) {
        self.requests.fetch_add(1, Relaxed);
        let values = |name: &str| -> Vec<&[u8]> {
            request.headers.get_all(name).iter().map(|value| value.as_bytes()).collect()
        };
        // HTTP/2 has it in the URI, HTTP/1.1 in a header.
        let authority = request.uri.authority().cloned();
        let authority = authority.or_else(|| Authority::try_from(*values("host").first()?).ok());
        let host = authority.as_ref().map_or("", |authority| authority.host());
        let is_right = match values(POLICY_STAMP)[..] {
            [policy] => is_allowed(&String::from_utf8_lossy(policy), host),
            _ => false,
        };
        if !is_right || values(STAMP.0) != [STAMP.1.as_bytes()] {
            let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
            strays.push(format!("{request:?}"));
        }
    }
}

async fn serve(stream: TcpStream, arrivals: Arc<Arrivals>, is_allowed: fn(&str, &str) -> bool) {
    // HTTP/2 begins so, and no request of HTTP/1.1 does.
    let mut start = [0; 3];
    let is_http2 = matches!(stream.peek(&mut start).await, Ok(3)) && start == *b"PRI";
    let stream = TokioIo::new(Counted { stream, arrivals: Arc::clone(&arrivals) });
    let answer = service_fn(move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        arrivals.note(&head, is_allowed);
        answer(head.uri.path().to_owned(), body, Arc::clone(&arrivals))
    });
    // Connections end as callers please.
    let _ = match is_http2 {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer).await,
        false => http1::Builder::new().serve_connection(stream, answer).await,
    };
}

/// The answer to a request, after the whole of its body.
async fn answer(
    path: String,
    body: Incoming,
    arrivals: Arc<Arrivals>,
) -> Result<Response<Drips>, std::io::Error> {
    let broken = || std::io::Error::other("as the path asks");
    match path.as_str() {
        RESETS => return Err(broken()),
        HANGS => std::future::pending().await,
        REDIRECTS => arrivals.release.notified().await,
        _ => {}
    }
    http_body_util::BodyExt::collect(body).await.map_err(std::io::Error::other)?;
    let drips = match path.as_str() {
        BREAKS | TRICKLES => DRIPS,
        _ => 0,
    };
    let pause = Box::pin(tokio::time::sleep(Duration::ZERO));
    let mut answer = Response::new(Drips { left: drips, ends_well: path != BREAKS, pause });
    if path == REDIRECTS {
        *answer.status_mut() = StatusCode::FOUND;
        answer.headers_mut().insert(LOCATION, HeaderValue::from_static(REDIRECTED));
    }
    Ok(answer)
}

/// A body that comes byte by byte.
struct Drips {
    left: u8,
    ends_well: bool,
    pause: Pin<Box<Sleep>>,
}

impl Body for Drips {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready((!self.ends_well).then(|| Err(std::io::Error::other("broken"))));
        }
        ready!(self.pause.as_mut().poll(context));
        self.pause.as_mut().reset(Instant::now() + PAUSE);
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.ends_well
    }
}

/// A connection whose incoming bytes are counted.
struct Counted {
    stream: TcpStream,
    arrivals: Arc<Arrivals>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let received = buffer.filled().len().saturating_sub(before);
        self.arrivals.bytes.fetch_add(received as u64, Relaxed);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
