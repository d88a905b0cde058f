//! Sluice: gRPC services on Kubernetes from one resource.
//!
//! arguments → [`cli`] → the operator, local mode or an offline command
//!
//! **Invariant:** everything with effects is in this crate, and nothing here decides what routes mean.

mod cli;
mod client;
mod cluster;
mod drain;
mod local;
mod runtime;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
