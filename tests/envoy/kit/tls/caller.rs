//! Callers that send bytes, and hear whether anybody answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::upstream::ANSWER;

/// How long anything that surely comes may take on a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A connection through the gateway, in the clear or within the mesh's own TLS.
pub struct Caller<S = TcpStream> {
    pub address: SocketAddr,
    stream: S,
}

impl Caller {
    /// Connects from an address that no other connection of this process has, by which records are
    /// told apart.
    pub async fn connect(gateway: SocketAddr) -> Result<Self> {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let place = OPENED.fetch_add(1, Ordering::Relaxed) % 0x00fe_0000;
        let own = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + place);
        let socket = TcpSocket::new_v4()?;
        socket.bind((own, 0).into())?;
        let stream = socket.connect(gateway).await;
        let stream = stream.with_context(|| format!("connect to {gateway}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { address: stream.local_addr()?, stream })
    }

    /// Begins the mesh's TLS with the gateway, to send everything else within.
    pub async fn wrap(
        self,
        config: Arc<ClientConfig>,
        server_name: &'static str,
    ) -> Result<Caller<TlsStream<TcpStream>>> {
        let server_name = ServerName::try_from(server_name)?;
        let handshake = TlsConnector::from(config).connect(server_name, self.stream);
        let stream = tokio::time::timeout(PATIENCE, handshake).await.context("no handshake")??;
        Ok(Caller { address: self.address, stream })
    }

    /// Ends it with a reset instead of a proper end.
    pub fn reset(self) -> Result<()> {
        self.stream.set_zero_linger()?;
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    /// Sends bytes, as far as the other side still takes them; whether the upstream answered.
    pub async fn exchange(&mut self, bytes: &[u8]) -> Result<bool> {
        self.exchange_in_parts(bytes, usize::MAX).await
    }

    /// The same, so many bytes at a time.
    pub async fn exchange_in_parts(&mut self, bytes: &[u8], size: usize) -> Result<bool> {
        self.send(bytes, size).await;
        let mut answer = vec![0; ANSWER.len()];
        let reading = self.stream.read_exact(&mut answer);
        // Refusals are resets or ends.
        let read =
            tokio::time::timeout(PATIENCE, reading).await.context("neither answer nor end")?;
        Ok(read.is_ok() && answer == ANSWER)
    }

    pub async fn send(&mut self, bytes: &[u8], size: usize) {
        for part in bytes.chunks(size.min(bytes.len().max(1))) {
            if self.stream.write_all(part).await.is_err() {
                break;
            }
            if part.len() < bytes.len() {
                // So that the gateway reads one part by itself now and then.
                tokio::task::yield_now().await;
            }
        }
        let _ = self.stream.flush().await;
    }

    /// Waits for the other side to end the connection.
    pub async fn wait_for_end(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        let reading = self.stream.read_to_end(&mut rest);
        let _ = tokio::time::timeout(PATIENCE, reading).await.context("no end")?;
        Ok(())
    }
}
