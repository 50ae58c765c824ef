//! An upstream that counts: it keeps what each connection sent, and answers all that comes. It can
//! be told to speak without being asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::caller::PATIENCE;

/// What it answers, each time that bytes come.
pub const ANSWER: &[u8] = b"served";
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    /// Whether it speaks first.
    speaks: watch::Sender<bool>,
}

#[derive(Default)]
struct Seen {
    open: usize,
    /// What each connection has sent.
    arrivals: Vec<Vec<u8>>,
}

impl Upstream {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let upstream = Self { address, seen: Arc::default(), speaks: watch::Sender::new(false) };
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut seen = serving.lock();
                    seen.open += 1;
                    seen.arrivals.push(Vec::new());
                    seen.arrivals.len() - 1
                };
                tokio::spawn(serving.clone().serve(stream, number));
            }
        });
        Ok(upstream)
    }

    async fn serve(self, mut stream: TcpStream, number: usize) {
        let mut buffer = vec![0; 1 << 16];
        let mut speaks = self.speaks.subscribe();
        let mut has_spoken = false;
        loop {
            tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(count @ 1..) => self.lock().arrivals[number].extend(&buffer[..count]),
                    _ => break,
                },
                () = until_true(&mut speaks), if !has_spoken => has_spoken = true,
            }
            if stream.write_all(ANSWER).await.is_err() {
                break;
            }
        }
        self.lock().open -= 1;
    }

    /// Whether it says its answer to each connection once before it is asked: to those that stand
    /// now, and to those that come.
    pub fn speak_first(&self, speaks: bool) {
        self.speaks.send_replace(speaks);
    }

    /// What every connection so far has sent.
    pub fn arrivals(&self) -> Vec<Vec<u8>> {
        self.lock().arrivals.clone()
    }

    /// The same, once all are closed.
    pub async fn all_arrivals(&self) -> Result<Vec<Vec<u8>>> {
        let started = Instant::now();
        while self.lock().open > 0 {
            ensure!(started.elapsed() < PATIENCE, "upstream connections stay open");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(self.arrivals())
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn until_true(value: &mut watch::Receiver<bool>) {
    // The sender lives as long as the upstream, which is what waits.
    let _ = value.wait_for(|it| *it).await;
}
