//! What the native library does otherwise than the module, or alone: how it is loaded, and that no panic leaves it. `./build.sh test` builds it, and the one that panics on command.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::versions;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Makes a test of each scenario, on the versions that the library runs on.
macro_rules! on_each_native {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn on_each_native() {
                envoy_kit::versions::run_native(kit::envoys::asked_for(), super::$scenario);
            }
        }
    )+};
}

#[path = "native/set_up.rs"]
mod set_up;

on_each_native![
    another_name_of_the_filter_is_refused,
    a_waypoint_that_was_not_named_so_lets_nothing_pass,
    a_configuration_of_a_route_is_refused,
    a_configuration_that_panics_is_refused,
    a_panic_at_any_callback_of_a_request_refuses_it,
    a_panic_between_two_writes_of_headers_refuses_the_request,
    a_panic_where_nothing_can_be_refused_changes_nothing,
];

/// Before 1.38 the interface is another one.
#[test]
fn older_envoys_refuse_the_library() {
    let old = kit::envoys::asked_for().into_iter();
    let old = old.filter(|version| version.starts_with("1.36.") || version.starts_with("1.37."));
    versions::run_native_on(old.collect(), async |testbed: &Testbed| {
        let lines = testbed.refusal(Bootstrap::gateway()?).await?.join("\n");
        ensure!(lines.contains("Failed to load dynamic module"), "{lines}");
        Ok(())
    });
}

async fn another_name_of_the_filter_is_refused(testbed: &Testbed) -> Result<()> {
    let lines = testbed.refusal(named("egress-warden:waypoints")?).await?.join("\n");
    let refusal =
        "filter name `egress-warden:waypoints` refused: write `egress-warden`, or at a waypoint";
    ensure!(lines.contains(refusal), "{lines}");
    Ok(())
}

async fn a_waypoint_that_was_not_named_so_lets_nothing_pass(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    let filters = connection_manager(&mut bootstrap)["http_filters"].as_array_mut();
    filters.context("filters")?.insert(
        0,
        json!({
            "name": "what-a-waypoint-knows",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
                "on_request_headers": [{
                    "object_key": "io.istio.peer_principal",
                    "factory_key": "envoy.string",
                    "format_string": {"text_format_source": {"inline_string": "-"}},
                }],
            },
        }),
    );
    let (gateway, external) = testbed.gateway(bootstrap).await?;
    let record = send(&gateway, "/misplaced").await?;
    assert_eq!(record["response_code_details"], "egress_denied[proxy_error]");
    assert_eq!(external.counter("http.external.downstream_cx_total").await?, 0);
    gateway.error_log("this is a waypoint: give the filter the name").await?;
    Ok(())
}

/// It would choose another policy for a route, or none.
async fn a_configuration_of_a_route_is_refused(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    let host = &mut connection_manager(&mut bootstrap)["route_config"]["virtual_hosts"][0];
    host["typed_per_filter_config"] = json!({"egress-warden": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute",
        "dynamic_module_config": {"name": "egress_warden"},
        "per_route_config_name": "egress-warden",
    }});
    let lines = testbed.refusal(bootstrap).await?.join("\n");
    ensure!(lines.contains("Failed to create pre-route filter config"), "{lines}");
    Ok(())
}

async fn a_configuration_that_panics_is_refused(testbed: &Testbed) -> Result<()> {
    let lines = testbed.refusal(faulty("configure/1")?).await?.join("\n");
    ensure!(lines.contains("a fault at configure"), "{lines}");
    Ok(())
}

async fn a_panic_at_any_callback_of_a_request_refuses_it(testbed: &Testbed) -> Result<()> {
    for callback in ["begin", "request_headers"] {
        let (gateway, external) = testbed.gateway(faulty(&format!("{callback}/2"))?).await?;
        let (passed, refused) = (json!("via_upstream"), json!("egress_denied[native_panic]"));
        for (number, details) in [(1, &passed), (2, &refused), (3, &passed), (4, &refused)] {
            let record = send(&gateway, &format!("/{number}")).await?;
            assert_eq!(&record["response_code_details"], details, "{callback} {number}");
        }
        assert_eq!(external.counter("http.external.downstream_rq_completed").await?, 2);
        assert_panics(&gateway, 2).await?;
    }
    // The headers of these have passed before: the upstream may have them by then, and no more.
    for callback in ["request_body", "request_trailers"] {
        let mut bootstrap = faulty(&format!("{callback}/1"))?;
        connection_manager(&mut bootstrap)["http_protocol_options"] =
            json!({"enable_trailers": true});
        let (gateway, _external) = testbed.gateway(bootstrap).await?;
        let mut caller = TcpStream::connect(gateway.listener("egress")?).await?;
        let headers = "POST /late HTTP/1.1\r\nhost: allowed.example\r\ntransfer-encoding: chunked";
        caller
            .write_all(format!("{headers}\r\n\r\n4\r\nbody\r\n0\r\nx-t: 1\r\n\r\n").as_bytes())
            .await?;
        let details = &gateway.access_log("/late").await?["response_code_details"];
        assert_eq!(details, "egress_denied[native_panic]", "{callback}");
        assert_panics(&gateway, 1).await?;
    }
    Ok(())
}

async fn a_panic_between_two_writes_of_headers_refuses_the_request(
    testbed: &Testbed,
) -> Result<()> {
    let (gateway, external) = testbed.gateway(faulty("header_write/1")?).await?;
    let record = send(&gateway, "/torn").await?;
    assert_eq!(record["response_code"], 503);
    assert_eq!(record["response_code_details"], "egress_denied[native_panic]");
    assert_eq!(external.counter("http.external.downstream_cx_total").await?, 0);
    assert_panics(&gateway, 1).await
}

async fn a_panic_where_nothing_can_be_refused_changes_nothing(testbed: &Testbed) -> Result<()> {
    for callback in ["end", "forget"] {
        let (gateway, _external) = testbed.gateway(faulty(&format!("{callback}/1"))?).await?;
        for path in ["/1", "/2"] {
            assert_eq!(send(&gateway, path).await?["response_code"], 301, "{callback}");
        }
    }
    Ok(())
}

/// Each is counted, and logged with its place in the source.
async fn assert_panics(gateway: &Envoy, count: u64) -> Result<()> {
    let counter = "wasmcustom.egress_warden.requests.deny.native_panic";
    assert_eq!(gateway.counter(counter).await?, count);
    let line = gateway.error_log("a fault at").await.or(gateway.error_log("panicked at").await)?;
    ensure!(line.contains("[error]") || line.contains("a fault at"), "{line}");
    Ok(())
}

/// Sends one to the allowed host; its record.
async fn send(gateway: &Envoy, path: &str) -> Result<Value> {
    Call::get("allowed.example").path(path).http1(gateway.listener("egress")?).await?;
    gateway.access_log(path).await
}

/// The shipped gateway, with the library that panics as it is told.
fn faulty(fault: &str) -> Result<Bootstrap> {
    let mut bootstrap = named(&format!("fault/{fault}"))?;
    bootstrap
        .environment
        .push(("ENVOY_DYNAMIC_MODULES_SEARCH_PATH".to_owned(), "target/fault".to_owned()));
    Ok(bootstrap)
}

/// The shipped gateway, with another name of the filter.
fn named(name: &str) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::gateway()?;
    let filters = connection_manager(&mut bootstrap)["http_filters"].as_array_mut();
    let filter = filters.context("filters")?.iter_mut().find(|it| it["name"] == "egress-warden");
    filter.context("the filter")?["typed_config"]["config"]["name"] = json!(name);
    Ok(bootstrap)
}

fn connection_manager(bootstrap: &mut Bootstrap) -> &mut Value {
    &mut bootstrap.tree_mut()["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
        ["typed_config"]
}
