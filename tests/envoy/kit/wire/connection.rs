//! A connection from which bytes are taken piece by piece. A reset is an end like any other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// How long anything that surely comes may take on a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Connection {
    stream: TcpStream,
    /// What arrived and was not taken.
    buffer: Vec<u8>,
    /// How many bytes arrived, on every connection that shares the count.
    received: Arc<AtomicUsize>,
}

impl Connection {
    /// Connects from an address that no other connection of this process has: the kernel gives a
    /// port of one address to another connection as soon as it is free.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let place = OPENED.fetch_add(1, Ordering::Relaxed) % 0x00fe_0000;
        let caller = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + place);
        let socket = TcpSocket::new_v4()?;
        socket.bind((caller, 0).into())?;
        let stream = socket.connect(address).await;
        let stream = stream.with_context(|| format!("connect to {address}"))?;
        Ok(Self::counted(stream, Arc::default()))
    }

    pub fn counted(stream: TcpStream, received: Arc<AtomicUsize>) -> Self {
        Self { stream, buffer: Vec::new(), received }
    }

    pub fn local_address(&self) -> Result<SocketAddr> {
        Ok(self.stream.local_addr()?)
    }

    /// Writes, as far as the other side still reads: it may have answered and closed.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Waits for more bytes; how many came, zero at the end.
    async fn fill(&mut self) -> usize {
        let count = self.stream.read_buf(&mut self.buffer).await.unwrap_or(0);
        self.received.fetch_add(count, Ordering::Relaxed);
        count
    }

    /// The next `count` bytes; `None` where the end comes before.
    pub async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            self.filled().await?;
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Whether `bytes` come next; they are not taken.
    pub async fn starts_with(&mut self, bytes: &[u8]) -> bool {
        while self.buffer.len() < bytes.len() && bytes.starts_with(&self.buffer) {
            if self.fill().await == 0 {
                return false;
            }
        }
        self.buffer.starts_with(bytes)
    }

    /// The bytes up to `end`, which is taken too; `None` where the end of all comes before.
    pub async fn take_through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.buffer.windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                let taken = self.buffer.drain(..at).collect();
                self.buffer.drain(..end.len());
                return Some(taken);
            }
            self.filled().await?;
        }
    }

    /// Everything until the end.
    pub async fn take_rest(&mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        std::mem::take(&mut self.buffer)
    }

    async fn filled(&mut self) -> Option<()> {
        (self.fill().await > 0).then_some(())
    }
}
