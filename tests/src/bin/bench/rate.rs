//! b, c: what edits at a steady rate cost, and what memory is held before and after.
//!
//! The floor is a null watcher in a process of its own, under the same edits at the same time; limits are for what is above it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sluice_tests::bench::{
    child::Child,
    figure::Figure,
    meter::Meter,
    objects::{self, Rules},
    sample::Samples,
    subject::{program, until},
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    propagation::count,
    stage::{DRIVER, Stage},
};

/// Edits a second.
const RATE: u32 = 20;
/// Of the edits that only have to leave no trace.
const FAST: u32 = 150;

/// b at the routes that are there. The CPU seconds per thousand edits.
pub(crate) async fn edits(stage: &mut Stage) -> Result<f64> {
    let n = stage.routes;
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    let floor = null_watcher(stage)?;
    until("lists of the null watcher", async || floor.said().contains("listed").then_some(())).await?;
    for _ in 0..stage.size.rounds {
        stage.settle().await?;
        let meters = [stage.subject.meter(), stage.envoy(), Meter::new([floor.pid()])];
        let span = Duration::from_secs_f64(count(stage.size.edits / stage.size.rounds) / f64::from(RATE));
        let idle = spent(&meters, span / 4).await?;
        let before = cpu(&meters)?;
        let begun = Instant::now();
        let edits = stage.size.edits / stage.size.rounds;
        let last = edit_at(stage, RATE, edits).await?;
        let windows = begun.elapsed().as_secs_f64() / (span / 4).as_secs_f64();
        applied(stage, &last).await?;
        for (cost, ((after, before), idle)) in costs.iter_mut().zip(cpu(&meters)?.into_iter().zip(before).zip(idle)) {
            cost.push((after - before - idle * windows).max(0.0) * 1_000.0 / count(edits));
        }
    }
    let names = ["controller", "Envoy", "floor: null watcher"];
    let figures = names.into_iter().zip(costs).map(|(name, costs)| {
        let samples: Samples = costs.into_iter().collect();
        Figure::new("b", format!("N={n}: {name}, per 1,000 edits at {RATE}/s"), "CPU-s", samples)
    });
    let [ours, envoy, floor]: [Figure; 3] = figures.collect::<Vec<_>>().try_into().ok().context("three figures")?;
    let cost = ours.value();
    stage.report.add(ours.at_most(1.0 + floor.value()));
    stage.report.add(envoy);
    stage.report.add(floor);
    Ok(cost)
}

/// How the cost of an edit grows with the routes that it does not touch.
pub(crate) fn slope(stage: &mut Stage, costs: &[(usize, f64)]) {
    let [.., (few, less), (many, more)] = costs else { return };
    // A tick of the kernel's clock is a cost of its own at 20 edits a second: below it nothing can be told apart.
    let figure = Figure::new("b", format!("cost at {many} routes / cost at {few}"), "ratio", more / less.max(0.01));
    stage.report.add(figure.at_most(1.1));
}

/// A null watcher in a process of its own.
pub(crate) fn null_watcher(stage: &Stage) -> Result<Child> {
    let kubeconfig = stage.api.kubeconfig(DRIVER)?;
    Child::start(&program()?, ["null-watcher".as_ref(), kubeconfig.as_os_str()], &[])
}

fn cpu(meters: &[Meter; 3]) -> Result<Vec<f64>> {
    meters.iter().map(|meter| Ok(meter.cpu()?.as_secs_f64())).collect()
}

async fn spent(meters: &[Meter; 3], span: Duration) -> Result<Vec<f64>> {
    let before = cpu(meters)?;
    // house(sleep): the window of an idle baseline.
    tokio::time::sleep(span).await;
    Ok(cpu(meters)?.into_iter().zip(before).map(|(after, before)| after - before).collect())
}

/// Random edits by the clock; the last marker of each route that was edited.
async fn edit_at(stage: &mut Stage, rate: u32, edits: usize) -> Result<Vec<(usize, String)>> {
    let mut clock = interval(Duration::from_secs(1) / rate);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut last = std::collections::BTreeMap::new();
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..edits {
        clock.tick().await;
        let (index, marker) = (number * 7919 % stage.routes, stage.marker());
        let route = stage.route(Rules { index, marker: &marker, target: "echo-a" });
        last.insert(index, marker);
        let api = stage.writer.clone();
        writes.spawn(async move { api.merge(&route).await.map(drop) });
        while let Some(written) = writes.try_join_next() {
            written??;
        }
    }
    while let Some(written) = writes.join_next().await {
        written??;
    }
    Ok(last.into_iter().collect())
}

/// Waits until the proxy has the last form of everything that was edited.
async fn applied(stage: &Stage, last: &[(usize, String)]) -> Result<()> {
    for (index, marker) in last {
        let has = async || {
            let (_, _, bytes) = stage.host(*index).ok()?;
            bytes.windows(marker.len()).any(|window| window == marker.as_bytes()).then_some(())
        };
        until(&format!("{marker} at the proxy"), has).await?;
    }
    until("acknowledgements", async || stage.edge.tap.is_answered().then_some(())).await
}

/// c at the routes that are there, and after churn.
pub(crate) async fn memory(stage: &mut Stage) -> Result<()> {
    let n = stage.routes;
    let before = stage.kept().await?;
    let names = format!("{n} routes, {n} Services, {} endpoints", n * objects::ENDPOINTS);
    let resident = Figure::new("c", format!("{names}: resident"), "MiB", before.resident);
    stage.report.add(if n <= 10_000 { resident.at_most(150.0) } else { resident });
    stage.report.add(Figure::new("c", format!("{names}: proportional"), "MiB", before.proportional));
    let peak = Figure::new("c", format!("{names}: peak / resident"), "ratio", before.peak / before.resident);
    stage.report.add(peak.at_most(2.0));
    let envoy = stage.envoy().memory()?;
    stage.report.add(Figure::new("c", format!("{names}: resident, Envoy"), "MiB", envoy.resident));
    Ok(())
}

/// c: resident memory after many edits, beside that after a tenth of them.
pub(crate) async fn growth(stage: &mut Stage) -> Result<()> {
    let edits = stage.size.churn;
    ensure!(edits >= 10, "too few edits");
    let mut sizes = Vec::new();
    for share in [edits / 10, edits - edits / 10] {
        let last = edit_at(stage, FAST, share).await?;
        applied(stage, &last).await?;
        sizes.push(stage.kept().await?.resident);
    }
    let [warm, after] = sizes.as_slice() else { return Ok(()) };
    let name = format!("N={}: resident after {edits} edits / after {}", stage.routes, edits / 10);
    stage.report.add(Figure::new("c", name, "ratio", after / warm).at_most(1.05));
    Ok(())
}

/// l: at rest, and while others write what is none of the controller's business.
pub(crate) async fn foreign(stage: &mut Stage) -> Result<()> {
    let span = Duration::from_secs(stage.size.seconds);
    let floor = null_watcher(stage)?;
    until("lists of the null watcher", async || floor.said().contains("listed").then_some(())).await?;
    prepare_foreign(stage).await?;
    stage.settle().await?;
    let meters = [stage.subject.meter(), stage.envoy(), Meter::new([floor.pid()])];
    let share = |seconds: f64| seconds / span.as_secs_f64() * 100.0;
    let idle = spent(&meters, span).await?;
    let mark = stage.edge.tap.mark();
    stage.audit.writes(crate::stage::USER)?;
    let before = cpu(&meters)?;
    write_foreign(stage, span).await?;
    let after: Vec<f64> = cpu(&meters)?.into_iter().zip(before).map(|(after, before)| after - before).collect();
    let n = stage.routes;
    let figure = |name: &str, seconds: f64| Figure::new("l", format!("N={n}: {name}"), "% of a core", share(seconds));
    let [at_rest, .., watching_rest] = idle.as_slice() else { return Ok(()) };
    let [ours, .., watching] = after.as_slice() else { return Ok(()) };
    let floor = figure("floor: null watcher under the same", watching - watching_rest);
    let ours = figure("200 foreign writes a second", ours - at_rest);
    stage.report.add(figure("at rest", *at_rest).at_most(1.0));
    stage.report.add(ours.at_most(1.0 + floor.value()));
    stage.report.add(floor);
    let bytes = stage.edge.tap.since(mark).iter().map(|said| said.bytes).sum();
    stage
        .report
        .add(Figure::new("l", format!("N={n}: sent because of foreign writes"), "bytes", count(bytes)).at_most(0.0));
    let writes = stage.audit.writes(crate::stage::USER)?.values().sum();
    stage.report.add(
        Figure::new("l", format!("N={n}: writes because of foreign writes"), "writes", count(writes)).at_most(0.0),
    );
    Ok(())
}

const FOREIGN: usize = 100;

fn foreign_route(stage: &Stage, index: usize, marker: &str) -> serde_json::Value {
    let mut route = stage.route(Rules { index, marker, target: "echo-a" });
    route["metadata"]["name"] = json!(format!("foreign-{index}"));
    route["spec"]["parentRefs"] = json!([{"name": "another"}]);
    route
}

fn foreign_secret(index: usize, marker: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": objects::APPS, "name": format!("foreign-{index}")},
        "stringData": {"marker": marker},
    })
}

async fn prepare_foreign(stage: &Stage) -> Result<()> {
    let routes = (0..FOREIGN).map(|index| foreign_route(stage, index, &objects::marker(0)));
    let secrets = (0..FOREIGN).map(|index| foreign_secret(index, ""));
    let services = (0..FOREIGN).map(|index| objects::service(&format!("foreign-{index}")));
    for object in routes.chain(secrets).chain(services) {
        if stage.writer.get(&object).await?.is_none() {
            stage.writer.create(&object).await?;
        }
    }
    Ok(())
}

/// Routes of another Gateway, their statuses, Secrets and Services that nobody refers to, in turn.
async fn write_foreign(stage: &mut Stage, span: Duration) -> Result<()> {
    let (mut clock, begun) = (interval(Duration::from_millis(5)), Instant::now());
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut writes = tokio::task::JoinSet::new();
    for number in 0.. {
        clock.tick().await;
        if begun.elapsed() >= span {
            break;
        }
        let (index, marker, api) = (number / 4 % FOREIGN, stage.marker(), stage.writer.clone());
        let mut object = match number % 4 {
            0 | 1 => foreign_route(stage, index, &marker),
            2 => foreign_secret(index, &marker),
            _ => objects::service(&format!("foreign-{index}")),
        };
        if number % 4 == 3 {
            object["metadata"]["annotations"] = json!({"marker": marker});
        }
        if number % 4 == 1 {
            let conditions = json!([{
                "type": "Accepted", "status": "True", "reason": "Accepted", "message": marker,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]);
            let parent = json!({
                "parentRef": {"name": "another"}, "controllerName": "example.com/another", "conditions": conditions,
            });
            object["status"] = json!({"parents": [parent]});
            writes.spawn(async move { api.merge_status(&object).await.map(drop) });
        } else {
            writes.spawn(async move { api.merge(&object).await.map(drop) });
        }
        while let Some(written) = writes.try_join_next() {
            written??;
        }
    }
    writes.join_all().await.into_iter().collect()
}
