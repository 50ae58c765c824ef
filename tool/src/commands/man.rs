//! `man`: the manual.

use crate::console::Console;
use crate::failure::{Failure, Outcome};
use std::path::PathBuf;

/// Prints the manual page, or writes one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden man | man -l -
  egress-warden man --directory ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
}

/// Always yes. `program` is the whole command line.
pub(crate) fn run(
    args: &Args,
    program: clap::Command,
    console: &mut Console,
) -> Result<Outcome, Failure> {
    match &args.directory {
        Some(directory) => {
            let unwritable = |error: std::io::Error| {
                let remedy = "name a folder that can be written";
                Failure::new(directory.display().to_string(), error.to_string(), remedy)
            };
            std::fs::create_dir_all(directory).map_err(unwritable)?;
            clap_mangen::generate_to(program, directory).map_err(unwritable)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(program)
                .render(&mut page)
                .map_err(|error| Failure::of_output(&error))?;
            console.bytes(&page)?;
        }
    }
    Ok(Outcome::Yes)
}
