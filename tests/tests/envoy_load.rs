//! Calls and streams while everything that may be edited is edited: none of them fails, and none is reset.
//!
//! No proxy goes away, so that no connection may be closed either.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_echo::proto::{Ending, ServerRequest, stream_client::StreamClient};
use sluice_tests::{
    echoes::Echo,
    load::{Load, Plan, Target},
    manifests::{Certificate, backend, endpoints, file, gateway, route, service},
    stage::Stage,
    wire::Connection,
};
use tokio::time::interval;

/// Every so manieth call uses certificates that may have been rotated.
const LOAD: Plan = Plan { per_second: 200, connections: 5, fresh: 100, streams: 100 };
const EDITS: u32 = 500;
/// 500 edits last as long as the half-closed stream is silent.
const PACE: Duration = Duration::from_millis(124);
const HOSTS: u64 = 8;

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

impl Target for Scene {
    async fn connect(&self, number: u64) -> Result<Connection> {
        let authority = format!("{}{}", self.stage.certificate.pem, self.renewed.pem);
        Connection::open(self.stage.sluice.https(), &host(number), &authority).await
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
    let load = Load::start(scene.clone(), LOAD).await.unwrap();
    let (waited, edited) = tokio::join!(tokio::spawn(half_closed(scene.clone())), tokio::spawn(edits(scene.clone())));
    let report = load.stop().await.unwrap();
    report.flawless().unwrap();
    assert_eq!(report.closed, 0, "the gateway closed a connection");
    waited.unwrap().unwrap();
    edited.unwrap().unwrap();
}
