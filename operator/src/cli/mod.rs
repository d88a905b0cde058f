//! Commands: one file each.
//!
//! arguments → a command → output and an exit status
//!
//! **Invariant:** an error says what, where, and what to do.
//!
//! Must not know: how anything is done; commands call, and print what comes back.

mod cleanup;
mod crds;
mod explain;
mod get;
mod import;
mod lint;
mod local;
mod offline;
mod operator;
mod proxy;
mod status;
mod translate;

use clap::{Parser, Subcommand};
use sluice_core::duration;
use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
    time::Duration,
};

/// gRPC services on Kubernetes from one resource.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, propagate_version = true, max_term_width = 120)]
#[command(after_help = "Installed as kubectl-sluice in PATH, the same commands are `kubectl sluice …`.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Operate in a cluster: write Gateway API objects for GrpcServices, and run and configure the proxies of Gateways
    Operator(Box<operator::Args>),
    /// Serve manifests from disk through an Envoy on this machine, without a cluster
    Local(local::Args),
    /// Print what manifests become: Gateway API objects, the intermediate representation, or Envoy's configuration
    Translate(translate::Args),
    /// Turn existing Gateway API manifests into GrpcServices that say the same
    Import(import::Args),
    /// Check manifests and say what is wrong with them; exits 1 if anything is
    Lint(lint::Args),
    /// Say what becomes of a call: which rule takes it, where it goes, and why the rules before it do not take it
    Explain(explain::Args),
    /// List or print objects of a running `sluice local`
    Get(get::Args),
    /// Say how a running `sluice local` is doing
    Status(status::Args),
    /// What a proxy's pod does to its Envoy
    #[command(hide = true)]
    Proxy(proxy::Args),
    /// Take Sluice's finalizers off everything, before it is uninstalled
    Cleanup(cleanup::Args),
    /// Print the CustomResourceDefinitions of Sluice
    Crds(crds::Args),
}

/// Runs the command of the process's arguments.
pub(crate) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Operator(args) => operator::run(*args),
        Command::Local(args) => local::run(args),
        Command::Translate(args) => translate::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Get(args) => get::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Proxy(args) => proxy::run(args),
        Command::Cleanup(args) => cleanup::run(args),
        Command::Crds(args) => crds::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("sluice: {error:#}");
        ExitCode::FAILURE
    })
}

/// Writes to stdout. A reader that has seen enough, such as `head`, is no error.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// A duration as the Gateway API writes it.
fn duration(text: &str) -> Result<Duration, &'static str> {
    duration::parse(text).ok_or("write a duration such as 90s, 1m30s or 500ms")
}
