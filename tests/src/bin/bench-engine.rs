//! `hack/bench engine`: what a cold start, an edit, an endpoint change and nothing at all cost, and how much memory is held.
//!
//! generated objects → a table on stdout, JSON lines into `$SLUICE_BENCH_JSON`; exit code 1 if a figure misses its floor
//!
//! The cold start is CPU time of this thread where the kernel tells it, so that a busy machine does not decide; the kernel counts in
//! ticks, so that an edit, which is far below one, is the median of wall times.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sluice_core::{
    key::{Kind, NsName},
    world::{Change, Object},
};
use sluice_engine::{Effects, Engine, Input, ProxyEvent, Settings};
use std::{
    fs,
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Routes of the large world, each on a host of its own.
const MANY: usize = 10_000;
/// Routes of the small world: an edit must cost the same in both.
const FEW: usize = 100;
/// One Service for this many routes.
const ROUTES_PER_SERVICE: usize = 10;
/// 1,000 Services with 100 each are 100,000 endpoints.
const ENDPOINTS_PER_SERVICE: usize = 100;
/// Samples of each kind of edit; the median counts.
const SAMPLES: usize = 301;

const KIB: f64 = 1024.0;

/// One figure and its floor.
struct Figure {
    name: &'static str,
    value: f64,
    limit: f64,
    unit: &'static str,
}

impl Figure {
    fn holds(&self) -> bool {
        self.value <= self.limit
    }

    fn row(&self) -> String {
        let verdict = if self.holds() { "ok" } else { "MISSED" };
        format!("{:<58} {:>10.3} {:<9} <= {:>8.3}  {verdict}", self.name, self.value, self.unit, self.limit)
    }

    fn line(&self) -> Value {
        let Self { name, value, limit, unit } = self;
        json!({"bench": "engine", "figure": name, "value": value, "limit": limit, "unit": unit, "holds": self.holds()})
    }
}

/// CPU time of this thread: `/proc/thread-self/schedstat` counts nanoseconds. Wall time where there is none.
fn cpu(start: Instant) -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn resident_mib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS in /proc/self/status")?;
    let kib: f64 = line.split_whitespace().nth(1).context("VmRSS without a value")?.parse()?;
    Ok(kib / KIB)
}

fn decode(kind: Kind, value: Value) -> Result<Input> {
    Ok(Input::Change(Object::decode(kind, value)?.into()))
}

fn gateway_key() -> NsName {
    NsName::new("infra", "edge")
}

fn platform() -> Result<Vec<Input>> {
    let class = json!({
        "metadata": {"name": "sluice", "generation": 1},
        "spec": {
            "controllerName": "sluice.dev/gateway-controller",
            "parametersRef": {"group": "sluice.dev", "kind": "GatewayProfile", "name": "open"},
        },
    });
    let listener =
        json!({"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}});
    let gateway = json!({
        "metadata": {"namespace": "infra", "name": "edge", "generation": 1},
        "spec": {"gatewayClassName": "sluice", "listeners": [listener]},
    });
    let profile = json!({"metadata": {"name": "open"}, "spec": {"cleartext": "Allow"}});
    Ok(vec![
        Input::Leader(true),
        decode(Kind::GatewayProfile, profile)?,
        decode(Kind::GatewayClass, class)?,
        decode(Kind::Gateway, gateway)?,
        Input::Change(Change::Addresses(gateway_key(), vec!["127.0.0.1".into()])),
    ])
}

fn service(index: usize) -> Value {
    let metadata = json!({"namespace": "apps", "name": format!("echo-{index}")});
    json!({"metadata": metadata, "spec": {"ports": [{"name": "grpc", "port": 9000}]}})
}

fn slice(index: usize, endpoints: usize) -> Value {
    let address = |last: usize| json!({"addresses": [format!("10.{}.{}.{last}", index / 250, index % 250)]});
    let labels = json!({"kubernetes.io/service-name": format!("echo-{index}")});
    json!({
        "metadata": {"namespace": "apps", "name": format!("echo-{index}-0"), "labels": labels},
        "ports": [{"name": "grpc", "port": 9000}],
        "endpoints": (0..endpoints).map(address).collect::<Vec<_>>(),
    })
}

/// Three rules, as a typical route has: a header, a method, the rest.
fn route(index: usize, generation: usize, color: &str) -> Value {
    let backend = json!([{"name": format!("echo-{}", index / ROUTES_PER_SERVICE), "port": 9000}]);
    let method = json!({"service": "echo.Echo", "method": "Echo"});
    let header = json!([{"name": "env", "value": color}]);
    json!({
        "metadata": {
            "namespace": "apps", "name": format!("route-{index}"), "generation": generation,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "parentRefs": [{"namespace": "infra", "name": "edge"}],
            "hostnames": [format!("host-{index}.example.com")],
            "rules": [
                {"matches": [{"method": method, "headers": header}], "backendRefs": backend},
                {"matches": [{"method": method}], "backendRefs": backend},
                {"backendRefs": backend},
            ],
        },
    })
}

fn world(routes: usize) -> Result<Vec<Input>> {
    let mut inputs = platform()?;
    for index in 0..routes / ROUTES_PER_SERVICE {
        inputs.push(decode(Kind::Service, service(index))?);
        inputs.push(decode(Kind::EndpointSlice, slice(index, ENDPOINTS_PER_SERVICE))?);
    }
    for index in 0..routes {
        inputs.push(decode(Kind::GrpcRoute, route(index, 1, "blue"))?);
    }
    Ok(inputs)
}

/// What the first step of a start costs, all objects at once.
fn cold(routes: usize) -> Result<Duration> {
    let mut engine = Engine::new(Settings::default());
    let inputs = world(routes)?;
    let begun = Instant::now();
    let before = cpu(begun);
    drop(engine.step(inputs));
    Ok(cpu(begun).saturating_sub(before))
}

/// An engine with `routes` routes that grew object by object.
fn grown(routes: usize) -> Result<Engine> {
    let mut engine = Engine::new(Settings::default());
    engine.step(platform()?);
    for index in 0..routes / ROUTES_PER_SERVICE {
        engine.step([decode(Kind::Service, service(index))?]);
        engine.step([decode(Kind::EndpointSlice, slice(index, ENDPOINTS_PER_SERVICE))?]);
    }
    for index in 0..routes {
        engine.step([decode(Kind::GrpcRoute, route(index, 1, "blue"))?]);
    }
    acknowledge(&mut engine)?;
    Ok(engine)
}

fn acknowledge(engine: &mut Engine) -> Result<Effects> {
    let gateway = gateway_key();
    let revision = engine.snapshots().get(&gateway).context("the Gateway has no snapshot")?.revision();
    Ok(engine.step([ProxyEvent::Synced { gateway, proxy: "proxy".into(), stream: 1, revision }.into()]))
}

/// The median cost of a step, and the most resources that one moved.
struct Cost {
    median: Duration,
    resources: usize,
}

fn sample(engine: &mut Engine, input: impl Fn(usize) -> Result<Input>) -> Result<Cost> {
    let mut times = Vec::with_capacity(SAMPLES);
    let mut resources = 0;
    for number in 0..SAMPLES {
        let input = input(number)?;
        let begun = Instant::now();
        let effects = engine.step([input]);
        times.push(begun.elapsed());
        let moved: usize = effects.snapshots.iter().map(|(_, snapshot)| snapshot.changed().len()).sum();
        resources = resources.max(moved);
        acknowledge(engine)?;
    }
    times.sort_unstable();
    Ok(Cost { median: times.get(SAMPLES / 2).copied().unwrap_or_default(), resources })
}

fn edit_routes(engine: &mut Engine, routes: usize) -> Result<Cost> {
    let spread = |number: usize| number * 31 % routes;
    sample(engine, |number| decode(Kind::GrpcRoute, route(spread(number), number + 2, &format!("color-{number}"))))
}

fn change_endpoints(engine: &mut Engine, routes: usize) -> Result<Cost> {
    let services = routes / ROUTES_PER_SERVICE;
    sample(engine, |number| {
        decode(Kind::EndpointSlice, slice(number * 7 % services, 1 + number % (ENDPOINTS_PER_SERVICE - 1)))
    })
}

/// A label that nobody reads, on a route that did not change otherwise.
fn label_routes(engine: &mut Engine, routes: usize) -> Result<Cost> {
    sample(engine, |number| {
        let mut labelled = route(routes - 1, 1, "blue");
        if let Some(metadata) = labelled.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("labels".to_owned(), json!({"number": number.to_string()}));
        }
        decode(Kind::GrpcRoute, labelled)
    })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[allow(clippy::cast_precision_loss, reason = "counts of resources are small")]
fn count(number: usize) -> f64 {
    number as f64
}

fn measure() -> Result<Vec<Figure>> {
    let mut large = grown(MANY)?;
    let resident = resident_mib()?;
    let mut small = grown(FEW)?;
    let label = label_routes(&mut large, MANY)?;
    let few = edit_routes(&mut small, FEW)?;
    let many = edit_routes(&mut large, MANY)?;
    let endpoints = change_endpoints(&mut large, MANY)?;
    let [few_ms, many_ms] = [few.median, many.median].map(milliseconds);
    let figure = |name, value, limit, unit| Figure { name, value, limit, unit };
    Ok(vec![
        figure("cold start, 10,000 routes on 10,000 hosts", cold(MANY)?.as_secs_f64(), 1.0, "CPU-s"),
        figure("resident, 10,000 routes, 100,000 endpoints", resident, 150.0, "MiB"),
        figure("one route edit among 100", few_ms, 1.0, "ms"),
        figure("one route edit among 10,000", many_ms, 1.0_f64.min((few_ms * 1.2).max(few_ms + 0.05)), "ms"),
        figure("resources that a route edit moves", count(many.resources), 2.0, "resources"),
        figure("one EndpointSlice change", milliseconds(endpoints.median), 0.5, "ms"),
        figure("resources that an EndpointSlice change moves", count(endpoints.resources), 1.0, "resources"),
        figure("resources that a label moves", count(label.resources), 0.0, "resources"),
    ])
}

fn record(figures: &[Figure]) -> Result<()> {
    let Ok(path) = std::env::var("SLUICE_BENCH_JSON") else { return Ok(()) };
    let mut file = fs::File::options().create(true).append(true).open(&path).with_context(|| path.clone())?;
    for figure in figures {
        writeln!(file, "{}", figure.line())?;
    }
    Ok(())
}

fn main() -> Result<ExitCode> {
    let figures = measure()?;
    for figure in &figures {
        println!("{}", figure.row());
    }
    record(&figures)?;
    Ok(if figures.iter().all(Figure::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
