//! Grafana's dashboard: each query of it, asked as Grafana asks, of a Prometheus that saw gateways of each kind.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;

use super::prometheus::{Prometheus, soon};
use super::{counting, judging_connections, make_connections, send_requests, with_a_bad_policy};

pub(crate) async fn each_query_has_data(testbed: &Testbed) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (requests, _external) = counting(testbed, Bootstrap::gateway()?).await?;
    let connections = judging_connections(testbed, Bootstrap::gateway_tls()?).await?;
    let bad = with_a_bad_policy(testbed, Bootstrap::gateway()?, folder.path()).await?;
    let bad_listener = with_a_bad_listener(testbed, folder.path()).await?;
    let targets =
        [&requests, &connections, &bad, &bad_listener].map(|envoy| ("gateway", envoy.admin()));
    let prometheus = Prometheus::start(&targets, folder.path())?;
    let dashboard = Dashboard::read()?;
    let mut queries = 0;
    for panel in dashboard.panels()? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().context("an expression")?;
            soon(async || {
                send_requests(&requests).await?;
                make_connections(&connections).await?;
                let values = dashboard.choose_all(&prometheus).await?;
                let expression = interpolated(expression, &values);
                let samples = prometheus.query(&expression).await?;
                ensure!(!samples.is_empty(), "{}: no data of {expression}", panel["title"]);
                // What is divided by nothing is no number.
                ensure!(samples.iter().all(|it| it["value"][1] != "NaN"), "{samples:?}");
                Ok(())
            })
            .await?;
            queries += 1;
        }
    }
    ensure!(queries > 30, "{queries} queries");

    // What is chosen is all there is.
    let mut values = dashboard.choose_all(&prometheus).await?;
    let chosen = requests.admin().to_string();
    for (name, value) in &mut values {
        if name == "instance" {
            *value = escaped(&chosen);
        }
    }
    let hash = dashboard.expressions()?.find(|it| it.starts_with("egress_warden_policy_hash"));
    let samples = prometheus.query(&interpolated(&hash.context("a hash")?, &values)).await?;
    ensure!(samples.len() == 1 && samples[0]["metric"]["instance"] == chosen, "{samples:?}");
    Ok(())
}

/// A gateway that refused a second listener.
async fn with_a_bad_listener(testbed: &Testbed, folder: &Path) -> Result<Envoy> {
    let mut bad = Bootstrap::gateway()?;
    bad.set_policy(json!({"policy": "bad"}))?;
    bad.bind_free_ports();
    let mut listener = bad.tree_mut()["static_resources"]["listeners"][0].take();
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    listener["name"] = json!("bad");
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.bind_free_ports();
    let tree = bootstrap.tree_mut();
    tree["node"] = json!({"id": "bad", "cluster": "bad"});
    let path = folder.join("listener.json");
    std::fs::write(&path, json!({"resources": [listener]}).to_string())?;
    let source = json!({"path_config_source": {"path": path}, "resource_api_version": "V3"});
    tree["dynamic_resources"] = json!({"lds_config": source});
    testbed.start(&bootstrap).await
}

/// The shipped dashboard.
struct Dashboard(Value);

impl Dashboard {
    fn read() -> Result<Self> {
        let path = Path::new(kit::REPOSITORY).join("envoy/grafana/egress-warden.json");
        Ok(Self(serde_json::from_str(&std::fs::read_to_string(path)?)?))
    }

    fn panels(&self) -> Result<&Vec<Value>> {
        self.0["panels"].as_array().context("panels")
    }

    fn expressions(&self) -> Result<impl Iterator<Item = String>> {
        let targets = self.panels()?.iter().filter_map(|panel| panel["targets"].as_array());
        Ok(targets.flatten().filter_map(|it| Some(it["expr"].as_str()?.to_owned())))
    }

    /// The value of each variable where "All" is chosen, which is the default.
    async fn choose_all(&self, prometheus: &Prometheus) -> Result<Vec<(String, String)>> {
        let mut chosen = Vec::new();
        for variable in self.0["templating"]["list"].as_array().context("variables")? {
            if variable["type"] == "datasource" {
                continue;
            }
            let name = variable["name"].as_str().context("a name")?;
            let query = variable["query"]["query"].as_str().context("a query")?;
            let arguments = interpolated(query, &chosen);
            let arguments = arguments.strip_prefix("label_values(").context("label_values")?;
            let (selector, label) = arguments.rsplit_once(", ").context("two arguments")?;
            let label = label.strip_suffix(')').context("an end")?;
            let values = prometheus.label_values(selector, label).await?;
            // Outside a cluster there are no namespaces.
            ensure!(name == "namespace" || !values.is_empty(), "no {label} of {selector}");
            let all = match variable["allValue"].as_str() {
                Some(all) => all.to_owned(),
                None => match &values[..] {
                    [value] => escaped(value),
                    _ => format!(
                        "({})",
                        values.iter().map(|it| escaped(it)).collect::<Vec<_>>().join("|")
                    ),
                },
            };
            chosen.push((name.to_owned(), all));
        }
        Ok(chosen)
    }
}

/// An expression with the values of variables in it. The range is as long as the gateways are up, at the least.
fn interpolated(expression: &str, values: &[(String, String)]) -> String {
    let own = [("__rate_interval", "10s"), ("__range", "600s")];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    own.iter().chain(values).fold(expression.to_owned(), |expression, (name, value)| {
        expression.replace(&format!("${name}"), value)
    })
}

/// A value in a regular expression within a text of PromQL, as Grafana writes it.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for character in value.chars() {
        if r"\^$*+?.()|[]{}".contains(character) {
            escaped.push_str(r"\\");
        }
        escaped.push(character);
    }
    escaped
}
