//! The seven steps: what each is expected to show, and what it shows.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::ambient::{ALLOWED, DENIED, Waypoint};
use envoy_kit::ACCESS_LOG_FIELDS;
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::{Answer, Call};
use envoy_kit::certificates::Authority;
use envoy_kit::process::Envoy;
use envoy_kit::shell::Shell;
use envoy_kit::testbed::{Mesh, Testbed};
use envoy_kit::tls_service::TlsService;
use kit::envoys;

/// Walks the path; fails where anything differs from what is expected.
pub(crate) fn main() -> ExitCode {
    let is_asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    let shell = if is_asked("--native") { Shell::Native } else { Shell::Wasm };
    match run(shell, is_asked("--keep")) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(differences) => {
            println!("\n{differences} of what came is not what was expected.");
            println!(
                "The demo expects the files of envoy/ as they are shipped: see `git diff envoy`."
            );
            ExitCode::FAILURE
        }
        Err(fault) => {
            eprintln!("\n{fault:#}");
            eprintln!(
                "The demo expects the files of envoy/ as they are shipped: see `git diff envoy`."
            );
            ExitCode::FAILURE
        }
    }
}

fn run(shell: Shell, keep: bool) -> Result<usize> {
    let testbed = Testbed::new(envoys::newest())?.with(shell);
    // The native library does not judge connections.
    let testbed_of_tls = Testbed::new(envoys::newest())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let walked = runtime.block_on(async {
        let mesh = start(&testbed).await?;
        let passthrough = Passthrough::start(&testbed_of_tls).await?;
        let waypoint = Waypoint::start(&testbed, &mesh.external).await?;
        let mut walk = Walk::new(shell, &mesh, &passthrough, &waypoint)?;
        let walked = walk.all_steps().await;
        // Whoever keeps it up may just be trying a change.
        if keep {
            if let Err(fault) = &walked {
                println!("\n{fault:#}");
            }
            walk.stay().await?;
        }
        walked.map(|()| walk.differences)
    });
    if !matches!(walked, Ok(0)) {
        println!("\n{}{}", testbed.logs(), testbed_of_tls.logs());
    }
    walked
}

/// On the ports that the files name, which the README and the files' comments speak of; on free
/// ones where somebody else has one of them.
async fn start(testbed: &Testbed) -> Result<Mesh> {
    let gateway = match testbed.shell() {
        Shell::Wasm => Bootstrap::gateway()?,
        Shell::Native => Bootstrap::native_gateway()?,
    };
    let [sidecar, external] = [Bootstrap::sidecar()?, Bootstrap::external()?];
    if ![&sidecar, &gateway, &external].iter().all(|bootstrap| bootstrap.ports_are_free()) {
        return testbed.mesh(gateway).await;
    }
    Ok(Mesh {
        external: testbed.start(&external).await?,
        gateway: testbed.start(&gateway).await?,
        sidecar: testbed.start(&sidecar).await?,
    })
}

/// The gateway for TLS that it does not end, and the external service behind it.
struct Passthrough {
    gateway: Envoy,
    service: TlsService,
    /// Of the service's certificate.
    authority: Authority,
}

impl Passthrough {
    /// On the ports that the file names where they are free, as above.
    async fn start(testbed: &Testbed) -> Result<Self> {
        const SERVICE_PORT: u16 = 15022;
        let authority = Authority::new(&["allowed.example", "denied.example"])?;
        let mut gateway = Bootstrap::gateway_tls()?;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let service = if gateway.ports_are_free() && is_free(SERVICE_PORT) {
            TlsService::start(SERVICE_PORT, &authority).await?
        } else {
            let service = TlsService::start(0, &authority).await?;
            gateway.bind_free_ports();
            gateway.redirect(SERVICE_PORT, service.address.port());
            service
        };
        Ok(Self { gateway: testbed.start(&gateway).await?, service, authority })
    }

    fn egress(&self) -> Result<SocketAddr> {
        self.gateway.listener("egress_tls")
    }
}

/// The walk along the path, and how often it did not go as expected.
struct Walk<'a> {
    shell: Shell,
    mesh: &'a Mesh,
    passthrough: &'a Passthrough,
    waypoint: &'a Waypoint,
    allow_any: SocketAddr,
    registry_only: SocketAddr,
    differences: usize,
}

impl<'a> Walk<'a> {
    fn new(
        shell: Shell,
        mesh: &'a Mesh,
        passthrough: &'a Passthrough,
        waypoint: &'a Waypoint,
    ) -> Result<Self> {
        Ok(Self {
            shell,
            mesh,
            passthrough,
            waypoint,
            allow_any: mesh.sidecar.listener("allow_any")?,
            registry_only: mesh.sidecar.listener("registry_only")?,
            differences: 0,
        })
    }

    async fn all_steps(&mut self) -> Result<()> {
        let form = match self.shell {
            Shell::Wasm => "the module in each Envoy that decides",
            Shell::Native => "the native library decides on requests, the module on connections",
        };
        println!("The reference path on Envoy {}: {form}", envoys::newest());
        println!(
            "workload -> sidecar {}, {} -> egress gateway {} -> external service {}",
            self.allow_any,
            self.registry_only,
            self.mesh.gateway.listener("egress")?,
            self.mesh.external.listener("external")?,
        );

        self.step("1. The sidecar in ALLOW_ANY: every host goes straight out");
        let answer = self.call(self.allow_any, "foreign.example", "/1").await?;
        self.expect("status", 301, answer.status);
        self.expect("requests at the gateway", 0, self.gateway_requests().await?);

        self.step("2. REGISTRY_ONLY: a host that the mesh does not know goes nowhere");
        let answer = self.call(self.registry_only, "foreign.example", "/2").await?;
        self.expect("status", 502, answer.status);

        self.step("3. The host is registered: it goes straight out");
        let answer = self.call(self.registry_only, "registered.example", "/3").await?;
        self.expect("status", 301, answer.status);
        self.expect("requests at the gateway", 0, self.gateway_requests().await?);

        self.step("4. The host is routed through the gateway, which keeps a record");
        let answer = self.call(self.registry_only, "allowed.example", "/4").await?;
        self.expect("status", 301, answer.status);
        self.expect("requests at the gateway", 1, self.gateway_requests().await?);
        let record = self.mesh.gateway.access_log("/4").await?;
        let fields = ACCESS_LOG_FIELDS.iter().filter(|field| record.get(field).is_some()).count();
        self.expect("fields of a mesh's log", ACCESS_LOG_FIELDS.len(), fields);
        println!("  {record}");

        self.step("5. The policy decides: an allowed host leaves, with stamps");
        let answer = self.call(self.registry_only, "allowed.example", "/5").await?;
        self.expect("status", 301, answer.status);
        for (stamp, value) in [("x-egress-team", "shop"), ("x-egress-rule", "shop-to-allowed")] {
            self.expect(&format!("{stamp} upstream"), value, header(&answer, stamp)?);
        }
        self.expect_record("/5", "allow", "shop-to-allowed", "").await?;
        println!("  the upstream saw:");
        for line in answer.body.lines() {
            println!("    {line}");
        }

        self.step("   A host that the mesh knows and the policy does not is refused");
        let before = self.external_bytes().await?;
        let answer = self.call(self.registry_only, "denied.example", "/6").await?;
        self.expect("status", 403, answer.status);
        self.expect("bytes upstream", 0, self.external_bytes().await? - before);
        self.expect_record("/6", "deny", "", "default").await?;
        println!("  the caller reads:\n    {}", answer.body.trim_end());
        let (_, line) = self.mesh.gateway.filter_log("/6").await?;
        println!("  the filter's own line in the gateway's log:\n    {line}");

        self.connections().await?;
        self.tunnels().await?;
        if self.differences == 0 {
            println!("\nAll that came is what was expected.");
        }
        Ok(())
    }

    async fn connections(&mut self) -> Result<()> {
        let Passthrough { gateway, service, .. } = self.passthrough;
        self.step(
            "6. TLS that the application begins itself passes untouched, if its server name may",
        );
        println!(
            "workload -> egress gateway {} -> external service {}",
            self.passthrough.egress()?,
            service.address
        );
        let answer = self.tls_call("allowed.example").await?;
        self.expect("status, inside the TLS", 301, answer.status);
        let is_named = |it: &Value| it["requested_server_name"] == "allowed.example";
        let record = gateway.first_record(is_named).await?;
        self.expect_verdict("egress_connection", &record, ["allow", "shop-to-allowed", ""]);
        println!("  {record}");

        self.step("   A server name that the policy does not know is cut off, without an answer");
        let callers = service.callers();
        let answer = self.tls_call("denied.example").await;
        self.expect("answer", "none", answer.map_or("none".to_owned(), |it| it.status.to_string()));
        self.expect("connections upstream", 0, service.callers() - callers);
        let is_named = |it: &Value| it["requested_server_name"] == "denied.example";
        let record = gateway.first_record(is_named).await?;
        self.expect_verdict("egress_connection", &record, ["deny", "", "default"]);
        if let Some(line) = gateway.filter_lines().last() {
            println!("  the filter's own line in the gateway's log:\n    {line}");
        }
        Ok(())
    }

    async fn tunnels(&mut self) -> Result<()> {
        let host = "allowed.example";
        self.step(
            "7. In Istio's ambient mode a waypoint decides, by the certificate of the tunnel",
        );
        println!("workload -> ztunnel, here this program -> waypoint -> external service");
        let answer = self.waypoint.call("checkout", ALLOWED, host, "/7").await?;
        self.expect("status", 301, answer.status);
        let record = self.waypoint.record("/7").await?;
        self.expect_verdict("egress", &record, ["allow", "checkout-to-allowed", ""]);
        println!("  source_principal: {}", record["source_principal"]);

        let before = self.external_bytes().await?;
        let answer = self.waypoint.call("search", ALLOWED, host, "/8").await?;
        self.expect("status, another caller", 403, answer.status);
        let record = self.waypoint.record("/8").await?;
        self.expect_verdict("egress", &record, ["deny", "", "default"]);

        self.step("   Who dials one host and names another in `Host` needs both");
        let answer = self.waypoint.call("checkout", DENIED, host, "/9").await?;
        self.expect("status", 403, answer.status);
        self.expect("bytes upstream", 0, self.external_bytes().await? - before);
        let record = self.waypoint.record("/9").await?;
        self.expect_verdict("egress", &record, ["deny", "", "destination"]);
        println!("  the caller reads:\n    {}", answer.body.trim_end());
        Ok(())
    }

    async fn tls_call(&self, host: &str) -> Result<Answer> {
        let egress = self.passthrough.egress()?;
        println!("  GET https://{host}/ by {egress}");
        Call::get(host).tls(egress, &self.passthrough.authority, host, None).await
    }

    async fn call(&self, sidecar: SocketAddr, host: &str, path: &str) -> Result<Answer> {
        println!("  GET http://{host}{path} by {sidecar}");
        Call::get(host).path(path).header("user-agent", "demo").http1(sidecar).await
    }

    /// The verdict in the access log. What is empty is expected to be absent.
    async fn expect_record(
        &mut self,
        path: &str,
        decision: &str,
        rule: &str,
        reason: &str,
    ) -> Result<()> {
        let record = self.mesh.gateway.access_log(path).await?;
        self.expect_verdict("egress", &record, [decision, rule, reason]);
        Ok(())
    }

    /// `keys` is what the record's keys begin with: a connection's begin otherwise than a request's.
    fn expect_verdict(&mut self, keys: &str, record: &Value, [decision, rule, reason]: [&str; 3]) {
        for (field, expected) in [("decision", decision), ("rule", rule), ("reason", reason)] {
            let came = record[format!("{keys}_{field}")].as_str().unwrap_or("");
            self.expect(&format!("{keys}_{field}"), expected, came);
        }
        let policy = format!("{keys}_policy");
        println!("  {policy}: {}", record[&policy].as_str().unwrap_or("absent"));
    }

    async fn gateway_requests(&self) -> Result<u64> {
        self.mesh.gateway.counter("http.outbound_0.0.0.0_80.downstream_rq_total").await
    }

    async fn external_bytes(&self) -> Result<u64> {
        self.mesh.external.counter("http.external.downstream_cx_rx_bytes_total").await
    }

    fn step(&self, title: &str) {
        println!("\n{title}");
    }

    fn expect(&mut self, what: &str, expected: impl Display, came: impl Display) {
        let absent_as_dash = |value: &dyn Display| match value.to_string() {
            text if text.is_empty() => "-".to_owned(),
            text => text,
        };
        let (expected, came) = (absent_as_dash(&expected), absent_as_dash(&came));
        let mark = if expected == came { "ok" } else { "DIFFERS" };
        self.differences += usize::from(expected != came);
        println!("  {what:<29} expected {expected:<16} came {came:<16} {mark}");
    }

    fn print_invitation(&self) {
        println!("\nAll of it stays up until Ctrl-C. Try:");
        for (sidecar, request, outcome) in [
            (self.allow_any, "-H 'host: foreign.example'", "301, straight out"),
            (self.registry_only, "-H 'host: foreign.example'", "502, unknown to the mesh"),
            (self.registry_only, "-H 'host: registered.example'", "301, straight out"),
            (self.registry_only, "-H 'host: allowed.example'", "301, stamps in the body"),
            (
                self.registry_only,
                "-H 'host: allowed.example' -H 'x-egress-team: mine'",
                "301, x-egress-team: shop, not mine",
            ),
            (
                self.registry_only,
                "-H 'host: allowed.example' -X DELETE",
                "301, logged: would be refused",
            ),
            (self.registry_only, "-H 'host: denied.example'", "403, says why"),
        ] {
            println!("  curl -i {request} http://{sidecar}/    # {outcome}");
        }
        if let Ok(gateway) = self.mesh.gateway.listener("egress") {
            println!(
                "  curl -i -H 'host: allowed.example' http://{gateway}/    # the gateway alone"
            );
        }
        if let Ok(egress) = self.passthrough.egress() {
            for (host, outcome) in [
                ("allowed.example", "301, TLS all the way to the service"),
                ("denied.example", "cut off"),
            ] {
                println!("  curl -ik --connect-to ::{egress} https://{host}/    # {outcome}");
            }
        }
        println!("The gateways' access logs:");
    }

    /// Prints what the gateway logs about each request from here on, until a signal says stop.
    async fn stay(&self) -> Result<()> {
        self.print_invitation();
        let mut terminated = signal(SignalKind::terminate())?;
        let gateways = [&self.mesh.gateway, &self.passthrough.gateway];
        let mut printed = gateways.map(|gateway| gateway.access_log_after(0).len());
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
                _ = terminated.recv() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            for (gateway, printed) in gateways.into_iter().zip(&mut printed) {
                for line in gateway.access_log_after(*printed) {
                    println!("  {line}");
                    *printed += 1;
                }
            }
        }
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Result<&'a str> {
    let seen = answer.seen()?;
    seen.iter().find(|(seen, _)| *seen == name).map(|(_, value)| *value).context("absent")
}
