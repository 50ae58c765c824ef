//! `completions`: what a shell needs to complete the command line.

use crate::Cli;
use crate::console::Console;
use crate::failure::{Failure, Outcome};
use clap::CommandFactory;
use clap_complete::Shell;

/// Prints completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  egress-warden completions bash > ~/.local/share/bash-completion/completions/egress-warden")]
pub(crate) struct Args {
    #[arg(value_enum)]
    shell: Shell,
}

/// Always yes.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "egress-warden", &mut script);
    console.bytes(&script)?;
    Ok(Outcome::Yes)
}
