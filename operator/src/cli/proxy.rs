//! `sluice proxy`

use crate::{
    client::Place,
    drain::{Patience, drain},
};
use std::{path::PathBuf, process::ExitCode, time::Duration};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Take this pod's Envoy out of service: fail its readiness, tell callers to go elsewhere, and wait for their calls
    Drain(Drain),
}

#[derive(Debug, clap::Args)]
struct Drain {
    /// Socket of Envoy's admin interface
    #[arg(long, default_value = "/run/sluice/admin.sock")]
    admin: PathBuf,
    /// How long calls may take to end
    #[arg(long, default_value = "60s", value_parser = super::duration)]
    timeout: Duration,
    /// How long new connections are taken at least, until every load balancer knows
    #[arg(long, default_value = "5s", value_parser = super::duration)]
    delay: Duration,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Action::Drain(Drain { admin, timeout, delay }) = args.action;
    let patience = Patience { delay, idle: Patience::window(timeout), calls: timeout };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drain(&Place::Socket(admin), patience))?;
    Ok(ExitCode::SUCCESS)
}
