//! n: bad routes of many kinds among good ones. When the culprit is named, who else is affected, and how it recovers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sluice_tests::bench::{
    figure::Figure,
    objects::{self, Rules},
    open_loop::{Request, open_loop},
    replay::Form,
    sample::Samples,
    subject::{PATIENCE, until},
    tap::Said,
};
use sluice_xds::ResourceType;

use crate::{propagation::count, stage::Stage};

/// Calls a second of a route that is none of the bad ones.
const CALLS: u32 = 100;

/// What is wrong, and how the first rule or the route says it.
type Kind = (&'static str, fn(&mut Value));

/// Expressions that are none, or not in RE2, or too large.
const EXPRESSIONS: [&str; 16] = [
    "(",
    ")",
    "[z-a]",
    "[",
    "a{1001}",
    "(a{1000}){1000}",
    "*",
    "a**",
    "(?=a)",
    "(?!a)",
    r"(a)\1",
    "(?>a)",
    "(?z)",
    "(?P<>a)",
    r"\8",
    "a{2,1}",
];

const KINDS: [Kind; 16] = [
    ("a backend that does not exist", |route| backend(route)["name"] = json!("absent")),
    ("a port that the Service does not have", |route| backend(route)["port"] = json!(1)),
    ("a backend of an unknown kind", |route| {
        backend(route)["kind"] = json!("Bucket");
        backend(route)["group"] = json!("example.com");
    }),
    ("a backend of another namespace without a grant", |route| backend(route)["namespace"] = json!("default")),
    ("a filter of an unknown kind", |route| {
        filter(
            route,
            &json!({"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Magic", "name": "x"}}),
        );
    }),
    ("a mirror to a Service that does not exist", |route| {
        filter(
            route,
            &json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "absent", "port": 9000}}}),
        );
    }),
    ("a header that no route may set", |route| set_header(route, "connection", "close")),
    ("the host as a header", |route| set_header(route, "host", "other.example.com")),
    ("a header value with a line break", |route| set_header(route, "x-a", "a\r\nb: c")),
    ("a section that does not exist", |route| parent(route)["sectionName"] = json!("absent")),
    ("a port that no listener has", |route| parent(route)["port"] = json!(1)),
    ("a hostname that no listener has", |route| route["spec"]["hostnames"] = json!(["bad.example.org"])),
    ("an expression for the service", |route| regular(route, "(", "A")),
    ("an expression for the method", |route| regular(route, "a", "[")),
    ("an expression that is too long", |route| expression(route, &"a".repeat(1_100))),
    ("nested repetitions", |route| expression(route, "((a{30}){30}){30}")),
];

fn rule(route: &mut Value) -> &mut Value {
    &mut route["spec"]["rules"][0]
}

fn backend(route: &mut Value) -> &mut Value {
    &mut rule(route)["backendRefs"][0]
}

fn parent(route: &mut Value) -> &mut Value {
    &mut route["spec"]["parentRefs"][0]
}

fn filter(route: &mut Value, filter: &Value) {
    rule(route)["filters"] = json!([filter]);
}

fn set_header(route: &mut Value, name: &str, value: &str) {
    let set = json!([{"name": name, "value": value}]);
    filter(route, &json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": set}}));
}

fn expression(route: &mut Value, expression: &str) {
    rule(route)["matches"][0]["headers"] = json!([{"type": "RegularExpression", "name": "x-a", "value": expression}]);
}

fn regular(route: &mut Value, service: &str, method: &str) {
    rule(route)["matches"][0]["method"] = json!({"type": "RegularExpression", "service": service, "method": method});
}

#[derive(Debug, Default)]
struct Found {
    named: Vec<Duration>,
    recovered: Vec<Duration>,
    /// Kinds that the API server's own schema refuses.
    at_the_door: Vec<String>,
    /// Kinds with which nothing is found wrong.
    silent: Vec<String>,
}

/// Measures at the routes that are there.
pub(crate) async fn measure(stage: &mut Stage) -> Result<()> {
    // The good route that is called: its edit leads to a real backend.
    let (_, marker) = stage.edit(0, "echo-a").await?;
    let bad = good(stage);
    stage.writer.create(&bad).await?;
    stage.settle().await?;
    let before = others(stage);
    let connection = stage.connect(&objects::host(0)).await?;
    let request = Request::unary("/echo.Echo/Echo", 1).with("x-edit", &marker)?;
    let (ended, end) = tokio::sync::oneshot::channel();
    let calls = tokio::spawn(async move { until_ended(connection, request, end).await });
    let mut found = Found::default();
    for (name, spoil) in KINDS {
        one(stage, name, spoil, &mut found).await.with_context(|| name)?;
    }
    for text in EXPRESSIONS {
        one(stage, text, |route| expression(route, text), &mut found).await.with_context(|| text)?;
    }
    let _waits = ended.send(());
    let failed = calls.await?;
    stage.settle().await?;
    let moved = others(stage).iter().filter(|form| !before.contains(form)).count();
    stage.writer.delete(&bad).await?;
    report(stage, found, failed.len(), moved);
    Ok(())
}

async fn until_ended(
    connection: sluice_tests::wire::Connection,
    request: Request,
    mut end: tokio::sync::oneshot::Receiver<()>,
) -> Vec<String> {
    let mut failed = Vec::new();
    while end.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
        failed
            .extend(open_loop(std::slice::from_ref(&connection), &request, CALLS, Duration::from_secs(1)).await.failed);
    }
    failed
}

/// The route that is spoiled and mended, as it is when it is good.
fn good(stage: &mut Stage) -> Value {
    let marker = stage.marker();
    let mut route = stage.route(Rules { index: 0, marker: &marker, target: "echo-a" });
    route["metadata"]["name"] = json!("bad");
    route["spec"]["hostnames"] = json!(["bad.example.com"]);
    route
}

/// What the proxy was sent of all other hosts.
fn others(stage: &Stage) -> Vec<Form> {
    let host = |(id, _, _): &Form| id.kind == ResourceType::VirtualHost && id.name.contains("/host-");
    stage.copy().into_iter().filter(host).collect()
}

async fn one(stage: &mut Stage, name: &str, spoil: impl Fn(&mut Value), found: &mut Found) -> Result<()> {
    let mut route = good(stage);
    spoil(&mut route);
    let written = match stage.writer.merge(&route).await {
        Ok(written) => written,
        Err(refused) => {
            found.at_the_door.push(format!("{name}: {refused:#}"));
            return Ok(());
        }
    };
    match said(stage, &route, &written.object, |status| status != "True").await {
        Ok(()) => found.named.push(written.at.elapsed()),
        Err(_) => found.silent.push(name.to_owned()),
    }
    let mut mended = good(stage);
    mended["spec"]["rules"][0]["filters"] = Value::Null;
    let marker =
        mended["spec"]["rules"][0]["matches"][0]["headers"][0]["value"].as_str().unwrap_or_default().to_owned();
    let mark = stage.edge.tap.mark();
    let written = stage.writer.merge(&mended).await?;
    let mentions = |said: &Said| said.mentions(marker.as_bytes());
    let (_, answer) = stage.edge.tap.acknowledged(mark, PATIENCE, mentions).await?;
    found.recovered.push(answer.at.saturating_duration_since(written.at));
    said(stage, &mended, &written.object, |status| status == "True").await
}

/// Waits until a condition of the route, of this generation, says so: one of them if it is to be bad, all if it is to be good.
async fn said(stage: &Stage, route: &Value, written: &Value, wanted: fn(&str) -> bool) -> Result<()> {
    let good = wanted("True");
    let generation = &written["metadata"]["generation"];
    let deadline = Instant::now() + if good { PATIENCE } else { Duration::from_secs(10) };
    let ask = async || {
        if Instant::now() > deadline {
            return Some(false);
        }
        let found = stage.writer.get(route).await.ok().flatten()?;
        let parents = found["status"]["parents"].as_array()?;
        let conditions: Vec<&Value> =
            parents.iter().filter_map(|parent| parent["conditions"].as_array()).flatten().collect();
        let fresh = conditions.iter().filter(|condition| condition["observedGeneration"] == *generation);
        let judged = |condition: &&&Value| {
            let status = condition["status"].as_str().unwrap_or_default();
            // The one condition that is good when it is false.
            let status = match (condition["type"].as_str(), status) {
                (Some("PartiallyInvalid"), "True") => "False",
                (Some("PartiallyInvalid"), _) => "True",
                _ => status,
            };
            wanted(status)
        };
        let fresh: Vec<_> = fresh.collect();
        let holds = if good { fresh.iter().all(&judged) } else { fresh.iter().any(judged) };
        (!fresh.is_empty() && holds).then_some(true)
    };
    let answered = until("a condition", ask).await?;
    answered.then_some(()).context("nothing was found wrong")
}

fn report(stage: &mut Stage, found: Found, failed: usize, moved: usize) {
    let kinds = found.named.len() + found.silent.len();
    let name = |words: &str| format!("N={}, {kinds} kinds: {words}", stage.routes);
    let named = Figure::new("n", name("until a condition names the culprit"), "ms", Samples::milliseconds(found.named));
    let recovered = Figure::new("n", name("mended until Envoy's ACK"), "ms", Samples::milliseconds(found.recovered));
    let figures = [
        named.at(100).at_most(1_000.0),
        recovered.at(100).at_most(1_000.0),
        Figure::new(
            "n",
            name(&format!("with which nothing was found wrong {:?}", found.silent)),
            "kinds",
            count(found.silent.len()),
        )
        .at_most(0.0),
        Figure::new("n", name("failed calls of another route"), "calls", count(failed)).at_most(0.0),
        Figure::new("n", name("other hosts that were sent anew"), "hosts", count(moved)).at_most(0.0),
        Figure::new(
            "n",
            format!("refused by the schema: {:?}", found.at_the_door),
            "kinds",
            count(found.at_the_door.len()),
        ),
    ];
    for figure in figures {
        stage.report.add(figure);
    }
}
