//! o: a GrpcService with a hostname and a certificate of its own comes to a shared Gateway that has many, and goes again; and what an edit
//! of one costs among them.
//!
//! Each hostname is a filter chain with a route configuration of its own: one more costs a Listener with all of them, and an edit costs what
//! it costs among none. The floor is an Envoy of the same configuration that is sent the Listeners before and after.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;
use serde_json::{Value, json};
use sluice_tests::{
    bench::{
        figure::Figure,
        objects,
        replay::{Replay, elsewhere},
        sample::Samples,
        subject::{PATIENCE, until},
        tap::{Said, Side},
    },
    calls::{Outcome, Speech, call},
    load::{Load, Plan, Target},
    wire::Connection,
};
use sluice_xds::{Id, ResourceType};

use crate::{propagation::count, stage::Stage};

/// Streams that are held on other hostnames meanwhile.
const STREAMS: usize = 20;
/// Between samples, so that each finds everything at rest.
const PAUSE: Duration = Duration::from_millis(300);

/// Measures with more and more hostnames.
pub(crate) async fn measure(stage: &mut Stage) -> Result<()> {
    let mut there = 0;
    for hostnames in stage.size.hostnames.clone() {
        grow(stage, there, hostnames).await?;
        there = hostnames;
        at(stage, hostnames).await?;
    }
    Ok(())
}

fn hostname(index: usize) -> String {
    format!("own-{index}.example.net")
}

fn service(index: usize) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcService",
        "metadata": {"namespace": objects::APPS, "name": format!("own-{index}")},
        "spec": {
            "hostnames": [hostname(index)],
            "gateways": [{"name": "edge", "ref": {"namespace": objects::INFRA, "name": objects::EDGE, "port": objects::PORT}}],
            "tls": {"type": "SelfSigned"},
            "backends": [{"name": "echo", "service": {"name": "echo-a", "port": 9000}}],
        },
    })
}

async fn grow(stage: &mut Stage, from: usize, to: usize) -> Result<()> {
    stage.writer.create_all((from..to).map(service)).await?;
    let (tap, wanted) = (&stage.edge.tap, to);
    let complete = async || (tap.held(is_own) >= wanted && tap.is_answered()).then_some(());
    let said = || format!("{} hosts\n{}", tap.held(is_own), stage.subject.said());
    until("all hostnames", complete).await.with_context(said)?;
    stage.settle().await
}

fn is_own(id: &Id) -> bool {
    id.kind == ResourceType::VirtualHost && id.name.rsplit('/').next().is_some_and(|host| host.starts_with("own-"))
}

#[derive(Debug, Default)]
struct Found {
    edited: Vec<Duration>,
    reached: Vec<Duration>,
    bytes: Vec<f64>,
    listener: Vec<f64>,
    envoy: Vec<f64>,
    gone: Vec<Duration>,
}

async fn at(stage: &mut Stage, hostnames: usize) -> Result<()> {
    let target = Arc::new(Others {
        address: stage.edge.listener().await?,
        authorities: authorities(stage, STREAMS.min(hostnames)).await?,
    });
    let plan = Plan { per_second: 20, connections: STREAMS.min(hostnames), fresh: 1_000_000, streams: STREAMS };
    let load = Load::start(target, plan).await?;
    let mut found = Found::default();
    for number in 0..stage.size.rounds {
        one(stage, hostnames + number, &mut found).await?;
    }
    for number in 0..stage.size.samples {
        found.edited.push(edit(stage, number % hostnames).await?);
    }
    let alone = floor(stage).await?;
    let load = load.stop().await?;
    let name = |words: &str| format!("{hostnames} hostnames: {words}");
    let samples = |values: Vec<f64>| values.into_iter().collect::<Samples>();
    let figures = [
        Figure::new("o", name("one more, until its first good call"), "ms", Samples::milliseconds(found.reached)),
        Figure::new("o", name("one more, all that is sent"), "bytes", samples(found.bytes)),
        Figure::new("o", name("one more, of that the Listener"), "bytes", samples(found.listener)).at_most(20_000.0),
        Figure::new("o", name("one more, CPU of Envoy"), "ms", samples(found.envoy)),
        Figure::new("o", name("floor: Envoy, prepared Listener, until its ACK"), "ms", Samples::milliseconds(alone)),
        Figure::new("o", name("an edit of one, until Envoy's ACK"), "ms", Samples::milliseconds(found.edited))
            .at_most(20.0),
        Figure::new("o", name("one less, until Envoy's ACK"), "ms", Samples::milliseconds(found.gone)),
        Figure::new("o", name("streams cut on others"), "streams", count(load.cut.len())).at_most(0.0),
        Figure::new("o", name("calls failed on others"), "calls", count(load.failed.len())).at_most(0.0),
    ];
    for figure in figures {
        stage.report.add(figure);
    }
    Ok(())
}

/// One comes and goes.
async fn one(stage: &mut Stage, index: usize, found: &mut Found) -> Result<()> {
    stage.settle().await?;
    let (mark, meter) = (stage.edge.tap.mark(), stage.envoy());
    let before = meter.running()?;
    let written = stage.writer.create(&service(index)).await?;
    let address = stage.edge.listener().await?;
    let reached = async || {
        let authority = authority(stage, index).await.ok()?;
        let connection = Connection::open(address, &hostname(index), &authority).await.ok()?;
        let outcome = call(&connection, Speech::Grpc, "/echo.Echo/Echo", &[]).await.ok()?;
        matches!(outcome, Outcome::Answered(_)).then(Instant::now)
    };
    let at = until("the first good call", reached).await.with_context(|| stage.subject.said())?;
    found.reached.push(at - written.at);
    stage.settle().await?;
    found.envoy.push(meter.running()?.saturating_sub(before).as_secs_f64() * 1e3);
    let said = stage.edge.tap.since(mark);
    let of = |wanted: &dyn Fn(&Said) -> bool| {
        count(said.iter().filter(|said| said.by == Side::Plane && wanted(said)).map(|said| said.bytes).sum())
    };
    found.bytes.push(of(&|_| true));
    found.listener.push(of(&|said| said.kind == Some(ResourceType::Listener)));
    let mark = stage.edge.tap.mark();
    let written = stage.writer.delete(&service(index)).await?;
    let gone = |said: &Said| {
        said.kind == Some(ResourceType::VirtualHost) && said.removed.iter().any(|name| name.ends_with(&hostname(index)))
    };
    let (_, answer) = stage.edge.tap.acknowledged(mark, PATIENCE, gone).await?;
    found.gone.push(answer.at.saturating_duration_since(written.at));
    Ok(())
}

/// One of them gets a rule: how long until Envoy has it.
async fn edit(stage: &mut Stage, index: usize) -> Result<Duration> {
    let (mut service, marker) = (service(index), stage.marker());
    let headers = json!([{"type": "Exact", "name": "x-edit", "value": marker}]);
    service["spec"]["rules"] = json!([{"name": "edited", "matches": [{"headers": headers}]}, {"name": "rest"}]);
    let mark = stage.edge.tap.mark();
    let written = stage.writer.merge(&service).await?;
    let change = stage.follow(written, mark, &marker).await?;
    // house(sleep): see PAUSE.
    tokio::time::sleep(PAUSE).await;
    Ok(change.total())
}

/// A chain more, prepared, to another Envoy with the same configuration: until its answer.
async fn floor(stage: &mut Stage) -> Result<Vec<Duration>> {
    let copy = stage.copy();
    let is_ours = |id: &Id| id.kind == ResourceType::Listener && id.name.starts_with("https-");
    let (id, _, bytes) = copy.iter().find(|(id, _, _)| is_ours(id)).context("no Listener")?;
    let (mut replay, _) = Replay::start(&copy).await?;
    let (less, more) = listeners(bytes)?;
    let mut alone = Vec::new();
    for _ in 0..stage.size.rounds {
        replay.push(id, &less).await?;
        // house(sleep): see PAUSE.
        tokio::time::sleep(PAUSE).await;
        let (response, answer) = replay.push(id, &more).await?;
        alone.push(answer.at - response.at);
    }
    Ok(alone)
}

/// A Listener without its last chain, and with it, on any free port.
fn listeners(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut listener = elsewhere(bytes)?;
    let more = listener.encode_to_vec();
    listener.filter_chains.pop().context("no chain")?;
    Ok((listener.encode_to_vec(), more))
}

/// The CA of a service, once there is one.
async fn authority(stage: &Stage, index: usize) -> Result<String> {
    let metadata = json!({"namespace": objects::APPS, "name": format!("own-{index}-tls")});
    let wanted = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
    let secret = stage.writer.get(&wanted).await?.context("no certificate yet")?;
    let text = secret["data"]["ca.crt"].as_str().context("no ca.crt")?;
    Ok(String::from_utf8(STANDARD.decode(text)?)?)
}

async fn authorities(stage: &Stage, count: usize) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for index in 0..count {
        all.push(authority(stage, index).await?);
    }
    Ok(all)
}

/// The hostnames that were there before.
struct Others {
    address: SocketAddr,
    authorities: Vec<String>,
}

impl Target for Others {
    async fn connect(&self, number: u64) -> Result<Connection> {
        let index = usize::try_from(number)? % self.authorities.len().max(1);
        let authority = self.authorities.get(index).context("no hostname")?;
        Connection::open(self.address, &hostname(index), authority).await
    }
}
