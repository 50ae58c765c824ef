//! `render`: the configuration of proxies, of a policy and the description of a gateway.

mod envoy;
mod folder;
mod istio;
mod plan;

use crate::console::{Console, counted};
use crate::diagnostics::{self, Diagnostic};
use crate::failure::{Failure, Outcome};
use crate::finding::{Finding, Message};
use crate::policy_file::{PolicyFile, Source, Which};
use crate::render::gateway::{Gateway, GatewayFile};
use crate::render::plan::{Obstacle, Plan};
use egress_warden::config::Config;
use std::path::PathBuf;

/// Writes the configuration of a gateway for a policy
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Routes are written for the hosts and ports that allow rules name, and for no
others. What rules allow and no route can say is told on standard error, with
its place and a remedy.

The description of a gateway has the form of a Kubernetes object. Everything
under `spec` is optional:
  apiVersion: egress-warden.dev/v1alpha1
  kind: EgressGateway
  metadata: {name: egress, namespace: istio-system}
  spec:
    ways:                     # the first that fits a host and its port
    - hosts: [\"*.corp.example\"]      # default: every host
      ports: [80]                    # default: 443 for passthrough, else 80
      way: http               # the default of `ways` is the two below
    - way: originate          # HTTP to port 80; the gateway starts TLS to 443
    - way: passthrough        # the application's own TLS to port 443
`egress-warden schema gateway` has all keys.")]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, clap::Subcommand)]
enum Target {
    Envoy(envoy::Args),
    Istio(istio::Args),
    Plan(plan::Args),
}

/// What every configuration is made of.
#[derive(Debug, clap::Args)]
struct Inputs {
    /// A policy in YAML or JSON. `-` is standard input
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    which: Which,
    /// The description of the gateway. Without one everything has its default
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    match &args.target {
        Target::Envoy(args) => envoy::run(args, console),
        Target::Istio(args) => istio::run(args, console),
        Target::Plan(args) => plan::run(args, console),
    }
}

/// What the inputs say, as it is rendered.
struct Request<'r> {
    file: &'r PolicyFile,
    config: &'r Config,
    policy: &'r Source<'r>,
    description: &'r GatewayFile,
    gateway: &'r Gateway<'r>,
    plan: &'r Plan<'r>,
}

impl Inputs {
    /// Reads all of it, and renders it by `render`.
    fn render(
        &self,
        console: &mut Console,
        render: impl FnOnce(&Request<'_>, &mut Console) -> Result<Outcome, Failure>,
    ) -> Result<Outcome, Failure> {
        let (file, config) = PolicyFile::load(&self.policy, self.which.name(), console)?;
        let description = match &self.gateway {
            Some(path) => GatewayFile::read(path)?,
            None => GatewayFile::default(),
        };
        let gateway = self.gateway(&description, console)?;
        let Some(source) = file.source() else {
            // INVARIANT: what was read without errors has a source.
            return Ok(Outcome::No);
        };
        let plan = Plan::of(&source, &gateway);
        let request = Request {
            file: &file,
            config: &config,
            policy: &source,
            description: &description,
            gateway: &gateway,
            plan: &plan,
        };
        render(&request, console)
    }

    /// The gateway, or every error of its description, told.
    fn gateway<'d>(
        &self,
        description: &'d GatewayFile,
        console: &mut Console,
    ) -> Result<Gateway<'d>, Failure> {
        description.gateway().map_err(|errors| description.refused(errors, console))
    }
}

impl GatewayFile {
    /// Tells every error of the description.
    fn refused(
        &self,
        errors: Vec<Finding<impl Message + 'static>>,
        console: &mut Console,
    ) -> Failure {
        let Some(document) = self.document() else {
            // INVARIANT: without a document there is nothing that could be wrong.
            return Failure::new("--gateway", "no description", "name a file");
        };
        let count = counted(errors.len() as u64, "error");
        for error in errors {
            let error = Diagnostic::error(self.placed(error));
            console.note(format_args!("{}\n", diagnostics::one(document, &error)));
        }
        Failure::new(document.name(), count, "see above")
    }
}

impl GatewayFile {
    /// An error about a setting, which has a path alone, at that setting.
    fn placed<K>(&self, error: Finding<K>) -> Finding<K> {
        let root = self.document().and_then(|document| document.roots().first());
        let keys = error.path.strip_prefix("$.").filter(|_| error.span.is_empty());
        let node = keys.and_then(|keys| keys.split('.').try_fold(root?, |node, key| node.get(key)));
        let span = node.map_or(error.span, |node| node.span.clone());
        Finding { span, ..error }
    }
}

impl Request<'_> {
    /// Tells what has no route. No where that is something that the policy names.
    fn tell(&self, console: &mut Console) -> Outcome {
        let diagnostics: Vec<_> = self.plan.obstacles.iter().map(Diagnostic::of_plan).collect();
        for diagnostic in &diagnostics {
            console.note(format_args!("{}\n", diagnostics::one(self.file.document(), diagnostic)));
        }
        outcome(&self.plan.obstacles)
    }

    /// Tells which of these settings are there, and are for another kind of proxy alone.
    fn tell_unused(&self, keys: &[&str], whose: &str, console: &mut Console) {
        let root = self.description.document().and_then(|document| document.roots().first());
        let spec = root.and_then(|root| root.get("spec"));
        let is_there = |key: &&&str| spec.is_some_and(|spec| spec.get(key).is_some());
        let unused: Vec<_> =
            keys.iter().filter(is_there).map(|key| format!("`spec.{key}`")).collect();
        if !unused.is_empty() {
            let unused = unused.join(", ");
            console
                .note(format_args!("note: without effect here, as only {whose} has it: {unused}"));
        }
    }
}

fn outcome(obstacles: &[Finding<Obstacle>]) -> Outcome {
    Outcome::of_findings(obstacles.iter().filter(|obstacle| !obstacle.kind.is_note).count())
}
