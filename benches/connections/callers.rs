//! Callers that begin TLS, hear an answer or the end, and go: what an application does, as far as
//! the gateway has anything to do with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use crate::upstream::ANSWER;

/// Connections that are open at the same time.
const AT_ONCE: usize = 4;

/// Callers that ask for names in turn.
pub(crate) struct Callers {
    hellos: Vec<Vec<u8>>,
    next: AtomicUsize,
    /// Whether all that they ask for is refused.
    pub(crate) is_refused: bool,
}

impl Callers {
    pub(crate) fn new(
        names: Vec<String>,
        is_refused: bool,
        config: &Arc<ClientConfig>,
    ) -> Result<Self> {
        let hellos = names.into_iter().map(|name| hello(name, config)).collect::<Result<_>>()?;
        Ok(Self { hellos, next: AtomicUsize::new(0), is_refused })
    }

    /// Connects for so long; how many connections that were. Each must end as expected.
    pub(crate) async fn connect(&self, address: SocketAddr, duration: Duration) -> Result<usize> {
        let end = Instant::now() + duration;
        let one = async || {
            let mut count = 0;
            while Instant::now() < end {
                self.connect_once(address).await?;
                count += 1;
            }
            anyhow::Ok(count)
        };
        let all: [_; AT_ONCE] = std::array::from_fn(|_| one());
        let [a, b, c, d] = all;
        let counts = tokio::try_join!(a, b, c, d)?;
        Ok(counts.0 + counts.1 + counts.2 + counts.3)
    }

    /// One connection for the next name.
    pub(crate) async fn connect_once(&self, address: SocketAddr) -> Result<()> {
        let place = self.next.fetch_add(1, Relaxed) % self.hellos.len();
        let mut stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        let sent = stream.write_all(&self.hellos[place]).await;
        let mut answer = Vec::new();
        let heard = stream.read_buf(&mut answer).await;
        let is_answered = sent.is_ok() && heard.is_ok() && answer == ANSWER;
        ensure!(is_answered != self.is_refused, "{sent:?}, {heard:?}: {answer:?}");
        // Its port is free again at once.
        stream.set_zero_linger()?;
        Ok(())
    }
}

/// The first bytes of a real client.
fn hello(name: String, config: &Arc<ClientConfig>) -> Result<Vec<u8>> {
    let mut client = ClientConnection::new(Arc::clone(config), ServerName::try_from(name)?)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}
