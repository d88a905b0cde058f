//! `hack/bench`: what a controller costs and how fast it is, beside the floors that no controller can be below.
//!
//! The driver starts a real API server, the controller and a real Envoy, and looks at them from outside; see `tests/src/bench`.
//! Exit code 1 if a figure misses its limit.

mod dataplane;
mod endpoints;
mod fairness;
mod hostnames;
mod propagation;
mod rate;
mod refusal;
mod size;
mod soak;
mod stage;
mod start;
mod streams;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use sluice_tests::{
    api_server::ApiServer,
    bench::{
        figure::Report,
        subject::{Foreign, Subject},
        watcher,
        writer::Writer,
    },
};

use size::Size;
use stage::Stage;

/// What is measured on one stage whose routes grow; the others have stages of their own.
const LADDER: [&str; 11] = ["a", "b", "c", "d", "e", "f", "g", "k", "l", "m", "n"];
const APART: [&str; 3] = ["i", "o", "soak"];
/// Where what is not about many routes is measured.
const MIDDLE: usize = 1_000;

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Benchmarks; all by default
    ids: Vec<String>,
    /// Fewer routes and samples: minutes instead of an hour
    #[arg(long)]
    quick: bool,
    /// The most routes [default: 10,000, or 1,000 with --quick]
    #[arg(long, value_name = "N")]
    routes: Option<usize>,
    /// How long the soak takes
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u64,
    /// Where JSON lines and plots go
    #[arg(long, value_name = "DIRECTORY", default_value = "target/bench")]
    out: PathBuf,
    /// Measure another controller, by its GatewayClass. It is started by a command of yours, see --start
    #[arg(long, value_name = "NAME", requires_all = ["pid", "xds"])]
    class: Option<String>,
    /// Its processes
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Its discovery service
    #[arg(long, value_name = "ADDRESS")]
    xds: Option<SocketAddr>,
    /// The Secret with a client certificate for that [default: in clear]
    #[arg(long, value_name = "NAMESPACE/NAME")]
    credentials: Option<String>,
    /// Where the kubeconfig for it is written before the driver waits for it
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// A floor: watches what a controller would, and does nothing
    #[command(hide = true)]
    NullWatcher {
        /// For the API server
        kubeconfig: PathBuf,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(Role::NullWatcher { kubeconfig }) = &args.role {
        watcher::idle(Writer::new(kubeconfig).await?.client()).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let known = || LADDER.into_iter().chain(APART);
    ensure!(
        args.ids.iter().all(|id| known().any(|known| known == id)),
        "there are: {}",
        known().collect::<Vec<_>>().join(" ")
    );
    let mut report = Report::default();
    if args.wants_any(&LADDER) {
        report.extend(ladder(&args).await?);
    }
    if args.wants("i") {
        report.extend(apart(&args, async |stage| dataplane::measure(stage).await).await?);
    }
    if args.wants("o") {
        report.extend(apart(&args, async |stage| hostnames::measure(stage).await).await?);
    }
    if args.ids.iter().any(|id| id == "soak") {
        report.extend(apart(&args, async |stage| soaked(stage, args.minutes).await).await?);
    }
    report.sort();
    println!("{}", report.table());
    report.keep(&args.out)?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Args {
    fn size(&self) -> Size {
        let mut size = if self.quick { Size::quick() } else { Size::full() };
        if let Some(most) = self.routes {
            size.ladder.retain(|routes| *routes < most);
            size.ladder.push(most);
        }
        size
    }

    fn wants(&self, id: &str) -> bool {
        self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id)
    }

    fn wants_any(&self, ids: &[&str]) -> bool {
        ids.iter().any(|id| self.wants(id))
    }

    fn subject(&self, api: &ApiServer) -> Result<Subject> {
        let kubeconfig = api.kubeconfig(stage::USER)?;
        let (Some(class), Some(xds)) = (&self.class, self.xds) else { return Subject::sluice(kubeconfig) };
        if let Some(wanted) = &self.kubeconfig {
            std::fs::copy(&kubeconfig, wanted)?;
        }
        let foreign = Foreign { pids: self.pid.clone(), xds, credentials: self.credentials.clone() };
        Ok(Subject::foreign(class.clone(), foreign))
    }
}

async fn ladder(args: &Args) -> Result<Report> {
    let mut stage = Stage::new(args.size(), |api| args.subject(api)).await?;
    let mut costs = Vec::new();
    for routes in stage.size.ladder.clone() {
        stage.grow(routes).await?;
        if args.wants_any(&["a", "d", "e"]) {
            propagation::measure(&mut stage).await?;
        }
        if routes < MIDDLE {
            continue;
        }
        if args.wants("c") {
            rate::memory(&mut stage).await?;
        }
        if args.wants("b") {
            costs.push((routes, rate::edits(&mut stage).await?));
        }
        if args.wants("f") {
            start::measure(&mut stage).await?;
        }
        if routes == MIDDLE {
            middle(args, &mut stage).await?;
        }
    }
    rate::slope(&mut stage, &costs);
    if args.wants("l") {
        rate::foreign(&mut stage).await?;
    }
    if args.wants("g") {
        endpoints::measure(&mut stage).await?;
    }
    if args.wants("c") {
        rate::growth(&mut stage).await?;
    }
    Ok(stage.report)
}

async fn middle(args: &Args, stage: &mut Stage) -> Result<()> {
    if args.wants("k") {
        streams::measure(stage).await?;
    }
    if args.wants("m") {
        fairness::measure(stage).await?;
    }
    if args.wants("n") {
        refusal::measure(stage).await?;
    }
    Ok(())
}

async fn apart(args: &Args, measure: impl AsyncFn(&mut Stage) -> Result<()>) -> Result<Report> {
    let mut stage = Stage::new(args.size(), |api| args.subject(api)).await?;
    measure(&mut stage).await?;
    Ok(stage.report)
}

async fn soaked(stage: &mut Stage, minutes: u64) -> Result<()> {
    stage.grow(MIDDLE).await?;
    soak::measure(stage, minutes).await
}
