//! Which plugin connections are judged as.

use crate::policy_file::PolicyFile;
use egress_warden::root_id::{Connections, REMEDY};

/// The root id of the plugin, as every command that judges connections asks for it.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct RootId {
    /// The root id of the plugin for connections, if the policy is not inside a manifest:
    /// `connections` (the default) or `connections:8443`, each with or without `:mesh-names` at
    /// its end
    #[arg(long, value_name = "ID", value_parser = parse)]
    root_id: Option<Connections>,
}

impl RootId {
    /// What it judges; `file` has the policy, if there is one.
    pub(crate) fn connections(self, file: Option<&PolicyFile>) -> Connections {
        self.root_id.or_else(|| file?.connections()).unwrap_or_default()
    }
}

fn parse(text: &str) -> Result<Connections, String> {
    Connections::of_root_id(text.as_bytes()).ok().flatten().ok_or_else(|| REMEDY.to_owned())
}
