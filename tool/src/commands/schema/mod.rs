//! `schema`: the form of a policy, or of a gateway's description, for editors.

use crate::console::{Console, Format};
use crate::failure::{Failure, Outcome};
use clap::ValueEnum;

/// JSON Schemas, draft 2020-12.
const POLICY: &str = include_str!("policy.json");
const GATEWAY: &str = include_str!("gateway.json");

/// Prints the JSON Schema of a policy or a gateway (draft 2020-12), for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden schema > egress-policy.schema.json
  egress-warden schema gateway > egress-gateway.schema.json

The first line of a policy then tells editors with the YAML language server:
  # yaml-language-server: $schema=egress-policy.schema.json

A schema cannot describe everything, for example ids that are used twice.
`check` finds these errors too, and `render` those of a gateway.")]
pub(crate) struct Args {
    /// What the schema is of
    #[arg(value_enum, default_value_t = Subject::Policy)]
    subject: Subject,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    /// A policy
    Policy,
    /// The description of a gateway, for `render`
    Gateway,
}

/// Always yes.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let schema = match args.subject {
        Subject::Policy => POLICY,
        Subject::Gateway => GATEWAY,
    };
    match console.format() {
        Format::Text => console.bytes(schema.as_bytes())?,
        Format::Json => {
            let schema: serde_json::Value = serde_json::from_str(schema).unwrap_or_default();
            console.json(&schema)?;
        }
    }
    Ok(Outcome::Yes)
}
