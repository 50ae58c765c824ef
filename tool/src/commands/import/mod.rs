//! `import`: a policy of what people have: lists of hosts, and the policies of other products.
//!
//! Each kind has a reader of its own, which fills a [`Draft`]. What a reader cannot say in a policy it
//! names, and does so that what the source refuses stays refused.

mod accounts;
mod asm;
mod cilium;
mod domains;
mod draft;
mod google_swp;
mod harden_runner;
mod hosts;
mod istio;
mod network_firewall;
mod openshell;
mod paths;
mod policies;
mod ports;
mod smokescreen;
mod squid;
mod text;
mod wildcards;

pub(crate) use cilium::Version;
pub(crate) use text::Text;

use crate::console::{Console, Format, ODD, styled};
use crate::document::Node;
use crate::failure::{Failure, Outcome};
use crate::input;
use crate::policy_file::{PolicyFile, folder};
use crate::policy_text::{self, Mode, Output};
use accounts::Accounts;
use clap::ValueEnum;
use draft::{Draft, Point, count};
use egress_warden::config::Config;
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;

/// Turns a list of hosts, or another product's policy, into a policy
///
/// The policy never allows what its source refuses. What cannot be carried over is named, with its
/// place and what to do about it. Then nothing is written and the exit code is 1, unless
/// `--allow-partial` has the rest written, with what is left open as comments.
///
/// Comments in the policy say where each rule comes from. Several files of one kind are imported together.
///
/// `--format json` writes one object: `policy`, which is null if nothing is written, `open` [{place,
/// problem, remedy}], `passed_over`.
///
/// Exit codes: 0 written, 1 something could not be carried over, 2 wrong usage or unreadable input.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden import --from domains partners.txt -o policy.yaml
  egress-warden import partners.txt --mode monitor -o policy.yaml
  egress-warden import --allow-partial squid.conf")]
pub(crate) struct Args {
    /// What the files are. auto: what they look like
    #[arg(long, value_enum, default_value_t = Kind::Auto, value_name = "KIND")]
    from: Kind,
    /// The files, or folders of `*.yaml`, `*.yml` and `*.json`. `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Which service accounts pods run as, by their labels: for sources that select pods (cilium, asm).
    ///
    /// A list in YAML: `- {namespace: shop, labels: {app: web}, serviceAccounts: [web]}` says that every pod
    /// that runs as the account `web` in `shop` has the label `app: web`
    #[arg(long, value_name = "MAP")]
    service_accounts: Option<PathBuf>,
    /// The oldest version of Cilium that enforces the policies, such as 1.19: before it, `**.` in a
    /// `matchPattern` is one label
    #[arg(long, value_name = "VERSION")]
    cilium_version: Option<Version>,
    #[command(flatten)]
    output: Output,
    /// The name of the policy
    #[arg(long, value_name = "NAME", default_value = "imported", value_parser = policy_text::name)]
    name: String,
    /// Write the policy even if something is not carried over: comments in it say what
    #[arg(long)]
    allow_partial: bool,
}

/// What is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// What the files look like
    Auto,
    /// A plain list of hosts
    Domains,
    /// The `acl` and `http_access` lines of a squid.conf
    Squid,
    /// A workflow with steps of StepSecurity's Harden-Runner
    HardenRunner,
    /// UrlLists of Google's Secure Web Proxy
    GoogleSwp,
    /// Domain lists of AWS Network Firewall
    AwsNetworkFirewall,
    /// An access control list (v1) of Stripe's Smokescreen
    Smokescreen,
    /// CiliumNetworkPolicies and CiliumClusterwideNetworkPolicies
    Cilium,
    /// ASMEgressTrafficPolicies of Alibaba Cloud Service Mesh
    Asm,
    /// Network policies of NVIDIA's OpenShell
    Openshell,
    /// ServiceEntries, AuthorizationPolicies of the egress gateway and Sidecars of Istio
    Istio,
}

/// Every kind but `auto`, the surest signs first.
const KINDS: [Kind; 10] = [
    Kind::Cilium,
    Kind::Asm,
    Kind::Openshell,
    Kind::Istio,
    Kind::HardenRunner,
    Kind::AwsNetworkFirewall,
    Kind::GoogleSwp,
    Kind::Smokescreen,
    Kind::Squid,
    Kind::Domains,
];

impl Kind {
    /// Whether a text looks like this kind.
    fn looks(self, text: &Text) -> bool {
        match self {
            Self::Auto => false,
            Self::Domains => domains::looks(text),
            Self::Squid => squid::looks(text),
            Self::HardenRunner => harden_runner::looks(text),
            Self::GoogleSwp => google_swp::looks(text),
            Self::AwsNetworkFirewall => network_firewall::looks(text),
            Self::Smokescreen => smokescreen::looks(text),
            Self::Cilium => cilium::looks(text),
            Self::Asm => asm::looks(text),
            Self::Openshell => openshell::looks(text),
            Self::Istio => istio::looks(text),
        }
    }

    fn import(self, texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
        match self {
            Self::Auto => found(texts)?.import(texts, draft),
            Self::Domains => domains::import(texts, draft),
            Self::Squid => squid::import(texts, draft),
            Self::HardenRunner => harden_runner::import(texts, draft),
            Self::GoogleSwp => google_swp::import(texts, draft),
            Self::AwsNetworkFirewall => network_firewall::import(texts, draft),
            Self::Smokescreen => smokescreen::import(texts, draft),
            Self::Cilium => cilium::import(texts, draft),
            Self::Asm => asm::import(texts, draft),
            Self::Openshell => openshell::import(texts, draft),
            Self::Istio => istio::import(texts, draft),
        }
    }

    /// Whether callers are pods by their labels.
    fn selects_pods(self) -> bool {
        matches!(self, Self::Cilium | Self::Asm)
    }

    /// As it is written on the command line.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// The kind that all texts look like.
fn found(texts: &[Text]) -> Result<Kind, Failure> {
    let mut all: Option<Kind> = None;
    for text in texts {
        let kind = KINDS.into_iter().find(|kind| kind.looks(text));
        let kind = kind.ok_or_else(|| unknown(text))?;
        match all.replace(kind) {
            Some(other) if other != kind => {
                let problem = format!("{} beside {}", kind.name(), other.name());
                return Err(Failure::new(text.name(), problem, "import one kind at a time"));
            }
            _ => {}
        }
    }
    Ok(all.unwrap_or(Kind::Auto))
}

/// Why a text is of no kind: it cannot be taken apart, or it is something else.
fn unknown(text: &Text) -> Failure {
    let is_document = [".yaml", ".yml", ".json"].iter().any(|end| text.name().ends_with(end));
    if let Err(failure) = text.objects()
        && is_document
    {
        return failure;
    }
    if text.has_object(|it| it.get("kind").and_then(Node::text) == Some("NetworkPolicy")) {
        let problem = "a NetworkPolicy, which names addresses and no hosts";
        let remedy = "write the hosts that are meant as a list, and import that";
        return Failure::new(text.name(), problem, remedy);
    }
    let names: Vec<_> = KINDS.into_iter().map(Kind::name).collect();
    let remedy = format!("name it with `--from`: {}", names.join(", "));
    Failure::new(text.name(), "no kind that is known by its looks", remedy)
}

/// What came of an import.
#[derive(Debug)]
pub(crate) struct Imported {
    /// The policy, with comments.
    pub(crate) text: String,
    /// The same, read.
    file: PolicyFile,
    config: Config,
    points: Vec<Point>,
    /// What of the input is of another kind, or decides nothing.
    pub(crate) passed_over: Vec<String>,
}

impl Imported {
    /// What is not carried over.
    pub(crate) fn points(&self) -> impl Iterator<Item = String> {
        self.points.iter().map(Point::to_string)
    }
}

/// Imports texts of one kind under a name. `accounts` is the file of `--service-accounts`, `cilium` what
/// `--cilium-version` says.
pub(crate) fn imported(
    kind: Kind,
    texts: &[Text],
    accounts: Option<&Text>,
    cilium: Option<Version>,
    name: &str,
    mode: Mode,
) -> Result<Imported, Failure> {
    let kind = if kind == Kind::Auto { found(texts)? } else { kind };
    let mut draft = Draft::default();
    if let (true, Some(text)) = (cilium.is_some() && kind != Kind::Cilium, texts.first()) {
        let problem = format!("`--cilium-version` for {}", kind.name());
        return Err(Failure::new(text.name(), problem, "leave it out"));
    }
    if let Some(accounts) = accounts {
        if !kind.selects_pods() {
            let problem =
                format!("`--service-accounts` for {}, which selects no pods", kind.name());
            return Err(Failure::new(accounts.name(), problem, "leave it out"));
        }
        draft.accounts = Accounts::read(accounts)?;
    }
    draft.cilium = cilium;
    kind.import(texts, &mut draft)?;
    draft.unite();
    let introduction = format!("Imported from {} ({}).", sources(texts), kind.name());
    let text = draft.text(name, mode, &introduction);
    let file = PolicyFile::of_text("the imported policy".to_owned(), text.clone(), false);
    // What cannot be read must not be written.
    let (file, config) = file.into_valid()?;
    let Draft { points, passed_over, .. } = draft;
    let passed_over = passed_over.iter().map(|it| draft::shown(it)).collect();
    Ok(Imported { text, file, config, points, passed_over })
}

/// The names of some texts.
fn sources(texts: &[Text]) -> String {
    const MOST: usize = 4;
    let mut names: Vec<_> = texts.iter().take(MOST).map(|text| draft::shown(text.name())).collect();
    let others = texts.len().saturating_sub(MOST);
    names.extend((others > 0).then(|| count(others, "other")));
    names.join(", ")
}

/// Yes where all is carried over, or the rest was asked for.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let texts = read(&args.files)?;
    let accounts = args.service_accounts.as_deref().map(Text::read).transpose()?;
    let (accounts, cilium) = (accounts.as_ref(), args.cilium_version);
    let imported = imported(args.from, &texts, accounts, cilium, &args.name, args.output.mode)?;
    for other in &imported.passed_over {
        console.note(format_args!("passed over: {other}"));
    }
    for point in &imported.points {
        console.note(format_args!("{} {point}", styled(ODD, "not carried over:")));
    }
    let is_written = imported.points.is_empty() || args.allow_partial;
    if console.format() == Format::Json {
        console.json(&Answer::new(&imported, is_written))?;
    }
    if !is_written {
        console.note(format_args!(
            "nothing is written, because {} not carried over; `--allow-partial` writes the rest",
            match imported.points.len() {
                1 => "1 point is".to_owned(),
                points => format!("{points} points are"),
            }
        ));
        return Ok(Outcome::No);
    }
    args.output.write(&imported.text, &imported.config, console)?;
    Ok(Outcome::Yes)
}

/// Reads files, and the files of folders.
fn read(paths: &[PathBuf]) -> Result<Vec<Text>, Failure> {
    let mut texts = Vec::new();
    for path in paths {
        if !path.is_dir() {
            texts.push(Text::read(path)?);
            continue;
        }
        let files = folder::files(path)?;
        if files.is_empty() {
            let remedy = "name a folder with *.yaml, *.yml or *.json in it";
            return Err(Failure::new(input::name(path), "nothing to import", remedy));
        }
        for file in files {
            texts.push(Text::read(&file)?);
        }
    }
    Ok(texts)
}

/// The answer. Its keys are stable.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    policy: Option<Value>,
    open: &'a [Point],
    passed_over: &'a [String],
}

impl<'a> Answer<'a> {
    fn new(imported: &'a Imported, is_written: bool) -> Self {
        let policy = imported.file.tree().filter(|_| is_written);
        let policy = policy.and_then(|tree| serde_json::from_str(&tree.to_json()).ok());
        Self { policy, open: &imported.points, passed_over: &imported.passed_over }
    }
}
