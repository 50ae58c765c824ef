//! An external service that costs next to nothing: it answers the first bytes of a connection.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::service;

pub(crate) const ANSWER: &[u8] = b"served";

/// Starts the service, which lives as long as the process.
pub(crate) fn start() -> Result<SocketAddr> {
    service::start(serve)
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = vec![0; 4096];
    while stream.read(&mut read).await? > 0 {
        stream.write_all(ANSWER).await?;
    }
    Ok(())
}
