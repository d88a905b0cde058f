//! Local mode from start to end: reads, serves, watches, drains.
//!
//! [`Options`] → a running control plane with its proxies, until SIGTERM or Ctrl-C
//!
//! **Invariant:** bad input never ends it; only what it cannot start with does.
//! **Invariant:** at the end proxies are drained first and the control plane goes last.

use super::{
    board::Board,
    endpoints::{Endpoints, Override},
    envoy::{self, Launch},
    files::{self, Watch},
    finding::{Finding, Severity},
    operate::{self, Operator, Recalled, SharedBoard, SharedSnapshots, on},
    ports::{Mapping, Ports},
    screen::Screen,
    state,
    store::{Store, Update, news},
};
use crate::{
    runtime::{QUEUE, Runtime, hear, metrics::Metrics},
    serve::{Ads, Directory, Open, admin},
};
use anyhow::{Context as _, anyhow, ensure};
use chrono::Utc;
use serde_json::Value;
use sluice_core::world::{self, Exposure};
use sluice_engine::{Engine, Input, Settings};
use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::{self, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;

/// How many ports are tried after a busy one for the admin interface.
const ADMIN_ATTEMPTS: u16 = 100;

/// The file of the state directory with what is remembered of objects.
const IDENTITIES: &str = "objects.json";

/// The part of the state directory that nobody else may enter, and the socket in it at which proxies ask for their configuration.
const PRIVATE: &str = "run";
const CONFIGURATION: &str = "xds.sock";

/// What local mode is started with.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Files and directories.
    pub(crate) paths: Vec<PathBuf>,
    /// The binary of Envoy; looked for if absent.
    pub(crate) envoy: Option<PathBuf>,
    /// Where listeners are bound.
    pub(crate) address: IpAddr,
    /// Which port stands for which.
    pub(crate) port_map: Vec<Mapping>,
    /// Endpoints of Services.
    pub(crate) endpoints: Vec<Override>,
    /// Where the admin interface listens.
    pub(crate) admin: SocketAddr,
    /// What is remembered; by default a directory for these paths.
    pub(crate) state: Option<PathBuf>,
    /// How long calls may take to end.
    pub(crate) drain: Duration,
    /// Where a glance at everything is shown.
    pub(crate) screen: Screen,
}

/// Runs until it is told to end.
///
/// # Errors
/// What it cannot start with: no Envoy, no port for the admin interface, no state directory, nothing to watch.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let place = options.state.clone().unwrap_or_else(|| state::Directory::default_for(&options.paths));
    let state =
        state::Directory::open(place.clone()).with_context(|| format!("state directory {}", place.display()))?;
    let binary = envoy::find(options.envoy.as_deref())?;
    let watch = Watch::new(&options.paths).context("watching the manifests")?;
    let (ads, source) = bind_configuration(&state)?;
    let pages = bind_admin(options.admin).await?;

    let (stop, end) = (CancellationToken::new(), CancellationToken::new());
    let shell = Shell::new(state, &options);
    let launch =
        Launch { binary, source, state: shell.state.clone(), drain: options.drain, snapshots: shell.snapshots.clone() };
    let recalled = operate::recall(&shell.state);
    let known = recalled.inputs.clone();
    let operator = shell.operator(launch, recalled, stop.clone());
    let (inputs, queue) = mpsc::channel(QUEUE);
    let servers = shell.serve(ads, pages, inputs.clone(), end.clone());

    let manifests = Manifests {
        paths: options.paths,
        store: shell.store(options.endpoints),
        shell: shell.clone(),
        findings: Vec::new(),
    };
    let feed = tokio::spawn(manifests.feed(known, inputs, watch, stop.clone()));
    tokio::spawn(ended_by_signal(stop.clone(), shell.board.clone()));
    let world = world::Settings { exposure: Exposure::Host, ..world::Settings::default() };
    let engine = Engine::new(Settings { world, feedback: true, ..Settings::default() });
    let mut runtime = Runtime::new(engine, operator, shell.metrics.clone());
    runtime.run(queue, stop.clone()).await;

    feed.abort();
    runtime.into_carrier().children.join_all().await;
    end.cancel();
    servers.join_all().await;
    shell.screen.end();
    Ok(())
}

/// A socket in a directory that nobody else may enter: a port of the loopback is everybody's on this machine, and keys are said here.
fn bind_configuration(state: &state::Directory) -> anyhow::Result<(UnixListener, PathBuf)> {
    let path = path::absolute(state.private(PRIVATE)?)?.join(CONFIGURATION);
    let shown = path.display();
    // Envoy is told of it in JSON.
    ensure!(path.to_str().is_some(), "{shown} is not UTF-8: choose another directory by --state");
    // One that a crash left behind: this process alone has the directory.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context(shown.to_string()),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => anyhow!("the socket {shown}: {error}: choose a shorter directory by --state"),
        _ => anyhow!("the socket {shown}: {error}"),
    })?;
    Ok((listener, path))
}

async fn bind_admin(wanted: SocketAddr) -> anyhow::Result<TcpListener> {
    let ports = (wanted.port()..=u16::MAX).take(usize::from(ADMIN_ATTEMPTS));
    for port in ports {
        if let Ok(listener) = TcpListener::bind((wanted.ip(), port)).await {
            if port != wanted.port() {
                tracing::warn!("{wanted} is in use: find this process by `--admin {}`", listener.local_addr()?);
            }
            return Ok(listener);
        }
    }
    anyhow::bail!("no free port for the admin interface from {wanted} on: choose one by --admin ADDRESS:PORT")
}

async fn ended_by_signal(stop: CancellationToken, board: SharedBoard) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard: end this process by SIGKILL");
        return;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    tracing::info!("ending: proxies drain first");
    on(&board, Board::end);
    stop.cancel();
}

/// What the parts of local mode share.
#[derive(Clone)]
struct Shell {
    board: SharedBoard,
    directory: Directory,
    metrics: Arc<Metrics>,
    state: state::Directory,
    snapshots: SharedSnapshots,
    address: IpAddr,
    port_map: Arc<[Mapping]>,
    screen: Screen,
}

impl Shell {
    fn new(state: state::Directory, options: &Options) -> Self {
        Self {
            board: SharedBoard::default(),
            directory: Directory::default(),
            metrics: Arc::new(Metrics::new()),
            state,
            snapshots: Arc::default(),
            address: options.address,
            port_map: options.port_map.clone().into(),
            screen: options.screen.clone(),
        }
    }

    fn store(&self, endpoints: Vec<Override>) -> Store {
        Store::new(Endpoints::new(endpoints), self.state.load(IDENTITIES))
    }

    fn operator(&self, launch: Launch, recalled: Recalled, stop: CancellationToken) -> Operator {
        Operator {
            directory: self.directory.clone(),
            board: self.board.clone(),
            screen: self.screen.clone(),
            ports: Ports::new(self.address, &self.port_map),
            launch: Some(Arc::new(launch)),
            state: self.state.clone(),
            children: JoinSet::new(),
            stop,
            running: BTreeMap::new(),
            statuses: BTreeMap::new(),
            issued: recalled.issued,
            refused: recalled.refused,
            snapshots: self.snapshots.clone(),
        }
    }

    fn serve(
        &self,
        ads: UnixListener,
        pages: TcpListener,
        inputs: mpsc::Sender<Vec<Input>>,
        end: CancellationToken,
    ) -> JoinSet<()> {
        let (reports, heard) = mpsc::channel(QUEUE);
        let mut servers = JoinSet::new();
        let ended = end.clone().cancelled_owned();
        let ads = Ads::new(Open, self.directory.clone(), reports)
            .router()
            .serve_with_incoming_shutdown(UnixListenerStream::new(ads), ended);
        servers.spawn(async move {
            let outcome = ads.await;
            outcome.unwrap_or_else(|error| tracing::error!("configuration is no longer served: {error}"));
        });
        let shell = Arc::new(self.clone());
        let routes = admin::router(shell.clone()).merge(admin::configuration(shell));
        announce(&pages);
        servers.spawn(async move {
            let outcome = axum::serve(pages, routes).with_graceful_shutdown(end.cancelled_owned()).await;
            outcome.unwrap_or_else(|error| tracing::error!("the admin interface is no longer served: {error}"));
        });
        tokio::spawn(hear(heard, inputs));
        servers
    }
}

fn announce(pages: &TcpListener) {
    if let Ok(address) = pages.local_addr() {
        tracing::info!("status: http://{address}/status (or `sluice get`), metrics: http://{address}/metrics");
    }
}

impl admin::Pages for Shell {
    fn status(&self) -> Value {
        on(&self.board, |board| board.view())
    }

    fn metrics(&self) -> String {
        self.metrics.text()
    }

    fn readiness(&self) -> Result<(), String> {
        let is_ready = on(&self.board, |board| board.is_ready());
        if is_ready { Ok(()) } else { Err("see /status".to_owned()) }
    }
}

impl admin::Configuration for Shell {
    fn config(&self) -> Value {
        operate::config(&self.snapshots)
    }
}

/// The manifests, read again whenever they change.
struct Manifests {
    paths: Vec<PathBuf>,
    store: Store,
    shell: Shell,
    findings: Vec<Finding>,
}

impl Manifests {
    async fn feed(
        mut self,
        recalled: Vec<Input>,
        inputs: mpsc::Sender<Vec<Input>>,
        watch: Watch,
        stop: CancellationToken,
    ) {
        // No proxy is expected from an earlier run: each Envoy is our child, and starts anew with us.
        let mut batch = vec![Input::Leader(true)];
        batch.extend(recalled);
        loop {
            batch.extend(self.read());
            if !batch.is_empty() && inputs.send(std::mem::take(&mut batch)).await.is_err() {
                return;
            }
            tokio::select! { () = watch.changed() => {}, () = stop.cancelled() => return }
        }
    }

    fn read(&mut self) -> Vec<Input> {
        let before = self.store.identities().clone();
        let Update { changes, findings } = self.store.read(&files::read(&self.paths), Utc::now());
        news(&self.findings, &findings).into_iter().for_each(say);
        self.shell.metrics.found(findings.iter().filter(|finding| finding.severity != Severity::Note).count());
        on(&self.shell.board, |board| board.set_manifests(self.store.objects(), findings.clone()));
        self.findings = findings;
        if before != *self.store.identities() {
            self.remember();
        }
        changes.into_iter().map(Input::from).collect()
    }

    fn remember(&self) {
        if let Err(error) = self.shell.state.save(IDENTITIES, self.store.identities()) {
            tracing::error!("ages of objects cannot be kept over a restart: {error}");
        }
    }
}

fn say(finding: &Finding) {
    match finding.severity {
        Severity::Note => tracing::info!("{finding}"),
        Severity::Warning => tracing::warn!("{finding}"),
        Severity::Error => tracing::error!("{finding}"),
    }
}
