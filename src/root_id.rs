//! What the root id of a plugin says (in Istio: `pluginName`): whether it judges connections, and
//! which.

use crate::host::{Malformed, ServerNameForm, parse_port};
use std::fmt;

/// The root ids that a plugin for connections may have, for messages.
pub const REMEDY: &str =
    "write `connections`, or `connections:8443`; either may end in `:mesh-names`";

/// The connections that a plugin judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// The port that they go to.
    pub port: u16,
    /// The form of their server names. Any other is malformed.
    pub server_names: ServerNameForm,
}

/// Those of the root id `connections`.
impl Default for Connections {
    fn default() -> Self {
        Self { port: 443, server_names: ServerNameForm::Host }
    }
}

impl Connections {
    /// Reads a root id: `connections` or `connections:PORT`, and either with `:mesh-names` at its
    /// end. `None`: the plugin judges requests. What begins so and goes on otherwise is a mistake.
    pub fn of_root_id(root_id: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(rest) = root_id.strip_prefix(b"connections") else { return Ok(None) };
        let (port, server_names) = match rest.strip_suffix(b":mesh-names") {
            Some(port) => (port, ServerNameForm::Mesh),
            None => (rest, ServerNameForm::Host),
        };
        let port = match port {
            [] => Self::default().port,
            [b':', port @ ..] => parse_port(port)?,
            _ => return Err(Malformed::Port),
        };
        Ok(Some(Self { port, server_names }))
    }
}

/// The root id.
impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connections")?;
        if self.port != Self::default().port {
            write!(f, ":{}", self.port)?;
        }
        match self.server_names {
            ServerNameForm::Host => Ok(()),
            ServerNameForm::Mesh => f.write_str(":mesh-names"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn the_root_id_says_whether_connections_are_judged_and_which() {
        let connections = |port, server_names| Ok(Some(Connections { port, server_names }));
        for (root_id, judged) in [
            ("", Ok(None)),
            ("egress-warden", Ok(None)),
            ("connection", Ok(None)),
            ("Connections", Ok(None)),
            ("mesh-names", Ok(None)),
            ("connections", connections(443, ServerNameForm::Host)),
            ("connections:8443", connections(8443, ServerNameForm::Host)),
            ("connections:mesh-names", connections(443, ServerNameForm::Mesh)),
            ("connections:8443:mesh-names", connections(8443, ServerNameForm::Mesh)),
            ("connections:", Err(Malformed::Port)),
            ("connections:0443", Err(Malformed::Port)),
            ("connections:65536", Err(Malformed::Port)),
            ("connections 443", Err(Malformed::Port)),
            ("connections:mesh", Err(Malformed::Port)),
            ("connections-mesh-names", Err(Malformed::Port)),
            ("connections::mesh-names", Err(Malformed::Port)),
            ("connections:443:mesh", Err(Malformed::Port)),
            ("connections:443:mesh-names:mesh-names", Err(Malformed::Port)),
            ("connections:mesh-names:443", Err(Malformed::Port)),
        ] {
            assert_eq!(Connections::of_root_id(root_id.as_bytes()), judged, "{root_id}");
            if let Ok(Some(judged)) = judged {
                let text = judged.to_string();
                assert_eq!(Connections::of_root_id(text.as_bytes()), Ok(Some(judged)), "{text}");
            }
        }
    }
}
