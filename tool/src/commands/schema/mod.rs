//! `schema`: the form of a policy, for editors.

use crate::console::{Console, Format};
use crate::failure::{Failure, Outcome};

/// The JSON Schema of a policy, draft 2020-12.
const SCHEMA: &str = include_str!("policy.json");

/// Prints the JSON Schema of a policy (draft 2020-12), for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  egress-warden schema > egress-policy.schema.json

The first line of a policy then tells editors with the YAML language server:
  # yaml-language-server: $schema=egress-policy.schema.json

A schema cannot describe everything, for example ids that are used twice.
`check` finds these errors too.")]
pub(crate) struct Args {}

/// Always yes.
pub(crate) fn run(_args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    match console.format() {
        Format::Text => console.bytes(SCHEMA.as_bytes())?,
        Format::Json => {
            let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap_or_default();
            console.json(&schema)?;
        }
    }
    Ok(Outcome::Yes)
}
