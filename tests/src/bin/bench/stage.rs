//! What a run happens on: one API server, the controller under test, one Envoy behind a tap, and a world that only grows.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sluice_tests::{
    api_server::ApiServer,
    bench::{
        audit::Audit,
        figure::Report,
        meter::{Memory, Meter},
        objects::{self, Rules},
        replay::Form,
        stand_in::StandIn,
        subject::{NAMESPACE, PATIENCE, Subject, until},
        tap::{Said, Tap},
        watcher::Watcher,
        writer::{Writer, Written},
    },
    calls::{Outcome, Speech, call},
    echoes::Echo,
    envoy::Proxy,
    manifests::Certificate,
    wire::Connection,
};
use sluice_xds::{Id, ResourceType};

use crate::size::Size;

/// Who the audit log shows the controller as.
pub(crate) const USER: &str = "one";
/// Who it shows the driver as.
pub(crate) const DRIVER: &str = "two";
/// A process is idle below this share of a core.
const IDLE: f64 = 0.02;
/// How long it must be.
const QUIET: Duration = Duration::from_millis(700);
/// What is free is given back at such a pace that it shows after this time.
const GIVEN_BACK: Duration = Duration::from_secs(3);
/// A share of memory that is as much as before.
const SAME: f64 = 0.995;

/// The proxy of the Gateway.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Between it and its control plane.
    pub(crate) tap: Tap,
    /// Envoy.
    pub(crate) envoy: Proxy,
}

/// Everything that runs.
pub(crate) struct Stage {
    /// How much is measured.
    pub(crate) size: Size,
    /// The API server.
    pub(crate) api: ApiServer,
    /// How the driver writes.
    pub(crate) writer: Writer,
    /// The controller.
    pub(crate) subject: Subject,
    /// The proxy.
    pub(crate) edge: Edge,
    /// The Gateway.
    pub(crate) gateway: Value,
    /// What the API alone takes.
    pub(crate) watcher: Watcher,
    /// Who wrote what.
    pub(crate) audit: Audit,
    /// The figures so far.
    pub(crate) report: Report,
    /// Routes that are there.
    pub(crate) routes: usize,
    certificate: Certificate,
    echoes: Vec<Echo>,
    markers: usize,
    _stand_in: StandIn,
}

/// A change of the world and how far it came.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// How much had been said before.
    pub(crate) mark: usize,
    /// What was written.
    pub(crate) written: Written,
    /// What the proxy was sent because of it.
    pub(crate) response: Arc<Said>,
    /// What it answered.
    pub(crate) answer: Arc<Said>,
}

impl Change {
    /// From the API server's answer until the control plane said it.
    pub(crate) fn plane(&self) -> Duration {
        self.response.at.saturating_duration_since(self.written.at)
    }

    /// All of it.
    pub(crate) fn total(&self) -> Duration {
        self.answer.at.saturating_duration_since(self.written.at)
    }
}

impl Stage {
    /// Starts everything, with no route yet.
    pub(crate) async fn new(size: Size, subject: impl FnOnce(&ApiServer) -> Result<Subject>) -> Result<Self> {
        let api = ApiServer::start()?;
        let writer = Writer::new(&api.kubeconfig(DRIVER)?).await?;
        let mut subject = subject(&api)?;
        let certificate = Certificate::new(&["*.example.com"])?;
        let gateway = objects::gateway(&subject.class);
        let echoes = futures::future::try_join_all(objects::REAL.map(Echo::start_outside)).await?;
        lay_out(&writer, &subject, &certificate, &gateway, &echoes).await?;
        let stand_in = StandIn::start(&writer);
        subject.start()?;
        subject.ready().await?;
        let edge = Edge::start(&subject, &writer).await?;
        let audit = Audit::new(&api.directory().join("audit.log"));
        let watcher = Watcher::start(writer.client());
        Ok(Self {
            size,
            api,
            writer,
            subject,
            edge,
            gateway,
            watcher,
            audit,
            report: Report::default(),
            routes: 0,
            certificate,
            echoes,
            markers: 0,
            _stand_in: stand_in,
        })
    }

    /// Adds routes, each with a host, a Service and endpoints of its own, until there are so many and the proxy has them.
    pub(crate) async fn grow(&mut self, routes: usize) -> Result<()> {
        let gateway = &self.gateway;
        let fresh = self.routes..routes;
        self.writer.create_all(fresh.flat_map(|index| objects::application(gateway, index))).await?;
        self.routes = self.routes.max(routes);
        self.complete().await?;
        self.settle().await
    }

    /// Waits until the proxy has a host for every route, and has answered all that it was sent.
    pub(crate) async fn complete(&self) -> Result<()> {
        let (tap, wanted) = (&self.edge.tap, self.routes);
        let complete = async || (tap.held(is_host_of_a_route) >= wanted && tap.is_answered()).then_some(());
        let said = || format!("{} hosts of {wanted}\n{}", tap.held(is_host), self.subject.said());
        until("complete configuration", complete).await.with_context(said)
    }

    /// Waits until controller and proxy do nothing any more.
    pub(crate) async fn settle(&self) -> Result<()> {
        let meter = self.both();
        until("rest", async || {
            let before = meter.cpu().ok()?;
            // house(sleep): the time over which a share of a core is taken.
            tokio::time::sleep(QUIET).await;
            let spent = meter.cpu().ok()?.checked_sub(before)?;
            (spent.as_secs_f64() <= IDLE * QUIET.as_secs_f64()).then_some(())
        })
        .await
    }

    /// What the controller keeps: its memory once the allocator has given back what is free.
    pub(crate) async fn kept(&self) -> Result<Memory> {
        self.settle().await?;
        let meter = self.subject.meter();
        let mut before = meter.memory()?;
        loop {
            // house(sleep): it gives back a little at a time, for ten seconds.
            tokio::time::sleep(GIVEN_BACK).await;
            let now = meter.memory()?;
            if now.resident >= before.resident * SAME {
                return Ok(now);
            }
            before = now;
        }
    }

    fn both(&self) -> [Meter; 2] {
        [self.subject.meter(), self.envoy()]
    }

    /// The proxy's process.
    pub(crate) fn envoy(&self) -> Meter {
        Meter::new([self.edge.envoy.pid()])
    }

    /// A marker that was never used.
    pub(crate) fn marker(&mut self) -> String {
        self.markers += 1;
        objects::marker(self.markers)
    }

    /// A route with these rules.
    pub(crate) fn route(&self, rules: Rules) -> Value {
        objects::route(&self.gateway, rules)
    }

    /// Edits a route so that the new marker leads to `target`, and follows the edit.
    pub(crate) async fn edit(&mut self, index: usize, target: &str) -> Result<(Change, String)> {
        let marker = self.marker();
        let route = self.route(Rules { index, marker: &marker, target });
        let mark = self.edge.tap.mark();
        let written = self.writer.merge(&route).await?;
        Ok((self.follow(written, mark, &marker).await?, marker))
    }

    /// Follows what was written by the marker in it.
    pub(crate) async fn follow(&self, written: Written, mark: usize, marker: &str) -> Result<Change> {
        let wanted = |said: &Said| said.mentions(marker.as_bytes());
        let found = self.edge.tap.acknowledged(mark, PATIENCE, wanted).await;
        let (response, answer) = found.with_context(|| format!("{marker}\n{}", self.subject.said()))?;
        Ok(Change { mark, written, response, answer })
    }

    /// What the proxy was last sent, for a replay.
    pub(crate) fn copy(&self) -> Vec<Form> {
        self.edge.tap.state()
    }

    /// What the proxy was last sent of the host of a route.
    pub(crate) fn host(&self, index: usize) -> Result<Form> {
        let suffix = format!("/{}", objects::host(index));
        let found = self.edge.tap.find(|id| is_host(id) && id.name.ends_with(&suffix));
        found.with_context(|| format!("the proxy was never sent {suffix}"))
    }

    /// A connection to a host of the Gateway.
    pub(crate) async fn connect(&self, host: &str) -> Result<Connection> {
        let address = self.edge.listener().await?;
        Connection::open(address, host, &self.certificate.pem).await
    }

    /// A call that an edit of the host's route with this marker leads somewhere.
    pub(crate) async fn call(&self, connection: &Connection, marker: &str) -> Result<Outcome> {
        call(connection, Speech::Grpc, "/echo.Echo/Echo", &[("x-edit", marker)]).await
    }

    /// The real backends.
    pub(crate) fn echoes(&self) -> &[Echo] {
        &self.echoes
    }

    /// Puts a fresh Envoy in the place of the one before, which ends first: it would come back for all that it has.
    pub(crate) async fn renew_edge(&mut self) -> Result<()> {
        self.edge.envoy.end();
        self.edge = Edge::start(&self.subject, &self.writer).await?;
        Ok(())
    }
}

impl Edge {
    /// Starts Envoy behind a tap of its own.
    pub(crate) async fn start(subject: &Subject, writer: &Writer) -> Result<Self> {
        let tap = Tap::start(subject.upstream(writer).await?).await?;
        let envoy = Proxy::start_as(tap.address(), |bootstrap| {
            bootstrap["node"]["cluster"] = json!(format!("{}/{}", objects::INFRA, objects::EDGE));
        })?;
        Ok(Self { tap, envoy })
    }

    /// Where the Gateway's listener is.
    pub(crate) async fn listener(&self) -> Result<std::net::SocketAddr> {
        let mut address = self.envoy.listener(&format!("https-{}", objects::PORT)).await?;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Ok(address)
    }
}

trait Spent {
    fn cpu(&self) -> Result<Duration>;
}

impl Spent for [Meter; 2] {
    fn cpu(&self) -> Result<Duration> {
        self.iter().map(Meter::cpu).sum()
    }
}

fn is_host(id: &Id) -> bool {
    id.kind == ResourceType::VirtualHost
}

fn is_host_of_a_route(id: &Id) -> bool {
    is_host(id) && id.name.rsplit('/').next().is_some_and(|host| host.starts_with("host-"))
}

async fn lay_out(
    writer: &Writer,
    subject: &Subject,
    certificate: &Certificate,
    gateway: &Value,
    echoes: &[Echo],
) -> Result<()> {
    for name in [NAMESPACE, objects::APPS, objects::INFRA] {
        writer.create(&objects::namespace(name)).await?;
    }
    if subject.is_ours() {
        let class = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": subject.class},
            "spec": {"controllerName": "sluice.dev/gateway-controller"},
        });
        writer.create(&class).await?;
    }
    for (name, echo) in objects::REAL.into_iter().zip(echoes) {
        writer.create(&objects::service(name)).await?;
        writer.create(&objects::real_slice(name, echo.address())).await?;
    }
    writer.create(&objects::secret(certificate)).await?;
    writer.create(gateway).await?;
    writer.create(&objects::keeper(gateway)).await.map(drop)
}
