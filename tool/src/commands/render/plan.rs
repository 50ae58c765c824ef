//! `render plan`: what would be routed, and how.

use super::{Inputs, Request};
use crate::console::{Console, FRAME, Format, NAME, ODD, counted, styled};
use crate::diagnostics::{self, Diagnostic};
use crate::failure::{Failure, Outcome};
use crate::render::gateway::{Authorities, Dataplane, Gateway, RouteForm};
use crate::render::plan::Route;
use serde_json::{Value, json};

/// Shows which hosts are routed, and how
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  egress-warden render plan policy.yaml --gateway gateway.yaml

Each line is a host, the port that callers dial, the way out with the port that
the gateway dials, and the rules that may allow it. With --format json also the
gateway with all defaults.

Exit codes: 0 all is routed, 1 something that the policy names is not, 2 unreadable
input.")]
pub(crate) struct Args {
    #[command(flatten)]
    inputs: Inputs,
}

pub(super) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    args.inputs.render(console, |request, console| match console.format() {
        Format::Text => {
            write(request, console)?;
            Ok(request.tell(console))
        }
        Format::Json => {
            console.json(&json_of(request))?;
            Ok(super::outcome(&request.plan.obstacles))
        }
    })
}

fn write(request: &Request<'_>, console: &mut Console) -> Result<(), Failure> {
    let routes = &request.plan.routes;
    for route in routes {
        console.line(line(route))?;
    }
    let count = counted(routes.len() as u64, "route");
    console.line(format_args!("{}: {count}", styled(NAME, &request.config.revision)))
}

/// `api.example.com:80 originate to 443 by payments-to-api`.
fn line(route: &Route<'_>) -> String {
    let host = styled(NAME, format!("{}:{}", route.host.text(), route.port));
    let way = styled(ODD, route.way.kind.as_str());
    let rules = match route.rules.as_slice() {
        [] => "no rule".to_owned(),
        rules => rules.join(", "),
    };
    format!("{host} {way} to {} {} {rules}", route.target_port, styled(FRAME, "by"))
}

fn json_of(request: &Request<'_>) -> Value {
    let Request { file, config, gateway, plan, .. } = request;
    let routes: Vec<_> = plan.routes.iter().map(route_json).collect();
    let findings = plan.obstacles.iter().map(Diagnostic::of_plan);
    let findings: Vec<_> =
        findings.map(|finding| diagnostics::one_json(file.document(), &finding)).collect();
    json!({
        "policy": config.revision,
        "gateway": gateway_json(gateway),
        "routes": routes,
        "findings": findings,
    })
}

fn route_json(route: &Route<'_>) -> Value {
    let (certificates, secret) = match route.way.authorities {
        Authorities::System => (None, None),
        Authorities::File(file) => (Some(file), None),
        Authorities::Secret(secret) => (None, Some(secret)),
    };
    json!({
        "host": route.host.text(),
        "port": route.port,
        "way": route.way.kind.as_str(),
        "targetPort": route.target_port,
        "caCertificates": certificates,
        "secret": secret,
        "endpoints": route.way.endpoints,
        "described": route.way.place.as_ref().map(|(path, _)| path),
        "rules": route.rules,
    })
}

/// The description with its defaults, but for its ways, which the routes show.
fn gateway_json(gateway: &Gateway<'_>) -> Value {
    let labels: serde_json::Map<_, _> =
        gateway.labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    let module = gateway.module.as_ref().map(|module| {
        json!({ "url": module.url, "sha256": module.sha256, "pullSecret": module.pull_secret })
    });
    let envoy = &gateway.envoy;
    json!({
        "name": gateway.name,
        "namespace": gateway.namespace,
        "istio": gateway.istio.to_string(),
        "dataplane": match gateway.dataplane {
            Dataplane::Sidecar => "sidecar",
            Dataplane::Ambient => "ambient",
        },
        "routes": match gateway.routes {
            RouteForm::VirtualService => "virtual-service",
            RouteForm::GatewayApi => "gateway-api",
        },
        "service": gateway.service,
        "labels": labels,
        "ports": gateway.ports,
        "module": module,
        "workloads": gateway.workloads,
        "envoy": {
            "admin": envoy.admin,
            "http": envoy.http,
            "tls": envoy.tls,
            "module": envoy.module,
            "native": envoy.native,
        },
    })
}
