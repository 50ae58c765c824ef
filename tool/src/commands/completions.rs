//! `completions`: what a shell needs to complete the command line.

use crate::console::Console;
use crate::failure::{Failure, Outcome};
use clap_complete::Shell;

/// Prints completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  egress-warden completions bash \\
    > ~/.local/share/bash-completion/completions/egress-warden")]
pub(crate) struct Args {
    #[arg(value_enum)]
    shell: Shell,
}

/// Always yes. `program` is the whole command line.
pub(crate) fn run(
    args: &Args,
    mut program: clap::Command,
    console: &mut Console,
) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "egress-warden", &mut script);
    console.bytes(&script)?;
    Ok(Outcome::Yes)
}
