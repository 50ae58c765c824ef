//! Callers that begin TLS, hear an answer or the end, and go: what an application does, as far as
//! the gateway has anything to do with it. In a mesh a sidecar does so inside its own mutual TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use crate::upstream::ANSWER;

/// Connections that are open at the same time.
const AT_ONCE: usize = 4;

/// Callers that ask for names in turn.
pub(crate) struct Callers {
    hellos: Vec<Hello>,
    next: AtomicUsize,
    /// The mesh's TLS around the application's own, where there is one.
    mesh: Option<TlsConnector>,
    /// Whether all that they ask for is refused.
    pub(crate) is_refused: bool,
}

impl Callers {
    pub(crate) fn new(
        names: Vec<String>,
        is_refused: bool,
        config: &Arc<ClientConfig>,
        mesh: Option<TlsConnector>,
    ) -> Result<Self> {
        let hello = |name| Hello::new(name, config);
        let hellos = names.into_iter().map(hello).collect::<Result<_>>()?;
        Ok(Self { hellos, next: AtomicUsize::new(0), mesh, is_refused })
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
        let hello = &self.hellos[place];
        let stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        // When it goes its port is free again at once.
        stream.set_zero_linger()?;
        let answer = match &self.mesh {
            None => exchange(stream, &hello.bytes).await,
            Some(mesh) => {
                let handshake = mesh.connect(hello.name.clone(), stream).await;
                exchange(handshake.context("the mesh's handshake")?, &hello.bytes).await
            }
        };
        let is_answered = answer.as_ref().is_ok_and(|answer| answer == ANSWER);
        ensure!(is_answered != self.is_refused, "{answer:?}");
        Ok(())
    }
}

/// Sends the hello; what is answered, nothing where the connection ends.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    hello: &[u8],
) -> std::io::Result<Vec<u8>> {
    stream.write_all(hello).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_buf(&mut answer).await?;
    Ok(answer)
}

/// The first bytes of a real client that asks for a name.
struct Hello {
    name: ServerName<'static>,
    bytes: Vec<u8>,
}

impl Hello {
    fn new(name: String, config: &Arc<ClientConfig>) -> Result<Self> {
        let name = ServerName::try_from(name)?;
        let mut client = ClientConnection::new(Arc::clone(config), name.clone())?;
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes)?;
        Ok(Self { name, bytes })
    }
}
