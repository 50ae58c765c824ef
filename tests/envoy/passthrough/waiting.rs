//! Callers within the mesh's mutual TLS who say nothing: what they get, and for how long.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{policy, record_of};
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::certificates::Authority;
use envoy_kit::passthrough::Lane;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::PATIENCE;
use envoy_kit::tls::hello::Hello;

const NAME: &str = "api.allow.test";
const ALLOWED: &str = "spiffe://cluster.local/ns/shop/sa/front";
const DENIED: &str = "spiffe://cluster.local/ns/other/sa/front";

/// An upstream that speaks first, and what it did.
struct Talker {
    address: SocketAddr,
    callers: Arc<AtomicUsize>,
}

/// Denied or allowed, with the handshake over or half of it sent.
pub(crate) async fn a_silent_caller_gets_no_byte_and_is_cut_off(testbed: &Testbed) -> Result<()> {
    let talker = Talker::start().await?;
    let mesh = Authority::new(&[NAME])?;
    let waits = testbed.version() != "1.36.4";
    let gateway = start(testbed, &mesh, &talker, waits).await?;

    let mut silent = Vec::new();
    for principal in [ALLOWED, DENIED] {
        let config = mesh.client(Some(&mesh.caller(principal)?), "istio")?;
        silent.push((principal, connect(&gateway, config).await?));
    }
    let mut half = TcpStream::connect(gateway.listener("lane")?).await?;
    half.write_all(&Hello::to(NAME).to_bytes()).await?;

    for (principal, (caller, stream)) in &mut silent {
        let mut got = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got));
        let _ = end.await.with_context(|| format!("{principal} is never cut off"))?;
        ensure!(got.is_empty(), "{principal} got {} bytes", got.len());
        let record = record_of(&gateway, caller).await?;
        assert_undecided(&record);
        ensure!(record["bytes_sent"] == 0, "{record}");
        ensure!(record["source_principal"] == *principal, "{record}");
    }
    let caller = half.local_addr()?.to_string();
    let mut hello = Vec::new();
    let end = tokio::time::timeout(PATIENCE, half.read_to_end(&mut hello));
    let _ = end.await.context("half a handshake is never cut off")?;
    assert_undecided(&record_of(&gateway, &caller).await?);
    let counter = "wasmcustom.egress_warden.connections.deny.undecided";
    ensure!(gateway.counter(counter).await? == 3);
    ensure!(!waits || talker.callers() == 0, "{} were dialled", talker.callers());
    Ok(())
}

/// What is allowed passes, all of it, whatever comes at once; nobody is dialled for what is not.
pub(crate) async fn whoever_speaks_is_dialled_for_after_the_verdict(
    testbed: &Testbed,
) -> Result<()> {
    if testbed.version() == "1.36.4" {
        return Ok(());
    }
    let talker = Talker::start().await?;
    let mesh = Authority::new(&[NAME])?;
    let gateway = start(testbed, &mesh, &talker, true).await?;
    for (principal, passes) in [(DENIED, false), (ALLOWED, true)] {
        let config = mesh.client(Some(&mesh.caller(principal)?), "istio")?;
        let (caller, mut stream) = connect(&gateway, config).await?;
        let sent = vec![b'x'; 1 << 20];
        let (mut reading, mut writing) = tokio::io::split(&mut stream);
        let mut got = vec![0; BANNER.len() + sent.len()];
        let exchange = async {
            let write = async { writing.write_all(&sent).await };
            let read = async { reading.read_exact(&mut got).await.map(|_| ()) };
            tokio::try_join!(write, read)
        };
        let exchanged = tokio::time::timeout(PATIENCE, exchange).await.context("no end")?;
        ensure!(exchanged.is_ok() == passes, "{principal}: {exchanged:?}");
        ensure!(!passes || got[BANNER.len()..] == sent, "other bytes came back");
        ensure!(talker.callers() == usize::from(passes), "{principal}");
        drop(stream);
        let record = record_of(&gateway, &caller).await?;
        let (decision, reason) = if passes { ("allow", "rule") } else { ("deny", "default") };
        ensure!(record["egress_connection_decision"] == decision, "{record}");
        ensure!(record["egress_connection_reason"] == reason, "{record}");
    }
    Ok(())
}

fn assert_undecided(record: &Value) {
    assert_eq!(record["egress_connection_decision"], "deny", "{record}");
    assert_eq!(record["egress_connection_reason"], "undecided", "{record}");
    assert!(record["egress_connection_policy"].is_string(), "{record}");
}

async fn start(
    testbed: &Testbed,
    mesh: &Authority,
    talker: &Talker,
    dials_on_data: bool,
) -> Result<Envoy> {
    let mut policy = policy("test", &[NAME]);
    policy["rules"][0]["from"] = json!([{"namespaces": ["shop"]}]);
    let mut bootstrap = Bootstrap::gateway_tls()?;
    let lane = Lane { name: "lane", policy: &policy, upstream: talker.address };
    bootstrap.take_every_name(&[lane])?;
    bootstrap.bind_free_ports();
    bootstrap.require_mutual_tls(mesh)?;
    if dials_on_data {
        bootstrap.wait_for_callers()?;
    }
    testbed.start(&bootstrap).await
}

/// A handshake that is over, and the address that it came from.
async fn connect(
    gateway: &Envoy,
    config: Arc<ClientConfig>,
) -> Result<(String, TlsStream<TcpStream>)> {
    let stream = TcpStream::connect(gateway.listener("lane")?).await?;
    let caller = stream.local_addr()?.to_string();
    let handshake = TlsConnector::from(config).connect(ServerName::try_from(NAME)?, stream);
    let stream = tokio::time::timeout(PATIENCE, handshake).await.context("no handshake")??;
    Ok((caller, stream))
}

const BANNER: &[u8] = b"220 what speaks first";

impl Talker {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let talker = Self { address: listener.local_addr()?, callers: Arc::default() };
        let callers = Arc::clone(&talker.callers);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                callers.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let (mut reading, mut writing) = stream.split();
                    writing.write_all(BANNER).await?;
                    tokio::io::copy(&mut reading, &mut writing).await
                });
            }
        });
        Ok(talker)
    }

    fn callers(&self) -> usize {
        self.callers.load(Ordering::Relaxed)
    }
}
