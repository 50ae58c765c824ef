//! `check`: every fault of a policy, and every warning.

use super::console::Console;
use super::failure::{Failure, Outcome};
use super::policy_file::PolicyFile;
use std::path::PathBuf;

/// Checks policies: every fault at once, then what is allowed but hardly meant
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  egress-warden check policy.yaml")]
pub(crate) struct Args {
    /// Policies, in YAML or JSON; `-` is standard input
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<PathBuf>,
}

/// Yes where no policy has a fault.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let mut faulty = 0_usize;
    for path in &args.policies {
        let file = PolicyFile::read(path)?;
        match file.config() {
            Ok(config) => console.line(format_args!("{}: {}", file.name(), config.revision))?,
            Err(faults) => {
                faulty = faulty.saturating_add(1);
                for fault in faults {
                    let place = file.at(fault.span.start);
                    let (problem, remedy) = (fault.problem, fault.remedy);
                    console.line(format_args!("{place}: found {problem}: {remedy}"))?;
                }
            }
        }
    }
    Ok(Outcome::of_findings(faulty))
}
