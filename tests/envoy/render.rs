//! What `render envoy` writes: its routes are those that the policy's allow rules name, and on real Envoys
//! its verdicts are those of `explain`.

#[path = "render/samples.rs"]
mod samples;
#[path = "render/table.rs"]
mod table;
#[path = "render/watched.rs"]
mod watched;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::certificates::Authority;
use envoy_kit::explained::KEYS;
use envoy_kit::on_each_envoy;
use envoy_kit::shell::Shell;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::Caller;
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;
use envoy_kit::tls_service::TlsService;
use samples::{NAMES, description, rendered, samples};
use serde_json::{Value, json};
use table::Table;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use watched::{
    a_rendered_folder_is_taken_while_envoy_runs, no_request_passes_while_a_folder_is_replaced,
    no_stamp_leaves_by_the_way_before,
};

/// How many policies have their routes compared with their rules, and run in one Envoy of each version.
const POLICIES: usize = 200;
/// How many of them are called at once.
const BATCH: usize = 20;
/// How many verdicts and connections must be compared there, at least.
const COMPARED: usize = 1_000;

on_each_envoy![
    a_rendered_gateway_decides_as_the_tool_explains,
    tls_that_the_gateway_starts_is_verified,
    a_caller_is_who_the_certificate_says,
    a_rendered_folder_is_taken_while_envoy_runs,
    no_request_passes_while_a_folder_is_replaced,
    no_stamp_leaves_by_the_way_before,
];

#[test]
fn module_and_library_take_turns_in_a_folder() {
    let versions = Shell::Native.versions(kit::envoys::asked_for());
    envoy_kit::versions::run(versions, watched::module_and_library_take_turns);
}

#[test]
fn a_folder_says_what_the_file_says() {
    watched::a_folder_says_what_the_file_says();
}

/// Neither wider than what allow rules name, nor narrower.
#[test]
fn the_routes_are_what_allow_rules_name() {
    let (mut routed, mut named) = (0, 0);
    for (number, sample) in samples(POLICIES, 0).iter().enumerate() {
        let description = description(number, Ipv4Addr::LOCALHOST.into(), [7, 8]);
        let tree = rendered(&sample.policy, &description).expect("a configuration");
        let table = Table::of(&tree);
        for (host, port, is_tls) in table.examples() {
            let lets_pass = sample.names(&host, port, is_tls);
            assert!(lets_pass, "wider: {host}:{port}\n{}\n{description}", sample.policy);
            routed += 1;
        }
        for (host, port, is_tls) in samples::universe(&description) {
            if sample.must_route(&host, port, is_tls) {
                let way = table.way(&host, port, is_tls);
                assert!(way.is_some(), "narrower: {host}:{port}\n{}\n{description}", sample.policy);
                named += 1;
            }
        }
    }
    // Else nothing was compared.
    assert!(routed > 1_000 && named > 1_000, "{routed} {named}");
}

/// A chain of filters holds a copy of the policy in each worker, so many names share one.
#[test]
fn many_hosts_are_rendered_in_a_short_form_and_always_the_same() {
    let hosts: Vec<_> = (0..2_000).map(|number| format!("host-{number}.example")).collect();
    let policy = json!({
        "policy": "many",
        "rules": [{"id": "a", "action": "allow", "to": [{"hosts": hosts}]}],
    });
    let description = samples::gateway(json!([{"way": "passthrough"}]));
    let tree = rendered(&policy, &description).expect("a configuration");
    assert_eq!(tree, rendered(&policy, &description).expect("a configuration"));
    let count = |path: &str| tree.pointer(path).and_then(Value::as_array).map_or(0, Vec::len);
    let chains = "/static_resources/listeners/0/filter_chains";
    assert_eq!(count(chains), 2);
    assert_eq!(count(&format!("{chains}/0/filter_chain_match/server_names")), 2_000);
    assert_eq!(count("/static_resources/clusters"), 2_001);
}

/// But for what is told here: a file that is shipped also has a host that the mesh knows and no rule allows,
/// and none where a stand-in is missing; the port in `Host` has no meaning there.
#[test]
fn the_shipped_gateways_are_what_is_rendered_for_their_policy() {
    let mut description = read("envoy/local-gateway.yaml");
    assert_rendered("envoy/gateway.yaml", &description);
    let native = read("envoy/native/local-gateway.yaml");
    assert_rendered("envoy/native/gateway.yaml", &native);
    description["spec"]["envoy"] = native["spec"]["envoy"].clone();
    assert_eq!(native, description);
}

fn assert_rendered(file: &str, description: &Value) {
    let mut shipped = read(file);
    let mut tree = rendered(&read("envoy/policy.yaml"), description).expect("a configuration");
    let shipped_routes = take_routes(&mut shipped);
    let mut routes = take_routes(&mut tree);
    assert_eq!(without_tls(&tree), shipped["static_resources"]["listeners"]);
    assert_eq!(tree["admin"], shipped["admin"]);
    let cluster = "outbound|80||allowed.example";
    assert_eq!(
        named(&tree["static_resources"]["clusters"], cluster),
        named(&shipped["static_resources"]["clusters"], cluster)
    );
    let host = "allowed.example:80";
    let mut shipped_route = named(&shipped_routes["virtual_hosts"], host);
    shipped_route["domains"] = json!(["allowed.example", "allowed.example:80"]);
    shipped_route["routes"][0]["name"] = json!(host);
    // This is Envoy's default.
    assert_eq!(shipped_route["include_request_attempt_count"].take(), json!(false));
    let mut route = named(&routes["virtual_hosts"], host);
    route["include_request_attempt_count"] = Value::Null;
    assert_eq!(route, shipped_route);
    routes["ignore_port_in_host_matching"] = json!(true);
    routes["virtual_hosts"] = shipped_routes["virtual_hosts"].clone();
    assert_eq!(routes, shipped_routes);
}

/// The same of TLS. Named hosts have a chain each there; here they share one.
#[test]
fn the_shipped_gateway_for_tls_is_what_is_rendered_for_its_policy() {
    let mut shipped = read("envoy/gateway-tls.yaml");
    let shipped_listener = &mut shipped["static_resources"]["listeners"][0];
    let chains = shipped_listener["filter_chains"].take();
    let policy = &chains[0]["filters"][0]["typed_config"]["config"]["configuration"]["value"];
    let policy: Value = serde_json::from_str(policy.as_str().expect("text")).expect("JSON");
    let description = samples::gateway(json!([
        {"hosts": ["allowed.example"], "way": "passthrough", "targetPort": 15022, "endpoints": ["127.0.0.1"]},
        {"way": "passthrough"},
    ]));
    let mut tree = rendered(&policy, &description).expect("a configuration");
    let listener = &mut tree["static_resources"]["listeners"][0];
    let [names, wildcards, others] = <[Value; 3]>::try_from(
        listener["filter_chains"].take().as_array().expect("chains").clone(),
    )
    .expect("three chains");
    listener["name"] = shipped_listener["name"].clone();
    assert_eq!(listener, shipped_listener);
    let filters = |chain: &Value| {
        let filters = chain["filters"].as_array().expect("filters").clone();
        let policy_of = |mut filter: Value| {
            let value = &mut filter["typed_config"]["config"]["configuration"]["value"];
            if let Some(text) = value.as_str() {
                *value = serde_json::from_str(text).expect("JSON");
            }
            filter
        };
        filters.into_iter().map(policy_of).collect::<Vec<_>>()
    };
    assert_eq!(filters(&names)[..2], filters(&chains[0])[..2]);
    assert_eq!(
        names["filter_chain_match"]["server_names"],
        json!(["allowed.example", "archive.example"])
    );
    assert_eq!(filters(&wildcards), filters(&chains[1]));
    assert_eq!(wildcards["filter_chain_match"], chains[1]["filter_chain_match"]);
    let mut shipped_others = filters(&chains[2]);
    // Its name alone.
    shipped_others[2]["typed_config"]["stat_prefix"] = json!("nowhere");
    assert_eq!(filters(&others), shipped_others);
    for cluster in ["outbound|443||allowed.example", "wildcards", "nowhere"] {
        let of = |tree: &Value| named(&tree["static_resources"]["clusters"], cluster);
        assert_eq!(of(&tree), of(&shipped), "{cluster}");
    }
}

/// A file of the repository.
fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(format!("{}/{path}", kit::REPOSITORY)).expect(path);
    serde_saphyr::from_str(&text).expect(path)
}

/// Takes the routes of the first listener out, and reads its policy.
fn take_routes(tree: &mut Value) -> Value {
    let manager = &mut tree["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
    let filter = &mut manager["typed_config"]["http_filters"][0]["typed_config"];
    let policy = match filter.get("filter_config").is_some() {
        true => &mut filter["filter_config"]["value"],
        false => &mut filter["config"]["configuration"]["value"],
    };
    *policy = serde_json::from_str(policy.as_str().expect("text")).expect("JSON");
    manager["typed_config"]["route_config"].take()
}

/// The listeners for HTTP.
fn without_tls(tree: &Value) -> Value {
    let listeners = tree["static_resources"]["listeners"].as_array().expect("listeners");
    listeners.iter().filter(|it| it["name"] == "egress").cloned().collect()
}

fn named(list: &Value, name: &str) -> Value {
    let mut items = list.as_array().expect("a list").iter();
    items.find(|item| item["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
}

async fn a_rendered_gateway_decides_as_the_tool_explains(testbed: &Testbed) -> Result<()> {
    let http = http_service().await?;
    let tls = Upstream::start().await?;
    let description = description(0, Ipv4Addr::LOCALHOST.into(), [http.port(), tls.address.port()]);
    let samples = samples(POLICIES, 8);
    let trees = samples.iter().map(|sample| rendered(&sample.policy, &description));
    let trees = trees.collect::<Result<Vec<_>>>()?;
    let gateway = testbed.start(&together(&trees)?).await?;

    let mut statuses = BTreeMap::new();
    let numbered: Vec<_> = samples.iter().enumerate().collect();
    for batch in numbered.chunks(BATCH) {
        let mut calls = Vec::new();
        let mut connections = Vec::new();
        for (number, sample) in batch {
            // A policy without routes of HTTP has no listener for it.
            let Ok(address) = gateway.listener(&format!("egress-{number}")) else { continue };
            // At once, as Envoy keeps each connection open for a while.
            calls.extend(sample.requests.iter().enumerate().map(|(at, request)| {
                let agent = format!("{number}/{at}");
                let call = request.call().header("user-agent", &agent);
                tokio::spawn(async move { (agent, call.verbatim(address).await) })
            }));
            connections.push((number, address));
        }
        for call in calls {
            let (agent, answer) = call.await?;
            let status = answer?.split(' ').nth(1).unwrap_or_default().to_owned();
            statuses.insert(agent, status);
        }
        for (number, address) in connections {
            let last = format!("/last/{number}");
            Call::get("a.test").path(&last).http1(address).await?;
            gateway.access_log(&last).await?;
        }
    }
    let lines = gateway.access_log_after(0);
    let records = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
    let records = records.filter(|record: &Value| !record["egress_decision"].is_null());
    let records: BTreeMap<String, Value> = records
        .filter_map(|record| Some((record["user_agent"].as_str()?.to_owned(), record)))
        .collect();

    let mut compared = 0;
    for (number, (sample, tree)) in samples.iter().zip(&trees).enumerate() {
        let table = Table::of(tree);
        let clusters: Vec<_> =
            sample.requests.iter().map(|it| table.cluster_of(&it.authority)).collect();
        let told = sample.explained(&clusters)?;
        for (at, ((request, cluster), told)) in
            sample.requests.iter().zip(&clusters).zip(&told).enumerate()
        {
            let agent = format!("{number}/{at}");
            // Some requests Envoy refuses by itself.
            let Some(record) = records.get(&agent) else { continue };
            let of = |record: &Value| KEYS.map(|key| record[key].clone());
            let (envoy, tool) = (of(record), of(&told["record"]));
            ensure!(
                envoy == tool,
                "left: Envoy, right: the tool\n{envoy:?}\n{tool:?}\n{}\n{} {told}",
                sample.policy,
                request.authority
            );
            let reaches = told["decision"] == "allow" && cluster.is_some();
            let status = statuses.get(&agent).map_or("", String::as_str);
            ensure!(
                (status == "200") == reaches,
                "{status} for {}\n{}\n{told}",
                request.authority,
                sample.policy
            );
            compared += 1;
        }
        let Ok(address) = gateway.listener(&format!("egress_tls_443-{number}")) else { continue };
        for (name, told) in NAMES.iter().zip(sample.connections_explained()?) {
            let hello = Hello::to(name).to_bytes();
            let reached = Caller::connect(address).await?.exchange(&hello).await?;
            let reaches = told["decision"] == "allow" && table.way(name, 443, true).is_some();
            ensure!(reached == reaches, "{reached} for {name}\n{}\n{told}", sample.policy);
            compared += 1;
        }
    }
    ensure!(compared >= COMPARED, "{compared} were compared");
    Ok(())
}

async fn tls_that_the_gateway_starts_is_verified(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&["good.example"])?;
    let service = TlsService::start(0, &authority).await?;
    let certificates = tempfile::NamedTempFile::new()?;
    std::fs::write(certificates.path(), authority.certificate_pem())?;
    let way = |extra: Value| {
        let mut way = json!({
            "way": "originate",
            "targetPort": service.address.port(),
            "endpoints": ["127.0.0.1"],
        });
        way.as_object_mut().expect("an object").extend(extra.as_object().expect("one").clone());
        way
    };
    let description = samples::gateway(json!([
        way(json!({"hosts": ["system.example"]})),
        way(json!({"caCertificates": certificates.path()})),
    ]));
    let hosts = ["good.example", "bad.example", "system.example"];
    let policy = json!({
        "policy": "tls",
        "rules": [{"id": "a", "action": "allow", "to": [{"hosts": hosts, "ports": [80]}]}],
    });
    let tree = rendered(&policy, &description)?;
    let gateway = testbed.start(&together(&[tree])?).await?;
    for (host, status) in hosts.into_iter().zip([301, 503, 503]) {
        let answer = Call::get(host).http1(gateway.listener("egress-0")?).await?;
        ensure!(answer.status == status, "{host}: {} {}", answer.status, answer.body);
    }
    ensure!(service.requests() == 1, "{} requests", service.requests());
    Ok(())
}

async fn a_caller_is_who_the_certificate_says(testbed: &Testbed) -> Result<()> {
    let (mesh, other) = (Authority::new(&["gateway.test"])?, Authority::new(&["gateway.test"])?);
    let server = mesh.server()?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: String| -> Result<_> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    };
    let mut description = samples::gateway(json!([
        {"way": "http", "targetPort": http_service().await?.port(), "endpoints": ["127.0.0.1"]},
    ]));
    description["spec"]["envoy"] = json!({"mutualTls": {
        "serverCertificate": file("server.pem", server.certificate_pem())?,
        "privateKey": file("server.key", server.key_pem())?,
        "caCertificates": file("callers.pem", mesh.certificate_pem())?,
    }});
    let caller = "cluster.local/ns/payments/sa/checkout";
    let policy = json!({
        "policy": "callers",
        "rules": [{
            "id": "a",
            "action": "allow",
            "from": [{"principals": [caller]}],
            "to": [{"hosts": ["a.test"]}],
        }],
    });
    let gateway = testbed.start(&together(&[rendered(&policy, &description)?])?).await?;
    gateway.ensure_nothing_is_deprecated()?;
    let address = gateway.listener("egress-0")?;
    let call = async |authority: &Authority, name: &str, path: &str| {
        let caller = authority.caller(&format!("spiffe://{name}"))?;
        // The gateway's own certificate is of the first authority, whoever calls.
        Call::get("a.test").path(path).tls(address, &mesh, "gateway.test", Some(&caller)).await
    };
    for (path, name, decision) in
        [("/1", caller, "allow"), ("/2", "cluster.local/ns/payments/sa/other", "deny")]
    {
        call(&mesh, name, path).await?;
        let record = gateway.access_log(path).await?;
        ensure!(record["egress_decision"] == decision, "{record}");
        ensure!(record["source_principal"] == format!("spiffe://{name}"), "{record}");
    }
    ensure!(call(&other, caller, "/3").await.is_err(), "a certificate of another authority");
    let anonymous = Call::get("a.test").tls(address, &mesh, "gateway.test", None).await;
    ensure!(anonymous.is_err(), "no certificate");
    ensure!(Call::get("a.test").http1(address).await.is_err(), "no TLS");
    Ok(())
}

/// One Envoy with the listeners of several configurations, each with its number; the ways out of one name
/// are the same in all.
fn together(trees: &[Value]) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::gateway()?;
    let mut listeners = Vec::new();
    let mut clusters = BTreeMap::new();
    for (number, tree) in trees.iter().enumerate() {
        let resources = &tree["static_resources"];
        for listener in resources["listeners"].as_array().context("listeners")? {
            let mut listener = listener.clone();
            let name = listener["name"].as_str().context("a name")?;
            let name = format!("{name}-{number}");
            listener["name"] = json!(name);
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            if !manager["route_config"].is_null() {
                // The tool is asked about the path as it is sent.
                manager["normalize_path"] = json!(false);
            }
            listeners.push(listener);
        }
        for cluster in resources["clusters"].as_array().context("clusters")? {
            let name = cluster["name"].as_str().context("a name")?;
            let same = clusters.entry(name.to_owned()).or_insert_with(|| cluster.clone());
            ensure!(same == cluster, "two clusters {name}");
        }
    }
    let clusters: Vec<_> = clusters.into_values().collect();
    bootstrap.tree_mut()["static_resources"] =
        json!({"listeners": listeners, "clusters": clusters});
    bootstrap.bind_free_ports();
    Ok(bootstrap)
}

/// Answers 200 to whatever it is sent.
async fn http_service() -> Result<SocketAddr> {
    service(|_| 200).await
}

/// Answers what it is sent by the status that this says.
async fn service(status: fn(&[u8]) -> u16) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1 << 14];
                while let Ok(length @ 1..) = stream.read(&mut request).await {
                    let status = status(&request[..length]);
                    let answer = format!("HTTP/1.1 {status} \r\ncontent-length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    Ok(address)
}
