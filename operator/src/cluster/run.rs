//! The operator from start to end: reads the world, serves proxies, writes while it leads, hands over.
//!
//! [`Options`] → a running control plane, until SIGTERM or Ctrl-C
//!
//! **Invariant:** what happens in the cluster never ends it; only what it cannot start with does, and the end of one of its own parts:
//! a process that is whole takes its place.
//! **Invariant:** it does not stand for election before it knows the world.
//! **Invariant:** at the end the lease is given back first, so that another one leads before the proxies look for it.

use super::{
    admin::Shell,
    carry::{Operator, Queues},
    class,
    fail::FailPoint,
    families::Families,
    front::Front,
    identity::{self, Credentials, Guard, Lifetimes, listen},
    leadership::Leadership,
    lease::{Candidate, Terms},
    memory::Store,
    metrics::{Waiting, Watches},
    proxies::{self, Office},
    scope::Scope,
    seats::Seats,
    seen::Seen,
    sync::{Progress, Sync},
    watch::Watch,
    write::Desk,
    writer::{Writer, Writes},
};
use crate::{
    runtime::{QUEUE, Runtime, hear, metrics::Metrics},
    serve::{Ads, Directory, LINGER, admin},
};
use anyhow::Context as _;
use futures::FutureExt as _;
use kube::Client;
use sluice_core::{
    key::{NsName, Text},
    world,
};
use sluice_engine::{Engine, Input, Settings};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// How long a connection to the API server may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long proxies may take to let go at the end.
const FAREWELL: Duration = Duration::from_secs(5);
/// The Secret with the CA of the proxies.
const AUTHORITY: &str = "sluice-xds-ca";
/// The ConfigMap with the rules that proxies refused.
const REFUSED: &str = "sluice-refused-rules";

/// What the operator is started with.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// What of the cluster is seen.
    pub(crate) scope: Scope,
    /// The class that is made if it is absent.
    pub(crate) class: String,
    /// The namespace of the install.
    pub(crate) namespace: Text,
    /// Our name among the replicas.
    pub(crate) pod: Text,
    /// Where proxies reach us; without it they are not told.
    pub(crate) ip: Option<IpAddr>,
    /// The families of pods' addresses.
    pub(crate) families: Families,
    /// Where proxies get their configuration.
    pub(crate) xds: SocketAddr,
    /// The Service that stands for that.
    pub(crate) xds_service: Text,
    /// Where the admin interface listens.
    pub(crate) admin: SocketAddr,
    /// The name of the Lease.
    pub(crate) lease: Text,
    /// The terms of the Lease.
    pub(crate) terms: Terms,
    /// Streams of each Gateway beyond those that its pods need.
    pub(crate) spare_streams: usize,
    /// How long the certificates of the proxies' connections are valid.
    pub(crate) lives: Lifetimes,
    /// The image of the proxies.
    pub(crate) image: String,
    /// Its `imagePullPolicy`.
    pub(crate) pull_policy: String,
}

impl Options {
    fn own(&self, name: &Text) -> NsName {
        NsName { namespace: self.namespace.clone(), name: name.clone() }
    }

    /// As proxies know us, and as our certificate says.
    fn host(&self) -> String {
        format!("{}.{}.svc", self.xds_service, self.namespace)
    }
}

/// Runs until it is told to end.
///
/// # Errors
/// What it cannot start with: no cluster in the environment, a port that is in use, a profile that is none. When a part of it ends.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    options.terms.check()?;
    let given = options.scope.given(&options.class).context("--profile")?;
    let world = world::Settings {
        scope: options.scope.seen(),
        everywhere: options.families.everywhere(),
        reserved: proxies::RESERVED.to_vec(),
        ..world::Settings::default()
    };
    let client = connect().await?;
    let xds = bind(options.xds, "--xds-address").await?;
    let pages = bind(options.admin, "--admin-address").await?;
    let (inputs, queue) = mpsc::channel(QUEUE);
    let mut metrics = Metrics::new();
    let plant = Plant::new(options, client, inputs, &mut metrics)?;
    let metrics = Arc::new(metrics);

    let mut parts = Parts::default();
    let (stop, resign, end) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let progress = plant.read(&mut parts.reading, given.into_iter().map(Input::from).collect());
    let credentials = plant.identify(&mut parts.reading);
    plant.serve(&mut parts, listen(xds, credentials.clone()), &end);
    plant.show(&mut parts.reading, pages, metrics.clone(), progress.clone());
    plant.write(&mut parts.writing, credentials);
    parts.election.spawn(stand(plant.candidate(), progress, resign.clone()));

    tokio::spawn(ended_by_signal(stop.clone()));
    let operator = Operator::new(
        plant.directory.clone(),
        plant.leadership.clone(),
        plant.queues.clone(),
        plant.options.scope.clone(),
    );
    let mut runtime = Runtime::new(Engine::new(Settings { world, ..Settings::default() }), operator, metrics);
    let outcome = tokio::select! {
        () = runtime.run(queue, stop) => Ok(()),
        part = parts.ended() => Err(anyhow::anyhow!("{part} ended while it was needed")),
    };
    parts.end(&resign, &end).await;
    outcome
}

/// What goes on beside the engine, by when it ends.
#[derive(Default)]
struct Parts {
    writing: JoinSet<()>,
    election: JoinSet<()>,
    serving: JoinSet<()>,
    reading: JoinSet<()>,
}

impl Parts {
    /// Waits until one of them ends by itself, or panics.
    async fn ended(&mut self) -> &'static str {
        tokio::select! {
            Some(_) = self.writing.join_next() => "a part that writes",
            Some(_) = self.election.join_next() => "the election",
            Some(_) = self.serving.join_next() => "the server of configuration",
            Some(_) = self.reading.join_next() => "a part that reads",
            else => "everything",
        }
    }

    /// Ends them all.
    async fn end(mut self, resign: &CancellationToken, end: &CancellationToken) {
        self.writing.shutdown().await;
        resign.cancel();
        while let Some(outcome) = self.election.join_next().await {
            outcome.unwrap_or_else(|error| tracing::error!("the lease may not be given back: {error}"));
        }
        end.cancel();
        // Streams that are not let go by now are cut: their proxies connect to whoever leads.
        let _ = timeout(FAREWELL, async { while self.serving.join_next().await.is_some() {} }).await;
        self.reading.shutdown().await;
    }
}

/// A client without retries of its own: those would be sent long after they were asked for, by a process that may no longer lead.
async fn connect() -> anyhow::Result<Client> {
    let hint = "no cluster: run it in a pod with a service account, or with a KUBECONFIG";
    let mut config = kube::Config::infer().await.context(hint)?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).context("the client of the API server")
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}"))
}

/// Stands for election once the world is read.
async fn stand(candidate: Candidate, mut progress: watch::Receiver<Progress>, resign: CancellationToken) {
    tokio::select! {
        () = resign.cancelled() => return,
        // Without a sender nothing is read any more: the process ends.
        known = progress.wait_for(Progress::is_empty) => if known.is_err() { return },
    }
    candidate.run(resign).await;
}

async fn ended_by_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard: end this process by SIGKILL");
        return;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    tracing::info!("ending: the lease is given back first");
    stop.cancel();
}

/// What came through a handshake.
type Connections = ReceiverStream<io::Result<TlsStream<TcpStream>>>;

/// What all parts share.
struct Plant {
    options: Options,
    client: Client,
    leadership: Leadership,
    directory: Directory,
    queues: Queues,
    writer: Writer,
    watches: Watches,
    waiting: Waiting,
    inputs: mpsc::Sender<Vec<Input>>,
    seats: Seats,
    seen: Seen,
    /// In how many namespaces the engine does not yet know where Gateways are reached.
    unread: watch::Sender<usize>,
}

impl Plant {
    fn new(
        options: Options,
        client: Client,
        inputs: mpsc::Sender<Vec<Input>>,
        metrics: &mut Metrics,
    ) -> anyhow::Result<Self> {
        let leadership = Leadership::default();
        let writer = Writer {
            client: client.clone(),
            leadership: leadership.clone(),
            writes: Writes::register(metrics.registry()),
            fail: FailPoint::from_environment()?.map(Arc::new),
            limit: options.terms.limit(),
        };
        let (watches, waiting) = (Watches::new(metrics.registry()), Waiting::new(metrics.registry()));
        let (directory, queues) = (Directory::default(), Queues::default());
        let unread = watch::Sender::new(options.scope.namespaces().len());
        let (seats, seen) = (Seats::new(options.spare_streams), Seen::default());
        Ok(Self {
            options,
            client,
            leadership,
            directory,
            queues,
            writer,
            watches,
            waiting,
            inputs,
            seats,
            seen,
            unread,
        })
    }

    /// Follows everything that is to be known.
    fn read(&self, tasks: &mut JoinSet<()>, given: Vec<Input>) -> watch::Receiver<Progress> {
        let sources = self.options.scope.sources();
        let (sync, voices) = Sync::new(sources.clone(), given, self.inputs.clone());
        let progress = sync.progress();
        tasks.spawn(sync.run());
        for (source, voice) in sources.into_iter().zip(voices) {
            let gauges = self.watches.of(&source);
            tasks.spawn(Watch::new(self.client.clone(), source, voice, gauges, self.seen.clone()).run());
        }
        progress
    }

    /// Keeps what proves who is who.
    fn identify(&self, tasks: &mut JoinSet<()>) -> watch::Receiver<Option<Arc<Credentials>>> {
        let keeper = identity::Keeper {
            writer: self.writer.clone(),
            namespace: self.options.namespace.to_string(),
            secret: AUTHORITY.to_owned(),
            host: self.options.host(),
            lives: self.options.lives,
        };
        let (sender, credentials) = watch::channel(None);
        tasks.spawn(keeper.keep(sender));
        credentials
    }

    /// Serves proxies that prove who they are, until `end`.
    fn serve(&self, parts: &mut Parts, connections: Connections, end: &CancellationToken) {
        let (reports, heard) = mpsc::channel(QUEUE);
        let guard = Guard::new(self.leadership.clone(), self.seats.clone());
        let ads = Ads::new(guard, self.directory.clone(), reports).lingering(LINGER).router();
        let ads = ads.serve_with_incoming_shutdown(connections, end.clone().cancelled_owned());
        parts.serving.spawn(async move {
            ads.await.unwrap_or_else(|error| tracing::error!("configuration is no longer served: {error}"));
        });
        parts.reading.spawn(hear(heard, self.inputs.clone()));
    }

    /// Shows how it is doing.
    fn show(
        &self,
        tasks: &mut JoinSet<()>,
        pages: TcpListener,
        metrics: Arc<Metrics>,
        progress: watch::Receiver<Progress>,
    ) {
        let shell = Shell {
            metrics,
            waiting: self.waiting.clone(),
            queues: self.queues.clone(),
            progress,
            leadership: self.leadership.clone(),
        };
        let routes = admin::router(Arc::new(shell));
        tasks.spawn(async move {
            let outcome = axum::serve(pages, routes).await;
            outcome.unwrap_or_else(|error| tracing::error!("the admin interface is no longer served: {error}"));
        });
    }

    /// Does what the engine says, while this process leads.
    fn write(&self, tasks: &mut JoinSet<()>, credentials: watch::Receiver<Option<Arc<Credentials>>>) {
        let desk = Desk {
            queues: self.queues.clone(),
            store: self.store(),
            seen: self.seen.clone(),
            inputs: self.inputs.clone(),
            process: self.options.pod.clone(),
        };
        desk.staff(tasks);
        if self.options.scope == Scope::Cluster {
            tasks.spawn(class::keep(self.writer.clone(), self.options.class.clone()));
        }
        let office = Office {
            writer: self.writer.clone(),
            events: self.queues.events.clone(),
            credentials,
            inputs: self.inputs.clone(),
            seats: self.seats.clone(),
            namespaces: self.options.scope.namespaces(),
            unread: self.unread.clone(),
        };
        let settings = proxies::Settings {
            image: self.options.image.clone(),
            pull_policy: self.options.pull_policy.clone(),
            host: self.options.host(),
            port: self.options.xds.port(),
            families: self.options.families,
        };
        let keeper = proxies::Keeper::new(office, settings, self.options.lives);
        let wishes = self.queues.infrastructure.clone();
        tasks.spawn(async move { keeper.run(&wishes).await });
    }

    fn candidate(&self) -> Candidate {
        let (store, unread) = (self.store(), self.unread.clone());
        let address = self.options.ip.map(|ip| SocketAddr::new(ip, self.options.xds.port()));
        Candidate {
            writer: self.writer.clone(),
            place: self.options.own(&self.options.lease),
            identity: self.options.pod.clone(),
            terms: self.options.terms,
            front: address.map(|address| Front { service: self.options.own(&self.options.xds_service), address }),
            prelude: Box::new(move || recall(store.clone(), unread.subscribe()).boxed()),
            inputs: self.inputs.clone(),
        }
    }

    fn store(&self) -> Store {
        Store { writer: self.writer.clone(), place: self.options.own(&REFUSED.into()) }
    }
}

/// What the last leader left. Where Gateways are reached, and by which proxies, the engine has been told by then.
async fn recall(store: Store, mut unread: watch::Receiver<usize>) -> anyhow::Result<Vec<Input>> {
    let refused = store.recall().await?;
    unread.wait_for(|unread| *unread == 0).await?;
    Ok(refused.into_iter().map(Input::Remember).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_part_that_ends_or_panics_is_noticed_while_the_others_go_on() {
        let mut parts = Parts::default();
        parts.reading.spawn(pending());
        assert!(timeout(Duration::from_millis(10), parts.ended()).await.is_err());
        parts.writing.spawn(async { panic!("a defect") });
        assert_eq!(parts.ended().await, "a part that writes");
        parts.election.spawn(async {});
        assert_eq!(parts.ended().await, "the election");
        parts.end(&CancellationToken::new(), &CancellationToken::new()).await;
    }
}
