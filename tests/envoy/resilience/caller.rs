//! A caller that keeps its connection.

use std::net::SocketAddr;

use anyhow::Result;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// One connection, of either protocol.
pub(crate) enum Caller {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Caller {
    pub(crate) async fn http1(address: SocketAddr) -> Result<Self> {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    pub(crate) async fn http2(address: SocketAddr) -> Result<Self> {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        Ok(Self::Http2(sender))
    }

    /// A GET of `path` from `host`: the answer's status and body.
    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Result<(u16, Bytes)> {
        let answer = self.start(host, path).await?;
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// The same, up to the answer's headers.
    pub(crate) async fn start(&mut self, host: &str, path: &str) -> Result<Response<Incoming>> {
        Ok(match self {
            Self::Http1(sender) => {
                let request = Request::get(path).header("host", host).body(Empty::new())?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                let request = Request::get(format!("http://{host}{path}")).body(Empty::new())?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }
}
