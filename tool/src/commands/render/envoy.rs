//! `render envoy`: a gateway for an Envoy that no control plane configures.

use super::{Inputs, Request};
use crate::console::{Console, Format, GOOD, NAME, counted, styled};
use crate::failure::{Failure, Outcome};
use crate::render::envoy;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Writes the whole configuration of a plain Envoy as gateway
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden render envoy policy.yaml > gateway.yaml
  envoy --base-id 2 -c gateway.yaml
  curl -i -H 'host: api.example.com' http://127.0.0.1:15011/

HTTP goes to one listener (127.0.0.1:15011), and the port in `Host` chooses among
the routes of a host: 80 without one. TLS that is passed on has a listener for
each port (127.0.0.1:15031 for the first). `spec.envoy` of a gateway's description
names other addresses, and the file of the module.

A route goes to what DNS says, or to the `endpoints` of its way. TLS that the
gateway starts is verified by the authorities of the operating system
(/etc/ssl/certs/ca-certificates.crt), or by `caCertificates` of the way.

This Envoy verifies no client certificates, so rules with `from` never allow.

Exit codes: 0 all is routed, 1 something that the policy names is not (and the
file is written), 2 unreadable input.")]
pub(crate) struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// Where to write it; Envoy reads YAML from a name that ends in `.yaml`. `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

pub(super) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    args.inputs.render(console, |request, console| write(args, request, console))
}

fn write(args: &Args, request: &Request<'_>, console: &mut Console) -> Result<Outcome, Failure> {
    let Request { config, policy, description, gateway, plan, .. } = request;
    let text = envoy::bootstrap(config, policy, gateway, plan)
        .map_err(|errors| description.refused(errors, console))?;
    let outcome = request.tell(console);
    if envoy::asks_callers(policy) {
        console.note(
            "note: this Envoy verifies no client certificates, so rules with `from` never allow",
        );
    }
    if args.output == Path::new("-") {
        console.bytes(text.as_bytes())?;
        return Ok(outcome);
    }
    std::fs::write(&args.output, text).map_err(|error| {
        Failure::new(args.output.display().to_string(), error.to_string(), "name another file")
    })?;
    match console.format() {
        Format::Text => console.line(format_args!(
            "{}: {}, {}",
            styled(NAME, args.output.display()),
            styled(GOOD, &config.revision),
            counted(plan.routes.len() as u64, "route"),
        ))?,
        Format::Json => {
            console.json(&json!({ "policy": config.revision, "routes": plan.routes.len() }))?;
        }
    }
    Ok(outcome)
}
