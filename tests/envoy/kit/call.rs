//! Requests as a workload sends them, over HTTP/1.1, HTTP/2 and mutual TLS, and the answers to
//! them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes};
use hyper::client::conn::{http1, http2};
use hyper::http::request;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::certificates::{Authority, Identity};
use super::hbone::Workload;

/// How long an answer may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    method: &'static str,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    /// A request to `host`, an authority: with or without a port.
    pub fn new(method: &'static str, host: &str) -> Self {
        Self {
            method,
            host: host.to_owned(),
            path: "/".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// A GET of `/` from `host`.
    pub fn get(host: &str) -> Self {
        Self::new("GET", host)
    }

    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Adds a header; one that is there already stays.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: &'static str) -> Self {
        self.body = Bytes::from_static(body.as_bytes());
        self
    }

    /// Sends it over HTTP/1.1.
    pub async fn http1(&self, address: SocketAddr) -> Result<Answer> {
        self.within_patience(async { self.send_http1(connect(address).await?).await }).await
    }

    /// Sends it over HTTP/2 with prior knowledge.
    pub async fn http2(&self, address: SocketAddr) -> Result<Answer> {
        self.within_patience(async { self.send_http2(connect(address).await?).await }).await
    }

    /// Sends it over HTTP/2 in TLS, with `sni` as the server's name and, where there is one, the
    /// caller's certificate.
    pub async fn tls(
        &self,
        address: SocketAddr,
        authority: &Authority,
        sni: &str,
        caller: Option<&Identity>,
    ) -> Result<Answer> {
        self.within_patience(async {
            let connector = TlsConnector::from(authority.client(caller, "h2")?);
            let server_name = ServerName::try_from(sni.to_owned())?;
            self.send_http2(connector.connect(server_name, connect(address).await?).await?).await
        })
        .await
    }

    /// Sends it over HTTP/1.1 in a tunnel of `workload` to `dialled`, an `ADDRESS:PORT`.
    pub async fn http1_by(&self, workload: &Workload, dialled: &str) -> Result<Answer> {
        self.within_patience(async { self.send_http1(workload.dial(dialled).await?).await }).await
    }

    /// Sends it over HTTP/2 in a tunnel of `workload` to `dialled`, an `ADDRESS:PORT`.
    pub async fn http2_by(&self, workload: &Workload, dialled: &str) -> Result<Answer> {
        self.within_patience(async { self.send_http2(workload.dial(dialled).await?).await }).await
    }

    /// Sends all at once, as streams of one HTTP/2 connection in TLS with `sni` as the server's name;
    /// the answers in the order of the calls.
    pub async fn on_one_connection(
        calls: &[Self],
        address: SocketAddr,
        authority: &Authority,
        sni: &str,
    ) -> Result<Vec<Answer>> {
        let connector = TlsConnector::from(authority.client(None, "h2")?);
        let server_name = ServerName::try_from(sni.to_owned())?;
        let stream = connector.connect(server_name, connect(address).await?).await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut sent = Vec::new();
        for call in calls {
            let uri = format!("http://{}{}", call.host, call.path);
            let request = call.request(&uri).body(Full::new(call.body.clone()))?;
            sent.push((call, sender.clone().send_request(request)));
        }
        let mut answers = Vec::new();
        for (call, response) in sent {
            let answer = async { Answer::read(response.await?).await };
            answers.push(call.within_patience(answer).await?);
        }
        connection.abort();
        Ok(answers)
    }

    /// Sends it over HTTP/1.1 with every header's name spelled as given, which no client library
    /// does; the answer's text.
    pub async fn verbatim(&self, address: SocketAddr) -> Result<String> {
        let Self { method, host, path, headers, .. } = self;
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        );
        self.within_patience(async {
            let mut stream = connect(address).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        })
        .await
    }

    async fn send_http1(&self, stream: impl Stream) -> Result<Answer> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = self
            .request(&self.path)
            .header("host", &self.host)
            .body(Full::new(self.body.clone()))?;
        let answer = Answer::read(sender.send_request(request).await?).await;
        connection.abort();
        answer
    }

    async fn send_http2(&self, stream: impl Stream) -> Result<Answer> {
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let uri = format!("http://{}{}", self.host, self.path);
        let request = self.request(&uri).body(Full::new(self.body.clone()))?;
        let answer = Answer::read(sender.send_request(request).await?).await;
        connection.abort();
        answer
    }

    fn request(&self, uri: &str) -> request::Builder {
        let mut request = Request::builder().method(self.method).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    async fn within_patience<T>(&self, sending: impl Future<Output = Result<T>>) -> Result<T> {
        let what = || format!("{} {} of {}", self.method, self.path, self.host);
        tokio::time::timeout(PATIENCE, sending).await.with_context(what)?.with_context(what)
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    async fn read<B>(response: Response<B>) -> Result<Self>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static>,
    {
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{} {:?}", self.status, self.body))
    }

    /// The headers that the external service got, as its body shows them.
    pub fn seen(&self) -> Result<Vec<(&str, &str)>> {
        ensure!(
            self.status == 301,
            "the external service answers 301, this is {} {:?}",
            self.status,
            self.body
        );
        seen(&self.body)
    }
}

/// The headers in a body of the external service: one `name: value` a line, pseudo-headers with
/// their colon.
pub fn seen(body: &str) -> Result<Vec<(&str, &str)>> {
    let header =
        |line| str::split_once(line, ": ").with_context(|| format!("`{line}` is no header"));
    body.lines().map(header).collect()
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))
}
