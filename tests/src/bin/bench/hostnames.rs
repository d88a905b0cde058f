//! o: a GrpcService with a hostname and a certificate of its own comes to a shared Gateway that has many, and goes again.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sluice_tests::{
    bench::{
        figure::Figure,
        objects,
        sample::Samples,
        subject::{PATIENCE, until},
        tap::{Said, Side},
    },
    calls::{Outcome, Speech, call},
    load::{Load, Plan, Target},
    wire::Connection,
};
use sluice_xds::ResourceType;

use crate::{propagation::count, stage::Stage};

/// Streams that are held on other hostnames meanwhile.
const STREAMS: usize = 20;

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
    let complete = async || {
        let hosts = tap.state().iter().filter(|(id, _, _)| own(id.kind, &id.name)).count();
        (hosts >= wanted && tap.is_answered()).then_some(())
    };
    let said = || format!("{} hosts\n{}", tap.held(ResourceType::VirtualHost), stage.subject.said());
    until("all hostnames", complete).await.with_context(said)?;
    stage.settle().await
}

fn own(kind: ResourceType, name: &str) -> bool {
    kind == ResourceType::VirtualHost && name.rsplit('/').next().is_some_and(|host| host.starts_with("own-"))
}

#[derive(Debug, Default)]
struct Found {
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
    let load = load.stop().await?;
    let name = |words: &str| format!("{hostnames} hostnames: {words}");
    let samples = |values: Vec<f64>| values.into_iter().collect::<Samples>();
    let figures = [
        Figure::new("o", name("one more, until its first good call"), "ms", Samples::milliseconds(found.reached)),
        Figure::new("o", name("one more, all that is sent"), "bytes", samples(found.bytes)),
        Figure::new("o", name("one more, of that the listener"), "bytes", samples(found.listener)).at_most(20_000.0),
        Figure::new("o", name("one more, CPU of Envoy"), "ms", samples(found.envoy)),
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
