//! Calls and streams while everything that may be edited is edited: none of them fails, and none is reset.
//!
//! The load is open: calls start by the clock, whatever became of those before. Nothing is retried. A run in which the machine
//! could not make 95 % of the intended calls in time proves nothing, and fails as such.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use sluice_echo::proto::{EchoRequest, Ending, ServerRequest, echo_client::EchoClient, stream_client::StreamClient};
use sluice_tests::{
    echoes::Echo,
    manifests::{Certificate, backend, endpoints, file, gateway, route, service},
    stage::Stage,
    wire::Connection,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

const SPAN: Duration = Duration::from_secs(64);
const CALLS_PER_SECOND: u32 = 200;
const STREAMS: usize = 100;
const EDITS: u32 = 500;
/// The last edit is made a little before the load ends.
const PACE: Duration = Duration::from_millis(124);
const HOSTS: u64 = 8;
const CONNECTIONS: u64 = 5;
/// Every so manieth call shakes hands first, so that rotated certificates are used.
const FRESH: u64 = 100;
/// A call or message that takes longer counts as lost.
const LOST: Duration = Duration::from_secs(20);

/// A reproducible sequence (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What the load goes through.
struct Scene {
    stage: Stage,
    second: Echo,
    renewed: Certificate,
}

impl Scene {
    async fn set() -> Result<Self> {
        let mut dice = Dice(7);
        let routes = (0..HOSTS).map(|index| hosted(index, &mut dice));
        let stage = Stage::new(&["a", "b"], std::iter::empty::<Value>()).await?;
        for (index, route) in routes.enumerate() {
            stage.sluice.apply(&format!("route-{index}.yaml"), &file([route]))?;
        }
        for index in 0..HOSTS {
            stage.in_force(&format!("route-{index}")).await?;
        }
        let renewed = Certificate::new(&["*.example.com"])?;
        Ok(Self { stage, second: Echo::start("a").await?, renewed })
    }

    async fn connect(&self, index: u64) -> Result<Connection> {
        let authority = format!("{}{}", self.stage.certificate.pem, self.renewed.pem);
        Connection::open(self.stage.sluice.https(), &host(index), &authority).await
    }

    /// One edit of the manifests; what is called stays served in each of them.
    fn edit(&self, dice: &mut Dice) -> Result<()> {
        let sluice = &self.stage.sluice;
        match dice.roll(10) {
            0 => {
                let certificates = [&self.stage.certificate, &self.renewed];
                let chosen = certificates[usize::from(dice.roll(2) == 0)].secret("certificate");
                sluice.apply("gateway.yaml", &file([chosen, gateway("gateway", &["*.example.com"], "certificate")]))
            }
            1 | 2 => sluice.apply("backends.yaml", &self.backends(dice)?),
            3 => {
                let name = format!("extra-{}", dice.roll(5));
                let extra = route(&name, &format!("{name}.example.com"), &rules(dice));
                sluice.apply(&format!("{name}.yaml"), &file([extra]))
            }
            4 => {
                // Some are not there; then the edit is none.
                let _absent = sluice.delete(&format!("extra-{}.yaml", dice.roll(5)));
                Ok(())
            }
            _ => {
                let index = dice.roll(HOSTS);
                sluice.apply(&format!("route-{index}.yaml"), &file([hosted(index, dice)]))
            }
        }
    }

    /// One or both endpoints of `a`; always the one of `b`.
    fn backends(&self, dice: &mut Dice) -> Result<String> {
        let (first, b) = (self.stage.echo("a")?.address(), self.stage.echo("b")?.address());
        let mut second = endpoints("a", self.second.address());
        second["metadata"]["name"] = json!("a-2");
        let mut documents = vec![service("a"), service("b"), endpoints("b", b)];
        match dice.roll(3) {
            0 => documents.push(endpoints("a", first)),
            1 => documents.push(second),
            _ => documents.extend([endpoints("a", first), second]),
        }
        Ok(file(documents))
    }
}

fn host(index: u64) -> String {
    format!("h{}.example.com", index % HOSTS)
}

fn hosted(index: u64, dice: &mut Dice) -> Value {
    route(&format!("route-{index}"), &host(index), &rules(dice))
}

/// Up to three rules that no call matches, and one with random weights and an edit of headers for all calls.
fn rules(dice: &mut Dice) -> Value {
    let unused = |_| {
        json!({
            "matches": [{"headers": [{"name": "x-nobody", "value": dice.roll(1000).to_string()}]}],
            "backendRefs": [backend("b")],
        })
    };
    let mut rules: Vec<_> = (0..3).map(unused).collect();
    rules.truncate(usize::try_from(dice.roll(4)).unwrap_or_default());
    let weight = dice.roll(101);
    rules.push(json!({
        "filters": [{
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {"set": [{"name": "x-edit", "value": dice.roll(1000).to_string()}]},
        }],
        "backendRefs": [
            {"name": "a", "port": 9000, "weight": weight},
            {"name": "b", "port": 9000, "weight": 100 - weight},
        ],
    }));
    json!(rules)
}

/// What became of the calls.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    failed: Mutex<Vec<String>>,
}

impl Tally {
    fn note(&self, outcome: Result<()>, started: Instant, begin: Instant) {
        match outcome {
            Ok(()) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                let line = format!("started at {:?}, ended at {:?}: {error:#}", started - begin, begin.elapsed());
                self.failed.lock().unwrap().push(line);
            }
        }
    }
}

async fn unary(connection: &Connection, text: String) -> Result<()> {
    let mut client = EchoClient::with_origin(connection.clone(), connection.origin());
    let answer = timeout(LOST, client.echo(EchoRequest { text: text.clone() })).await.context("no answer")??;
    ensure!(answer.get_ref().text == text, "another call's answer");
    Ok(())
}

/// Starts calls by the clock until the end, and returns how many were answered by then.
async fn calls(scene: Arc<Scene>, tally: Arc<Tally>, begin: Instant) -> Result<u64> {
    let connections = try_join_all((0..CONNECTIONS).map(|index| scene.connect(index))).await?;
    let mut clock = interval(Duration::from_secs(1) / CALLS_PER_SECOND);
    let mut running = JoinSet::new();
    for number in 0.. {
        let started = clock.tick().await;
        if begin.elapsed() >= SPAN {
            break;
        }
        let open = connections[usize::try_from(number % CONNECTIONS)?].clone();
        let (scene, tally) = (scene.clone(), tally.clone());
        running.spawn(async move {
            let connection = if number % FRESH == 0 { scene.connect(number / FRESH).await } else { Ok(open) };
            let outcome = match connection {
                Ok(connection) => unary(&connection, number.to_string()).await,
                Err(error) => Err(error),
            };
            tally.note(outcome, started, begin);
        });
        while running.try_join_next().is_some() {}
    }
    let in_time = tally.answered.load(Ordering::Relaxed);
    while running.join_next().await.is_some() {}
    ensure!(connections.iter().all(|connection| !connection.is_closed()), "the gateway closed a connection");
    Ok(in_time)
}

/// A message a second, each echoed, until the end; then the stream ends when the client does.
async fn stream(connection: Connection, begin: Instant) -> Result<()> {
    let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
    let (sender, texts) = mpsc::channel(1);
    sender.send(EchoRequest { text: "first".into() }).await?;
    let mut answers = client.bidi(ReceiverStream::new(texts)).await?.into_inner();
    ensure!(timeout(LOST, answers.message()).await??.context("ended at once")?.text == "first");
    let mut clock = interval(Duration::from_secs(1));
    while begin.elapsed() < SPAN {
        clock.tick().await;
        sender.send(EchoRequest { text: "next".into() }).await.context("cut")?;
        ensure!(timeout(LOST, answers.message()).await.context("silent")??.context("ended")?.text == "next");
    }
    drop(sender);
    match timeout(LOST, answers.message()).await.context("never ended")?? {
        None => Ok(()),
        Some(message) => bail!("one more message: {message:?}"),
    }
}

async fn streams(scene: Arc<Scene>, begin: Instant) -> Result<()> {
    let connections = try_join_all((0..CONNECTIONS).map(|index| scene.connect(index))).await?;
    let mut running = JoinSet::new();
    for index in 0..STREAMS {
        running.spawn(stream(connections[index % connections.len()].clone(), begin));
    }
    while let Some(ended) = running.join_next().await {
        ended?.with_context(|| format!("a stream, after {:?}", begin.elapsed()))?;
    }
    Ok(())
}

/// The client has ended its side at once; the second message comes after more than a minute of silence.
async fn half_closed(scene: Arc<Scene>) -> Result<()> {
    let connection = scene.connect(0).await?;
    let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
    let wanted = ServerRequest { text: "late".into(), count: 2, interval_ms: 63_000, ending: Ending::Ok.into() };
    let mut answers = client.server(wanted).await?.into_inner();
    for _ in 0..2 {
        ensure!(answers.message().await?.context("ended early")?.text == "late");
    }
    ensure!(answers.message().await?.is_none());
    Ok(())
}

async fn edits(scene: Arc<Scene>) -> Result<()> {
    let before = changed(&scene)?;
    let mut dice = Dice(1_234_567);
    let mut clock = interval(PACE);
    for _ in 0..EDITS {
        clock.tick().await;
        scene.edit(&mut dice)?;
    }
    // What is in force in the end is what was written last.
    for index in 0..HOSTS {
        scene.stage.in_force(&format!("route-{index}")).await?;
    }
    let seen = changed(&scene)? - before;
    // Some edits change nothing, and quick ones are taken together.
    ensure!(seen >= u64::from(EDITS) / 2, "invalid run: the proxy was told of {seen} changes only");
    Ok(())
}

/// How many resources have changed so far.
fn changed(scene: &Scene) -> Result<u64> {
    let metrics = scene.stage.sluice.get("/metrics")?;
    let value = metrics.lines().find_map(|line| line.strip_prefix("sluice_resources_changed_total "));
    Ok(value.context("no such metric")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_and_no_stream_is_cut_across_500_edits() {
    let scene = Arc::new(Scene::set().await.unwrap());
    let (tally, begin) = (Arc::new(Tally::default()), Instant::now());
    let (in_time, streamed, waited, edited) = tokio::join!(
        tokio::spawn(calls(scene.clone(), tally.clone(), begin)),
        tokio::spawn(streams(scene.clone(), begin)),
        tokio::spawn(half_closed(scene.clone())),
        tokio::spawn(edits(scene.clone())),
    );
    let failed = tally.failed.lock().unwrap();
    assert!(
        failed.is_empty(),
        "{} calls failed, such as {:#?}",
        failed.len(),
        failed.iter().take(5).collect::<Vec<_>>()
    );
    streamed.unwrap().unwrap();
    waited.unwrap().unwrap();
    edited.unwrap().unwrap();
    let intended = SPAN.as_secs() * u64::from(CALLS_PER_SECOND);
    let in_time = in_time.unwrap().unwrap();
    assert!(in_time * 100 >= intended * 95, "invalid run: only {in_time} of {intended} calls were answered in time");
}
