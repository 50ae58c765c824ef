//! Where the filters of this project find their plugins, each of which holds the policy: in their places, or
//! in files that Envoy watches.

use super::files::{self, EXTENSION, File};
use crate::render::template::fill;

/// Where the plugins are.
pub(super) enum Plugins<'f> {
    /// In their places; the first has the policy, and those behind name it.
    InPlace { has_policy: bool },
    /// In files of this folder, those of each listener by itself.
    InFiles { folder: &'f str, files: Vec<File> },
}

/// The plugin of a filter.
pub(super) struct Plugin<'p> {
    /// The type of its configuration.
    pub(super) kind: &'static str,
    /// The configuration.
    pub(super) template: &'static str,
    /// The key of the policy in it.
    pub(super) key: &'static str,
    /// The filter's name where its plugin comes by itself. No two filters of an Envoy may have one name.
    pub(super) filter: &'p str,
    /// What its folder is called.
    pub(super) file: &'p str,
}

impl Plugins<'_> {
    /// The name of the filter, and what stands in it.
    pub(super) fn place<'p>(
        &mut self,
        plugin: &Plugin<'p>,
        values: &[(&str, &str)],
    ) -> (&'p str, String) {
        let configuration = match self {
            Self::InPlace { has_policy: true } => format!("{}: *policy", plugin.key),
            _ => fill(CONFIGURATION, &[values, &[("key", plugin.key)]].concat()),
        };
        let own = [("configuration", &*configuration)];
        let text = fill(plugin.template, &[values, &own].concat());
        match self {
            Self::InPlace { has_policy } => {
                *has_policy = true;
                ("egress-warden", text)
            }
            Self::InFiles { folder, files } => {
                let path = format!("policy/{}/policy.yaml", plugin.file);
                let values = [("name", plugin.filter), ("plugin", &text)];
                let source = files::source(folder, &path);
                let values_of_discovery = [("source", &*source), ("type", plugin.kind)];
                let discovery = fill(DISCOVERY, &values_of_discovery);
                files.push(File::new(path, &[fill(RESOURCE, &values)], EXTENSION));
                (plugin.filter, discovery)
            }
        }
    }
}

const CONFIGURATION: &str = "\
# The policy @revision@, one rule a line.
@key@: &policy
  \"@type\": type.googleapis.com/google.protobuf.StringValue
  value: |
    @policy@
";

const RESOURCE: &str = "  - name: @name@
    @plugin@
";

/// Until the plugin has come, Envoy answers 500, or closes the connection.
const DISCOVERY: &str = "\
# The plugin, with the policy, comes by itself: a new file that is moved there is taken without a restart.
config_discovery:
  config_source: @source@
  type_urls: [type.googleapis.com/@type@]
";
