//! An external service that speaks TLS: what an application that encrypts by itself talks to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HOST;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::certificates::Authority;

/// Answers 301 to every request, over HTTP/1.1 and HTTP/2, as `external.yaml` does in clear; the
/// body says which server name the hello had, then the path and the request's headers but `host`. It
/// lives as long as its runtime.
#[derive(Clone)]
pub struct TlsService {
    pub address: SocketAddr,
    callers: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl TlsService {
    /// Starts it on a port, 0 for a free one, with `authority`'s server certificate.
    pub async fn start(port: u16, authority: &Authority) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.with_context(|| format!("listen on port {port}"))?;
        let service = Self {
            address: listener.local_addr()?,
            callers: Arc::default(),
            requests: Arc::default(),
        };
        let acceptor = TlsAcceptor::from(authority.service()?);
        let (callers, requests) = (Arc::clone(&service.callers), Arc::clone(&service.requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A caller who gives up is none of the service's faults.
                tokio::spawn(serve(
                    acceptor.clone(),
                    stream,
                    Arc::clone(&callers),
                    Arc::clone(&requests),
                ));
            }
        });
        Ok(service)
    }

    /// How many callers have sent it anything.
    pub fn callers(&self) -> usize {
        self.callers.load(Relaxed)
    }

    /// How many requests it has read.
    pub fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    callers: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
) -> Result<()> {
    if stream.peek(&mut [0]).await? > 0 {
        callers.fetch_add(1, Relaxed);
    }
    let stream = acceptor.accept(stream).await?;
    let (_, session) = stream.get_ref();
    let server_name = session.server_name().unwrap_or_default().to_owned();
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let answer = move |request: Request<Incoming>| {
        requests.fetch_add(1, Relaxed);
        let mut body = format!("server name: {server_name}\npath: {}\n", request.uri().path());
        for (name, value) in request.headers().iter().filter(|(name, _)| *name != HOST) {
            let value = String::from_utf8_lossy(value.as_bytes());
            body.push_str(&format!("{name}: {value}\n"));
        }
        let answer = Response::builder().status(301).body(Full::new(Bytes::from(body)));
        std::future::ready(answer)
    };
    match is_http2 {
        true => {
            let http2 = http2::Builder::new(TokioExecutor::new());
            http2.serve_connection(TokioIo::new(stream), service_fn(answer)).await?;
        }
        false => {
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await?;
        }
    }
    Ok(())
}
