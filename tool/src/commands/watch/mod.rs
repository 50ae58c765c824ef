//! `watch`: what a gateway decides while one looks.

mod watching;

use crate::console::{Console, Format};
use crate::failure::{Failure, Outcome};
use crate::live::screen::Screen;
use crate::logs::Choice;
use crate::verify::source;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;
use watching::Watching;

/// Shows what a running gateway decides: decisions a second, what is refused most and how to open it
///
/// `--admin` asks Envoy's admin address. Counters know rules and reasons; hosts, callers and paths are in an
/// access log: name its file, or `-` for standard input. With both, the counters say how much, and the log what.
///
/// A file is read from its beginning, and then as it grows, also when it is rotated, by renaming or by cutting.
/// Rates are over the last five looks. What stood in the log at first is in none, nor what a pipe gives
/// before the first look. If there are too many hosts
/// and callers, those that are refused most are told, and the others are counted.
///
/// On a terminal it is a screen, else lines: `--plain` writes lines there, too. `--format json` writes one object
/// at each interval: `time`, `admin` and `log`, each with `source`, `problem`, `seconds` (what rates are over),
/// `policies`, `requests` and `connections` {per_second, allowed, denied, without_verdict, would_be_allowed,
/// would_be_denied}, `refused` and `would_be_refused` [{connection, count, per_second, decision, reason, rule,
/// and of a log host, port, caller, method, path; rule_to_add or no_rule}]. `admin` also has `in_force`
/// (hashes), `policies_problem`, `restarts`, `guard_refused` and `updates_rejected`; `log` has `ended`, `others`, `unread`, and `lines` as
/// `replay` has them.
///
/// What it cannot know: the configuration dump has the policy that was delivered last; `verify` says whether it is in
/// force. Counters name a refusal by its rule or by its reason: one that a rule refused since something is
/// unknown is in both. A log that is rotated twice, or cut and longer again, between two looks was not seen in
/// between.
///
/// Exit codes: 0 ended by you or with the log; 2 wrong usage or unreadable input.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden watch --admin http://127.0.0.1:15000 access.log
  kubectl logs -f -n istio-system deploy/istio-egressgateway | egress-warden watch -
  egress-warden watch --admin http://127.0.0.1:15000 --once --format json")]
pub(crate) struct Args {
    /// An access log that grows. `-` is standard input
    log: Option<PathBuf>,
    /// The admin address of the gateway, such as http://127.0.0.1:15000. An address with a path is asked for
    /// counters only, also in the format of Prometheus
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Look once, and end. There are no rates then
    #[arg(long)]
    once: bool,
    /// Write lines, also on a terminal
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    choice: Choice,
}

/// Yes when it is ended.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    match (&args.admin, &args.log) {
        (Some(address), _) => source::plain_http(address)?,
        (None, Some(_)) => {}
        (None, None) => {
            let remedy = "name a log, `-` for standard input, or an admin address by `--admin`";
            return Err(Failure::new("watch", "nothing to watch is named", remedy));
        }
    }
    let mut watching = Watching::new(args)?;
    let interval = Duration::from_secs(args.interval);
    if args.once {
        watching.once(console)?;
    } else if args.wants_lines(console) {
        watching.lines(interval, console)?;
    } else {
        watching.screen(interval, Screen::open(console.is_coloured())?)?;
    }
    Ok(watching.end(console))
}

impl Args {
    fn wants_lines(&self, console: &Console) -> bool {
        let is_dumb = std::env::var_os("TERM").is_none_or(|it| it.is_empty() || it == "dumb");
        self.plain || console.format() == Format::Json || is_dumb || !io::stdout().is_terminal()
    }
}
