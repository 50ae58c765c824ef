//! HBONE as ztunnel speaks it for a workload: mutual TLS, and in it an HTTP/2 CONNECT for each connection that the
//! workload opens.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::certificates::{Authority, Identity};

/// The name in a waypoint's own certificate here.
pub const WAYPOINT: &str = "waypoint.example";

/// A workload's HBONE connection to a waypoint, for any number of tunnels.
pub struct Workload {
    sender: http2::SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Workload {
    /// Connects with the workload's certificate.
    pub async fn connect(
        waypoint: SocketAddr,
        authority: &Authority,
        certificate: &Identity,
    ) -> Result<Self> {
        let connector = TlsConnector::from(authority.client(Some(certificate), "h2")?);
        let stream = TcpStream::connect(waypoint).await.context("connect to the waypoint")?;
        let stream = connector.connect(ServerName::try_from(WAYPOINT)?, stream).await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: tokio::spawn(connection) })
    }

    /// A tunnel to `destination`, the `ADDRESS:PORT` that the workload dials.
    pub async fn dial(&self, destination: &str) -> Result<TokioIo<Upgraded>> {
        let request = Request::connect(destination).body(Empty::new())?;
        let answer = self.sender.clone().send_request(request).await?;
        ensure!(answer.status() == 200, "CONNECT {destination}: {}", answer.status());
        Ok(TokioIo::new(hyper::upgrade::on(answer).await?))
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
