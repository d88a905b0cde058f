//! i: what a call costs Envoy with the controller's configuration, beside the least that Envoy can be told to do the same.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sluice_tests::{
    bench::{
        figure::Figure,
        meter::Meter,
        minimal, objects,
        open_loop::{Request, open_loop},
        sample::Samples,
        subject::until,
    },
    calls::{Outcome, Speech, call},
    envoy::Proxy,
    manifests::Certificate,
    wire::Connection,
};
use sluice_xds::ResourceType;

use crate::{propagation::count, stage::Stage};

/// Calls a second: less than half of what one worker can do, so that queues stay short.
const RATE: u32 = 2_000;
/// Routes of the large hosts.
const MANY: usize = 1_000;
/// Rules of one GRPCRoute; the one that is called stands in a route of its own.
const RULES: usize = 15;

/// A configuration that is called.
struct Case {
    name: &'static str,
    connections: Vec<Connection>,
    envoy: Meter,
    costs: Vec<f64>,
    latencies: Vec<f64>,
    failed: usize,
}

/// Measures on a stage of its own.
pub(crate) async fn measure(stage: &mut Stage) -> Result<()> {
    routes(stage).await?;
    let backend = stage.echoes().first().context("no backend")?.address();
    let certificate = Certificate::new(&["*.example.com"])?;
    let minimal =
        Proxy::start_as(([127, 0, 0, 1], 1).into(), |bootstrap| minimal::edit(bootstrap, &certificate, backend))?;
    let at = minimal.listener(minimal::LISTENER).await?;
    for text in [1, 1_024, 65_536] {
        let mut cases = cases(stage, &minimal, at, &certificate).await?;
        let (rate, rounds) = if text > 10_000 { (RATE / 10, stage.size.rounds) } else { (RATE, 2 * stage.size.rounds) };
        let request = Request::unary("/echo.Echo/Echo", text);
        let span = Duration::from_secs(stage.size.seconds.div_ceil(4));
        for round in 0..rounds {
            let places = cases.len();
            for place in 0..places {
                let case = cases.get_mut((round + place) % places).context("no such case")?;
                case.run(&request, rate, span).await?;
            }
        }
        report(stage, text, &cases);
    }
    Ok(())
}

impl Case {
    async fn run(&mut self, request: &Request, rate: u32, span: Duration) -> Result<()> {
        let before = self.envoy.running()?;
        let outcome = open_loop(&self.connections, request, rate, span).await;
        let spent = self.envoy.running()?.saturating_sub(before);
        self.failed += outcome.failed.len();
        self.costs.push(spent.as_secs_f64() * 1e3 / count(outcome.latencies.len().max(1)) * 1e3);
        self.latencies.push(outcome.latencies.quantile(99));
        Ok(())
    }
}

async fn cases(stage: &Stage, minimal: &Proxy, at: SocketAddr, certificate: &Certificate) -> Result<Vec<Case>> {
    const CONNECTIONS: usize = 16;
    let mut cases = Vec::new();
    for name in ["one", "first", "last"] {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(stage.connect(&format!("{name}.example.com")).await?);
        }
        cases.push((name, connections, stage.envoy()));
    }
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(at, "one.example.com", &certificate.pem).await?);
    }
    cases.push(("minimal", connections, Meter::new([minimal.pid()])));
    let case = |(name, connections, envoy)| Case {
        name,
        connections,
        envoy,
        costs: Vec::new(),
        latencies: Vec::new(),
        failed: 0,
    };
    Ok(cases.into_iter().map(case).collect())
}

/// One host with one route, and two with a thousand, in which the one that is called is tried first or last.
async fn routes(stage: &mut Stage) -> Result<()> {
    let called = [("one", "echo.Echo"), ("first", "echo.Echo"), ("last", "echo.Echo")];
    for (host, service) in called {
        stage.writer.create(&route(stage, host, host, vec![(service.to_owned(), "Echo".to_owned())])).await?;
    }
    // The longer name of a service is tried first.
    for (host, prefix) in [("first", "s"), ("last", "another.Service")] {
        for part in 0..MANY.div_ceil(RULES) {
            let methods = (0..RULES).map(|number| (format!("{prefix}{part}"), format!("M{number}"))).collect();
            stage.writer.create(&route(stage, &format!("{host}-{part}"), host, methods)).await?;
        }
    }
    let last = format!("another.Service{}/M{}", MANY.div_ceil(RULES) - 1, RULES - 1);
    let sent = async || {
        let hosts = stage.edge.tap.state();
        let mut hosts = hosts.iter().filter(|(id, _, _)| id.kind == ResourceType::VirtualHost);
        let whole = hosts.any(|(_, _, bytes)| bytes.windows(last.len()).any(|window| window == last.as_bytes()));
        (whole && stage.edge.tap.is_answered()).then_some(())
    };
    until("the routes", sent).await.with_context(|| stage.subject.said())?;
    for host in ["one", "first", "last"] {
        let connection = stage.connect(&format!("{host}.example.com")).await?;
        let answers = async || {
            let outcome = call(&connection, Speech::Grpc, "/echo.Echo/Echo", &[]).await.ok()?;
            matches!(outcome, Outcome::Answered(_)).then_some(())
        };
        until(&format!("an answer of {host}"), answers).await?;
    }
    stage.settle().await
}

fn route(stage: &Stage, name: &str, host: &str, methods: Vec<(String, String)>) -> Value {
    let rule = |(service, method): (String, String)| {
        json!({
            "matches": [{"method": {"service": service, "method": method}}],
            "backendRefs": [{"name": "echo-a", "port": 9000}],
        })
    };
    let parent = &stage.gateway["metadata"];
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"namespace": objects::APPS, "name": name},
        "spec": {
            "parentRefs": [{"namespace": parent["namespace"], "name": parent["name"]}],
            "hostnames": [format!("{host}.example.com")],
            "rules": methods.into_iter().map(rule).collect::<Vec<_>>(),
        },
    })
}

fn report(stage: &mut Stage, text: usize, cases: &[Case]) {
    let name = |case: &Case, words: &str| {
        let case = match case.name {
            "one" => "1 route",
            "first" => "1,000 routes, the first",
            "last" => "1,000 routes, the last",
            _ => "floor: minimal configuration",
        };
        format!("{text} B, {case}: {words}")
    };
    let samples = |values: &[f64]| values.iter().copied().collect::<Samples>();
    let floor = cases.last().map(|case| samples(&case.costs).median()).unwrap_or_default();
    for case in cases {
        let cost = samples(&case.costs);
        let ratio = floor / cost.median() * 100.0;
        stage.report.add(Figure::new("i", name(case, "Envoy per 1,000 calls"), "CPU-ms", cost));
        stage.report.add(Figure::new("i", name(case, "p99 of a call"), "ms", samples(&case.latencies)));
        if case.name != "minimal" {
            let wanted = if case.name == "one" { 98.0 } else { 95.0 };
            let lost = Figure::new("i", name(case, "calls per CPU-second lost to the minimal one"), "%", 100.0 - ratio);
            stage.report.add(lost.at_most(100.0 - wanted));
        }
        stage.report.add(Figure::new("i", name(case, "failed"), "calls", count(case.failed)).at_most(0.0));
    }
}
