//! The command line: what is asked, and the exit code that answers.
//!
//! Every verdict comes from the library that the proxy runs; nothing here decides by itself. Answers
//! go to standard output, all else to standard error. Exit codes: 0 yes, 1 no or findings, 2 usage
//! or unreadable input.
//!
//! On `wasm32-unknown-unknown` the library has what [`what_if`] needs, for the module in the page that
//! `report` writes; the commands are left out.
#![warn(missing_docs, unreachable_pub)]
#![forbid(unsafe_code)]
// The native build says what nobody uses.
#![cfg_attr(
    target_family = "wasm",
    allow(dead_code, unused_imports, reason = "only commands use it")
)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod change;
#[cfg(not(target_family = "wasm"))]
mod classes;
#[cfg(not(target_family = "wasm"))]
mod commands;
mod console;
#[cfg(not(target_family = "wasm"))]
mod cover;
mod diagnostics;
mod document;
mod failure;
mod finding;
#[cfg(not(target_family = "wasm"))]
mod globs;
#[cfg(not(target_family = "wasm"))]
pub mod in_process;
mod input;
mod judgement;
#[cfg(not(target_family = "wasm"))]
mod live;
mod logs;
#[cfg(not(target_family = "wasm"))]
mod opening;
#[cfg(not(target_family = "wasm"))]
mod output;
#[cfg(not(target_family = "wasm"))]
pub mod page;
mod policy_file;
#[cfg(not(target_family = "wasm"))]
mod policy_text;
#[cfg(not(target_family = "wasm"))]
mod public_suffix;
#[cfg(not(target_family = "wasm"))]
mod render;
#[cfg(not(target_family = "wasm"))]
mod report;
mod root_id;
#[cfg(not(target_family = "wasm"))]
mod teams;
#[cfg(not(target_family = "wasm"))]
mod trust_domain;
#[cfg(not(target_family = "wasm"))]
mod verify;
pub mod what_if;

#[cfg(not(target_family = "wasm"))]
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
#[cfg(not(target_family = "wasm"))]
use commands::{
    bundle, check, completions, diff, explain, import, learn, man, replay, schema, test, watch,
};
#[cfg(not(target_family = "wasm"))]
use console::{Color, Console, Form, Format};
#[cfg(not(target_family = "wasm"))]
use failure::Failure;
#[cfg(not(target_family = "wasm"))]
use std::process::ExitCode;

#[cfg(not(target_family = "wasm"))]
/// Tells what an egress policy does, by the same code as the filter
#[derive(Debug, Parser)]
#[command(
    name = "egress-warden",
    version,
    after_help = "Exit codes: 0 yes, 1 no or findings, 2 wrong usage or unreadable input.",
    max_term_width = 80
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Output format. The keys of JSON are stable. sarif (SARIF 2.1.0) and junit (JUnit XML) are for
    /// pipelines: check, diff and test write them
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    format: Output,
    /// When to use colour. auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
}

#[cfg(not(target_family = "wasm"))]
/// What `--format` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Sarif,
    Junit,
}

#[cfg(not(target_family = "wasm"))]
#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Explain(explain::Args),
    Test(test::Args),
    Replay(replay::Args),
    Report(commands::report::Args),
    Diff(diff::Args),
    Learn(learn::Args),
    Import(import::Args),
    Bundle(bundle::Args),
    Render(commands::render::Args),
    Verify(commands::verify::Args),
    Watch(watch::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
}

#[cfg(not(target_family = "wasm"))]
impl Command {
    /// Whether the answer can be a report.
    fn writes_reports(&self) -> bool {
        matches!(self, Self::Check(_) | Self::Diff(_) | Self::Test(_) | Self::Verify(_))
    }
}

#[cfg(not(target_family = "wasm"))]
/// Does what the command line asks. `built` are the programs of the page that `report` writes.
pub fn run(built: page::Built) -> ExitCode {
    let Cli { command, format, color } = Cli::parse();
    let (format, form) = match format {
        Output::Text => (Format::Text, None),
        Output::Json => (Format::Json, None),
        Output::Sarif => (Format::Text, Some(Form::Sarif)),
        Output::Junit => (Format::Text, Some(Form::Junit)),
    };
    let mut console = Console::new(format, color);
    if let Some(form) = form {
        if !command.writes_reports() {
            let failure = Failure::new(
                "--format",
                "only `check`, `diff`, `test` and `verify` write SARIF and JUnit XML",
                "use `text` or `json`",
            );
            console.fail(&failure);
            return failure.exit_code();
        }
        console = console.reporting(form);
    }
    let answer = match &command {
        Command::Check(args) => check::run(args, &mut console),
        Command::Explain(args) => explain::run(args, &mut console),
        Command::Test(args) => test::run(args, &mut console),
        Command::Replay(args) => replay::run(args, &mut console),
        Command::Report(args) => commands::report::run(args, built, &mut console),
        Command::Diff(args) => diff::run(args, &mut console),
        Command::Learn(args) => learn::run(args, &mut console),
        Command::Import(args) => import::run(args, &mut console),
        Command::Bundle(args) => bundle::run(args, &mut console),
        Command::Render(args) => commands::render::run(args, &mut console),
        Command::Verify(args) => commands::verify::run(args, &mut console),
        Command::Watch(args) => watch::run(args, &mut console),
        Command::Schema(args) => schema::run(args, &mut console),
        Command::Completions(args) => completions::run(args, Cli::command(), &mut console),
        Command::Man(args) => man::run(args, Cli::command(), &mut console),
    };
    match answer.and_then(|outcome| console.flush().map(|()| outcome)) {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            console.fail(&failure);
            failure.exit_code()
        }
    }
}
