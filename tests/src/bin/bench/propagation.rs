//! a, d, e: one change of a route among N, from the API server's answer to Envoy's; its bytes; its writes.
//!
//! The floors are measured in turn with it: a null watcher, and an Envoy of the same configuration that is sent prepared deltas. Both
//! Envoys are fresh, so that they differ in nothing but who tells them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::stage::{Change, Stage, USER};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_tests::{
    bench::{
        audit::Writes,
        figure::Figure,
        meter::Meter,
        objects::{self, Rules},
        replay::{Replay, edited},
        sample::Samples,
        subject::PATIENCE,
        tap::{Said, Side},
    },
    calls::Outcome,
};

/// Between samples, so that each finds controller and proxy at rest.
const PAUSE: Duration = Duration::from_millis(60);
/// How long nothing must be said after an edit that changes nothing.
const SILENCE: Duration = Duration::from_millis(150);
/// Every so manieth change is also called through the proxy.
const CALLED: usize = 5;

/// What is done to a route.
const KINDS: [&str; 4] = ["edit a match", "change the backend", "add", "delete"];

/// All samples at one N.
#[derive(Debug, Default)]
struct Found {
    /// From the API server's answer to the null watcher's event.
    watched: Vec<Duration>,
    /// By kind: what the controller took, beyond the null watcher.
    added: BTreeMap<&'static str, Vec<Duration>>,
    total: BTreeMap<&'static str, Vec<Duration>>,
    /// From Envoy's answer to the first good call.
    called: Vec<Duration>,
    wrong: usize,
    bytes: BTreeMap<&'static str, Vec<f64>>,
    resources: BTreeMap<&'static str, Vec<f64>>,
    replayed: Vec<Duration>,
    /// Envoy's CPU for each change, and that of the copy.
    spent: [Vec<Duration>; 2],
    writes: Writes,
    /// Over which these were made.
    span: Duration,
    changes: usize,
}

/// Measures at the routes that are there.
pub(crate) async fn measure(stage: &mut Stage) -> Result<()> {
    let (n, samples) = (stage.routes, stage.size.samples_at(stage.routes));
    let mut found = Found::default();
    stage.renew_edge().await?;
    stage.complete().await?;
    let (mut replay, _) = Replay::start(&stage.copy()).await?;
    stage.audit.writes(USER)?;
    for round in 0..stage.size.rounds {
        stage.settle().await?;
        let begun = Instant::now();
        for kind in KINDS {
            for number in 0..samples {
                let index = (round * samples + number) * 7919 % n;
                let (envoy, before) = (stage.envoy(), stage.envoy().running()?);
                let change = one(stage, kind, index, &mut found).await.with_context(|| format!("{kind} {index}"))?;
                // house(sleep): see PAUSE.
                tokio::time::sleep(PAUSE).await;
                // The floor has edits alone.
                if kind == KINDS[0] {
                    found.spent[0].push(envoy.running()?.saturating_sub(before));
                }
                note(stage, kind, &change, &mut found).await?;
            }
        }
        stage.settle().await?;
        found.span += begun.elapsed();
        for (word, count) in stage.audit.writes(USER)? {
            *found.writes.entry(word).or_default() += count;
        }
        floor(stage, &mut replay, samples, &mut found).await?;
    }
    report(stage, &found);
    no_ops(stage).await
}

async fn one(stage: &mut Stage, kind: &'static str, index: usize, found: &mut Found) -> Result<Change> {
    let target = if kind == "change the backend" { "echo-b" } else { "echo-a" };
    match kind {
        "add" => add(stage).await,
        "delete" => delete(stage).await,
        _ => {
            let (change, marker) = stage.edit(index, target).await?;
            found.changes += 1;
            if found.changes.is_multiple_of(CALLED) {
                called(stage, index, &marker, target, found).await?;
            }
            Ok(change)
        }
    }
}

/// One route more; its backend and the endpoints of that are there already.
async fn add(stage: &mut Stage) -> Result<Change> {
    let index = stage.routes;
    let [service, slice, _] = objects::application(&stage.gateway, index);
    stage.writer.create(&service).await?;
    stage.writer.create(&slice).await?;
    stage.routes += 1;
    let marker = stage.marker();
    let route = stage.route(Rules { index, marker: &marker, target: "echo-a" });
    let mark = stage.edge.tap.mark();
    let written = stage.writer.create(&route).await?;
    stage.follow(written, mark, &marker).await
}

/// The route that was added last.
async fn delete(stage: &mut Stage) -> Result<Change> {
    stage.routes -= 1;
    let index = stage.routes;
    let [service, slice, route] = objects::application(&stage.gateway, index);
    let (mark, host) = (stage.edge.tap.mark(), objects::host(index));
    let written = stage.writer.delete(&route).await?;
    let gone = |said: &Said| said.removed.iter().any(|name| name.ends_with(&host));
    let (response, answer) = stage.edge.tap.acknowledged(mark, PATIENCE, gone).await?;
    stage.writer.delete(&service).await?;
    stage.writer.delete(&slice).await?;
    Ok(Change { mark, written, response, answer })
}

async fn called(stage: &Stage, index: usize, marker: &str, target: &str, found: &mut Found) -> Result<()> {
    let connection = stage.connect(&objects::host(index)).await?;
    let begun = Instant::now();
    loop {
        match stage.call(&connection, marker).await? {
            Outcome::Answered(source) if source == target => break,
            // The answer before the edit reached the worker: no other rule matches.
            Outcome::Answered(source) if source == objects::REST => {
                ensure!(begun.elapsed() < PATIENCE, "the edit never reached the worker");
            }
            _ => found.wrong += 1,
        }
    }
    found.called.push(begun.elapsed());
    Ok(())
}

async fn note(stage: &mut Stage, kind: &'static str, change: &Change, found: &mut Found) -> Result<()> {
    let seen = stage.watcher.saw(&change.written.object).await;
    // The answer to a deletion may be a mere status, without the version that watchers see.
    let seen = seen.unwrap_or(change.written.at);
    found.watched.push(seen.saturating_duration_since(change.written.at));
    found.total.entry(kind).or_default().push(change.total());
    let said = stage.edge.tap.since(change.mark);
    let said = || said.iter().filter(|said| said.by == Side::Plane);
    // A new cluster comes first, and its host once Envoy has warmed it: that time is Envoy's.
    let first = said().map(|said| said.at).next().unwrap_or(change.response.at);
    let added = first.saturating_duration_since(seen.max(change.written.at));
    found.added.entry(kind).or_default().push(added);
    found.bytes.entry(kind).or_default().push(count(said().map(|said| said.bytes).sum()));
    let moved = said().map(|said| said.resources.len() + said.removed.len()).sum();
    found.resources.entry(kind).or_default().push(count(moved));
    Ok(())
}

/// Prepared deltas of the same size to another Envoy with the same configuration.
async fn floor(stage: &mut Stage, replay: &mut Replay, samples: usize, found: &mut Found) -> Result<()> {
    let envoy = Meter::new([replay.proxy.pid()]);
    for number in 0..samples {
        let (id, _, bytes) = stage.host(number * 7919 % stage.routes)?;
        let old = marker_in(&bytes)?;
        let before = envoy.running()?;
        let (response, answer) = replay.push(&id, &edited(&bytes, &old, &stage.marker())?).await?;
        found.replayed.push(answer.at - response.at);
        // house(sleep): see PAUSE.
        tokio::time::sleep(PAUSE).await;
        found.spent[1].push(envoy.running()?.saturating_sub(before));
    }
    Ok(())
}

fn marker_in(bytes: &[u8]) -> Result<String> {
    let start = bytes.windows(5).position(|window| window == b"edit-").context("no marker")?;
    let marker = bytes.get(start..start + objects::marker(0).len()).context("a marker that is cut")?;
    Ok(String::from_utf8(marker.to_vec())?)
}

fn report(stage: &mut Stage, found: &Found) {
    let n = stage.routes;
    let title = |words: &str| format!("N={n}: {words}");
    let samples = |durations: &[Duration]| Samples::milliseconds(durations.iter().copied());
    let all = |by: &BTreeMap<&str, Vec<Duration>>| Samples::milliseconds(by.values().flatten().copied());
    let watched = Figure::new("a", title("floor: the API, to a null watcher"), "ms", samples(&found.watched));
    let replayed = Figure::new("a", title("floor: Envoy, prepared deltas"), "ms", samples(&found.replayed));
    let floor = Figure::new("a", title("floor: both"), "ms", watched.value() + replayed.value());
    let limit = if n > 1_000 { 1.2 * floor.value() } else { 20.0 };
    let added = Figure::new("a", title("controller, all changes"), "ms", all(&found.added));
    let total = Figure::new("a", title("all changes, until Envoy's ACK"), "ms", all(&found.total));
    let wrong = Figure::new("a", title("calls answered by neither old nor new"), "calls", count(found.wrong));
    stage.report.add(added.clone());
    stage.report.add(added.at(99).at_most(3.0));
    for (kind, durations) in &found.total {
        let name = title(&format!("{kind}, until Envoy's ACK"));
        stage.report.add(Figure::new("a", name, "ms", samples(durations)));
    }
    stage.report.add(total.at_most(limit).above(&floor));
    stage.report.add(Figure::new("a", title("from the ACK to the first good call"), "ms", samples(&found.called)));
    stage.report.add(wrong.at_most(0.0));
    let [ours, theirs] = &found.spent;
    let ours = Figure::new("a", title("edit a match, CPU of Envoy"), "ms", samples(ours));
    let theirs = Figure::new("a", title("floor: prepared deltas, CPU of Envoy"), "ms", samples(theirs));
    for figure in [watched, replayed, floor, ours, theirs] {
        stage.report.add(figure);
    }
    report_bytes(stage, found);
    report_writes(stage, found);
}

fn report_bytes(stage: &mut Stage, found: &Found) {
    let n = stage.routes;
    for (kind, bytes) in &found.bytes {
        let bytes: Samples = bytes.iter().copied().collect();
        stage.report.add(Figure::new("d", format!("N={n}: {kind}"), "bytes", bytes).at(100).at_most(2_048.0));
    }
    let edits = found.resources.get(KINDS[0]).cloned().unwrap_or_default();
    let figure = Figure::new("d", format!("N={n}: {}", KINDS[0]), "resources", edits.into_iter().collect::<Samples>());
    stage.report.add(figure.at(100).at_most(1.0));
}

fn report_writes(stage: &mut Stage, found: &Found) {
    let (n, changes) = (stage.routes, count(changes(found)));
    let of = |word: &str| count(found.writes.get(word).copied().unwrap_or_default());
    let name = format!("N={n}: status writes of a route, per change that leaves one");
    stage.report.add(Figure::new("e", name, "writes", of("grpcroutes/status") / changes).at_most(1.0));
    let name = format!("N={n}: status writes of the Gateway, per second of changes");
    stage.report.add(Figure::new("e", name, "writes", of("gateways/status") / found.span.as_secs_f64()).at_most(1.0));
    let others =
        found.writes.iter().filter(|(word, _)| !["grpcroutes/status", "gateways/status"].contains(&word.as_str()));
    let others: Vec<_> = others.collect();
    let words: Vec<_> = others.iter().map(|(word, _)| word).collect();
    let name = format!("N={n}: all other writes: {words:?}");
    let total = others.iter().map(|(_, number)| **number).sum();
    stage.report.add(Figure::new("e", name, "writes", count(total)).at_most(0.0));
}

/// Deletions leave nothing to write to.
fn changes(found: &Found) -> usize {
    found.total.iter().filter(|(kind, _)| **kind != "delete").map(|(_, samples)| samples.len()).sum()
}

#[allow(clippy::cast_precision_loss, reason = "counts are small")]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

/// Edits that change nothing of what a proxy does: nothing may be said.
async fn no_ops(stage: &mut Stage) -> Result<()> {
    stage.settle().await?;
    let mut bytes = Vec::new();
    for number in 0..stage.size.samples {
        let mut route = stage.route(Rules { index: number % stage.routes, marker: "", target: "" });
        let conditions = json!([{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": number.to_string(),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]);
        let foreign = json!([{
            "parentRef": {"name": "another"}, "controllerName": "example.com/another", "conditions": conditions,
        }]);
        route.as_object_mut().context("not an object")?.remove("spec");
        let mark = stage.edge.tap.mark();
        if number % 2 == 0 {
            route["metadata"]["labels"] = json!({"number": number.to_string()});
            stage.writer.merge(&route).await?;
        } else {
            let kept = stage.writer.get(&route).await?.unwrap_or_default()["status"]["parents"].clone();
            let mut parents: Vec<Value> = serde_json::from_value(kept).unwrap_or_default();
            parents.retain(|parent| parent["controllerName"] != "example.com/another");
            parents.extend(foreign.as_array().cloned().unwrap_or_default());
            route["status"] = json!({"parents": parents});
            stage.writer.merge_status(&route).await?;
        }
        // house(sleep): nothing tells that nothing happens.
        tokio::time::sleep(SILENCE).await;
        let said = stage.edge.tap.since(mark);
        bytes.push(count(said.iter().filter(|said| said.by == Side::Plane).map(|said| said.bytes).sum()));
    }
    let name = format!("N={}: labels and statuses of others", stage.routes);
    stage.report.add(Figure::new("d", name, "bytes", bytes.into_iter().collect::<Samples>()).at(100).at_most(0.0));
    Ok(())
}
