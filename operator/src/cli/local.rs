//! `sluice local`

use crate::{
    local::{
        endpoints::Override,
        ports::Mapping,
        run::{self, Options},
        screen::Screen,
    },
    runtime::telemetry::{self, Format},
};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sluice local samples/guide/01-hostname --endpoints default/grpc-echo=127.0.0.1:9000
  sluice local . --port-map 443=8443 --envoy ./envoy
  sluice get grpcservices        # from another terminal")]
pub(super) struct Args {
    /// Manifests: files, or directories with .yaml, .yml and .json files; changes are followed
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Envoy's binary [default: the one in PATH, else the one that hack/fetch envoy got]
    #[arg(long, env = "SLUICE_ENVOY")]
    envoy: Option<PathBuf>,
    /// IP address at which listeners are bound
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Bind a listener's port elsewhere, as LISTENER=LOCAL; without it, a port that only root may bind is raised by 8000
    #[arg(long, value_name = "443=8443", value_delimiter = ',')]
    port_map: Vec<Mapping>,
    /// Endpoints of a Service; may be repeated
    #[arg(long, value_name = "NS/SERVICE=ADDRESS:PORT,…")]
    endpoints: Vec<Override>,
    /// Address of the admin interface (/status, /metrics, /readyz, /config); if it is busy, the next free port
    #[arg(long, default_value = "127.0.0.1:9900", env = "SLUICE_ADMIN")]
    admin: SocketAddr,
    /// Directory for what has to survive a restart: ages of objects, certificates [default: one for these paths below
    /// $XDG_STATE_HOME or ~/.local/state]
    #[arg(long)]
    state: Option<PathBuf>,
    /// Seconds that calls may take to end after SIGTERM
    #[arg(long, default_value_t = 5)]
    drain: u64,
    /// What to log, as RUST_LOG has it
    #[arg(long, default_value = "info,sluice::runtime=warn", env = "RUST_LOG")]
    log: String,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let screen = Screen::new();
    telemetry::start(&args.log, Format::Text, screen.clone())?;
    let options = Options {
        paths: args.paths,
        envoy: args.envoy,
        address: args.address,
        port_map: args.port_map,
        endpoints: args.endpoints,
        admin: args.admin,
        state: args.state,
        drain: Duration::from_secs(args.drain),
        screen,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run::run(options))?;
    Ok(ExitCode::SUCCESS)
}
