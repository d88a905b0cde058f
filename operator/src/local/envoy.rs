//! Envoy as a child: one for each Gateway, kept running, drained and ended with us.
//!
//! [`Launch`] → a process, log lines, and the address of its admin interface
//!
//! **Invariant:** no child outlives us for long: it is asked to drain and to quit, then killed; one that a crash left behind is
//! ended by the next start, by way of its own admin interface and only if it proves to be ours.
//!
//! It must not know what the proxy serves.

use super::{
    operate::{SharedSnapshots, latest},
    refusals::Refused,
    state::Directory,
};
use crate::{
    client::{self, Place},
    drain::{Patience, drain},
};
use anyhow::{Context as _, bail};
use chrono::Utc;
use http::Method;
use sluice_core::key::NsName;
use sluice_envoy::bootstrap::{self, Admin, Bootstrap, Node, Source};
use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The first wait before a child that died is started again; doubles up to [`LONGEST_BACKOFF`].
const BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A child that ran for so long was all right.
const HEALTHY: Duration = Duration::from_secs(30);
/// How long a child that was told to quit may take.
const QUIT: Duration = Duration::from_secs(2);
/// Envoy's own 10 s are long for somebody who waits to be told why a call failed.
const LOG_FLUSH_MS: &str = "200";
/// Connections on one machine.
const MAX_CONNECTIONS: u32 = 50_000;

/// Everything that a child is started with.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The binary.
    pub(crate) binary: PathBuf,
    /// The socket at which the control plane listens.
    pub(crate) source: PathBuf,
    /// Where files of the child go.
    pub(crate) state: Directory,
    /// How long calls may take to end after SIGTERM.
    pub(crate) drain: Duration,
    /// What proxies were given.
    pub(crate) snapshots: SharedSnapshots,
}

/// Finds the binary: as named, in `PATH`, or the one that `hack/fetch` put into the cache.
///
/// # Errors
/// When there is none; says what to do.
pub(crate) fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = named {
        return path.canonicalize().with_context(|| format!("--envoy {}: no such file", path.display()));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|directory| directory.join("envoy"));
    let found = in_path.chain(cached()).find(|path| path.is_file());
    found.context("there is no Envoy: name one by --envoy PATH, put one into PATH, or run hack/fetch envoy")
}

/// Newest first.
fn cached() -> Vec<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cache")));
    let cache = env::var_os("SLUICE_CACHE").map(PathBuf::from).or_else(|| Some(base?.join("sluice")));
    let entries = cache.and_then(|cache| cache.read_dir().ok()).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("envoy-"))
        .map(|entry| (entry.metadata().and_then(|metadata| metadata.modified()).ok(), entry.path().join("envoy")))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Keeps a child running until `stop`, then drains and ends it.
pub(crate) async fn keep(launch: Arc<Launch>, gateway: NsName, stop: CancellationToken) {
    let mut backoff = BACKOFF;
    while !stop.is_cancelled() {
        let started = Instant::now();
        match run(&launch, &gateway, &stop).await {
            Ok(()) => return,
            Err(error) => tracing::error!(%gateway, "Envoy: {error:#}; starting it again in {backoff:?}"),
        }
        tokio::select! { () = sleep(backoff) => {}, () = stop.cancelled() => return }
        backoff = if started.elapsed() > HEALTHY { BACKOFF } else { (backoff * 2).min(LONGEST_BACKOFF) };
    }
}

/// Returns once the child was ended on request.
async fn run(launch: &Launch, gateway: &NsName, stop: &CancellationToken) -> anyhow::Result<()> {
    let files = Files::new(&launch.state, gateway);
    files.end_leftover().await;
    let bootstrap = Bootstrap {
        node: Some(Node { id: format!("local-{}", Utc::now().timestamp_millis()), gateway: gateway.to_string() }),
        source: Source::Socket(launch.source.clone()),
        admin: Admin::Loopback(0),
        probes: None,
        max_connections: MAX_CONNECTIONS,
    };
    launch.state.save(&files.bootstrap_name, &bootstrap::render(&bootstrap)).context("writing the bootstrap")?;
    let mut child = files
        .command(&launch.binary, launch.drain)
        .spawn()
        .with_context(|| format!("starting {}", launch.binary.display()))?;
    let ending = stop.clone();
    follow(child.stderr.take(), gateway, move |gateway, line| repeat(line, gateway, &ending));
    let snapshots = launch.snapshots.clone();
    follow(child.stdout.take(), gateway, move |gateway, line| tell_refused(line, gateway, &snapshots));
    tracing::info!(%gateway, pid = child.id(), "Envoy started");
    tokio::select! {
        ended = child.wait() => bail!("ended with {}", ended.context("waiting for it")?),
        () = stop.cancelled() => {}
    }
    end(&mut child, &files, launch.drain).await;
    tracing::info!(%gateway, "Envoy ended");
    Ok(())
}

/// The files of one child.
struct Files {
    bootstrap_name: String,
    bootstrap: PathBuf,
    admin: PathBuf,
}

impl Files {
    fn new(state: &Directory, gateway: &NsName) -> Self {
        // Neither part has a `_`, so that no two Gateways share a stem.
        let stem = format!("envoy-{}_{}", gateway.namespace, gateway.name);
        let bootstrap_name = format!("{stem}.json");
        Self { bootstrap: state.path(&bootstrap_name), admin: state.path(&format!("{stem}.admin")), bootstrap_name }
    }

    /// One worker thread: a laptop's demonstration, not a load balancer.
    fn command(&self, binary: &Path, drain: Duration) -> Command {
        let mut command = dying_with_us(binary);
        command
            .arg("--config-path")
            .arg(&self.bootstrap)
            .arg("--admin-address-path")
            .arg(&self.admin)
            .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn", "--log-format", "%l %n: %v"])
            .args(["--file-flush-interval-msec", LOG_FLUSH_MS])
            .args(["--drain-strategy", "immediate", "--drain-time-s", &drain.as_secs().max(1).to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn admin(&self) -> Option<Place> {
        let address: SocketAddr = std::fs::read_to_string(&self.admin).ok()?.trim().parse().ok()?;
        Some(address.into())
    }

    /// Ends a child of an earlier process that did not end properly.
    async fn end_leftover(&self) {
        let Some(admin) = self.admin() else { return };
        let info = client::request(Method::GET, &admin, "/server_info").await.unwrap_or_default();
        if info.contains(&*self.bootstrap.to_string_lossy()) {
            tracing::warn!(%admin, "ending an Envoy that an earlier process left behind");
            // It may end before it answers.
            let _ = client::request(Method::POST, &admin, "/quitquitquit").await;
        }
        // It is not there if the child never got so far.
        let _ = std::fs::remove_file(&self.admin);
    }
}

/// `setpriv` of util-linux asks the kernel to end the child with us, however we end. Without it, [`Files::end_leftover`] has to do.
fn dying_with_us(binary: &Path) -> Command {
    let found =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|directory| directory.join("setpriv").is_file());
    if !found {
        return Command::new(binary);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(binary);
    command
}

/// What Envoy warns of while it is being ended is the end itself.
fn repeat(line: &str, gateway: &NsName, ending: &CancellationToken) {
    if ending.is_cancelled() {
        tracing::debug!(%gateway, "Envoy: {line}");
    } else {
        tracing::warn!(%gateway, "Envoy: {line}");
    }
}

fn tell_refused(line: &str, gateway: &NsName, snapshots: &SharedSnapshots) {
    let snapshot = latest(snapshots, gateway);
    if let Some(refused) = Refused::read(line, gateway, snapshot.as_deref()) {
        tracing::warn!("{refused}");
    }
}

/// Reads to the end, whatever is written: a pipe that nobody empties would block the child.
fn follow(
    output: Option<impl AsyncRead + Unpin + Send + 'static>,
    gateway: &NsName,
    tell: impl Fn(&NsName, &str) + Send + 'static,
) {
    let (Some(output), gateway) = (output, gateway.clone()) else { return };
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tell(&gateway, &line);
        }
    });
}

/// New connections go elsewhere, calls under way may end, then the process does.
async fn end(child: &mut Child, files: &Files, patience: Duration) {
    if let Some(admin) = files.admin() {
        // Nobody balances over this proxy, and whoever is idle may be cut off. A child that does not answer is killed below.
        let patience = Patience { delay: Duration::ZERO, idle: Duration::ZERO, calls: patience };
        let _ = drain(&admin, patience).await;
        let _ = client::request(Method::POST, &admin, "/quitquitquit").await;
    }
    if timeout(QUIT, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    let _ = std::fs::remove_file(&files.admin);
}
