//! g: one endpoint of a Service, from the API server's answer to Envoy's; at rest, and while routes are edited.
//!
//! The floor is an Envoy of the same configuration that is sent prepared assignments.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use sluice_tests::bench::{
    figure::Figure,
    objects::{self, Rules},
    replay::{Form, Replay, edited},
    sample::Samples,
    subject::{PATIENCE, until},
    tap::{Said, Side},
};
use sluice_xds::ResourceType;
use tokio::task::JoinSet;

use crate::{
    propagation::count,
    stage::{Change, Stage},
};

/// Endpoints in one slice, as Kubernetes has it.
const SLICE: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// Between edits of routes that endpoints must not wait behind.
const ROUTE_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Found {
    plane: Vec<Duration>,
    total: Vec<Duration>,
    others: usize,
}

/// Measures at the routes that are there: Services of more and more endpoints, then changes of random ones.
pub(crate) async fn measure(stage: &mut Stage) -> Result<()> {
    let sizes: &[usize] = if stage.size.most() > 1_000 { &[10, 100, 1_000, 10_000] } else { &[10, 1_000] };
    for (number, endpoints) in sizes.iter().enumerate() {
        let service = format!("probe-{number}");
        prepare(stage, number, &service, *endpoints).await?;
        one_size(stage, &service, *endpoints).await?;
    }
    under_edits(stage).await
}

/// A Service that a route refers to, in slices.
async fn prepare(stage: &mut Stage, number: usize, service: &str, endpoints: usize) -> Result<()> {
    stage.writer.create(&objects::service(service)).await?;
    let all = objects::addresses(200 + number, endpoints);
    for (slice, addresses) in all.chunks(SLICE).enumerate() {
        stage.writer.create(&objects::slice(service, slice, addresses, 9000)).await?;
    }
    let (change, _) = stage.edit(number, service).await?;
    drop(change);
    let held = async || assignment(stage, service).ok();
    until("the assignment", held).await.map(drop)
}

fn assignment(stage: &Stage, service: &str) -> Result<Form> {
    let wanted = |(id, _, _): &Form| id.kind == ResourceType::Assignment && id.name.contains(&format!("/{service}/"));
    stage.copy().into_iter().find(wanted).with_context(|| format!("no assignment of {service}"))
}

/// Addresses of constant length that were never used.
fn address(number: usize) -> String {
    format!("10.{}.{}.{}", 200 + number / 22_500 % 50, 100 + number / 150 % 150, 100 + number % 150)
}

fn changed(service: &str, slice: usize, endpoints: usize, fresh: &str) -> Value {
    let mut addresses = objects::addresses(7, endpoints.min(SLICE));
    if let Some(first) = addresses.first_mut() {
        fresh.clone_into(first);
    }
    objects::slice(service, slice, &addresses, 9000)
}

async fn change(stage: &mut Stage, service: &str, endpoints: usize) -> Result<Change> {
    let marker = stage.marker();
    let fresh = address(marker.trim_start_matches(|c: char| !c.is_ascii_digit()).parse()?);
    let slice = changed(service, 0, endpoints, &fresh);
    let mark = stage.edge.tap.mark();
    let written = stage.writer.merge(&slice).await?;
    let wanted = |said: &Said| said.kind == Some(ResourceType::Assignment) && said.mentions(fresh.as_bytes());
    let (response, answer) = stage.edge.tap.acknowledged(mark, PATIENCE, wanted).await?;
    Ok(Change { mark, written, response, answer })
}

impl Found {
    fn note(&mut self, stage: &Stage, change: &Change) {
        self.plane.push(change.plane());
        self.total.push(change.total());
        let said = stage.edge.tap.since(change.mark);
        let moved = said.iter().filter(|said| said.by == Side::Plane).map(|said| said.resources.len());
        self.others += moved.sum::<usize>() - 1;
    }
}

async fn one_size(stage: &mut Stage, service: &str, endpoints: usize) -> Result<()> {
    let (mut found, mut floors) = (Found::default(), Vec::new());
    stage.settle().await?;
    let (mut replay, _) = Replay::start(&stage.copy()).await?;
    for round in 0..stage.size.rounds {
        for number in 0..stage.size.samples {
            let change = change(stage, service, endpoints).await?;
            // house(sleep): see PAUSE.
            tokio::time::sleep(PAUSE).await;
            found.note(stage, &change);
            let (id, _, bytes) = assignment(stage, service)?;
            let old = old_address(&bytes)?;
            let prepared = edited(&bytes, &old, &address(round * 1_000 + number))?;
            let (response, answer) = replay.push(&id, &prepared).await?;
            floors.push(answer.at - response.at);
        }
    }
    let name = |words: &str| format!("N={}, {endpoints} endpoints: {words}", stage.routes);
    let floor = Figure::new("g", name("floor: Envoy, prepared assignment"), "ms", Samples::milliseconds(floors));
    let total = Figure::new("g", name("slice until Envoy's ACK"), "ms", Samples::milliseconds(found.total));
    let plane = Figure::new("g", name("controller and API"), "ms", Samples::milliseconds(found.plane));
    let others = Figure::new("g", name("resources beside the assignment"), "resources", count(found.others));
    stage.report.add(plane.clone());
    stage.report.add(plane.at(99));
    stage.report.add(total.at_most(floor.value() + 5.0));
    stage.report.add(floor);
    stage.report.add(others.at_most(0.0));
    Ok(())
}

/// The one of the constant length that changes have.
fn old_address(bytes: &[u8]) -> Result<String> {
    let is_one = |window: &&[u8]| {
        let text = std::str::from_utf8(window).unwrap_or_default();
        text.starts_with("10.2") && text.parse::<Ipv4Addr>().is_ok()
    };
    let found = bytes.windows(address(0).len()).find(is_one).context("no changed address")?;
    Ok(String::from_utf8(found.to_vec())?)
}

/// Endpoints must not wait behind routes.
async fn under_edits(stage: &mut Stage) -> Result<()> {
    let mut editor = JoinSet::new();
    let (writer, gateway, routes) = (stage.writer.clone(), stage.gateway.clone(), stage.routes);
    editor.spawn(async move {
        for number in 0_usize.. {
            let marker = format!("busy-{number:09}");
            let rules = Rules { index: 10 + number % (routes - 10).max(1), marker: &marker, target: "echo-a" };
            writer.merge(&objects::route(&gateway, rules)).await?;
            // house(sleep): the pace of the edits.
            tokio::time::sleep(ROUTE_PAUSE).await;
        }
        anyhow::Ok(())
    });
    let mut found = Found::default();
    for _ in 0..stage.size.samples * stage.size.rounds {
        let change = change(stage, "probe-0", 10).await?;
        found.plane.push(change.plane());
        found.total.push(change.total());
        // house(sleep): see PAUSE.
        tokio::time::sleep(PAUSE).await;
    }
    editor.abort_all();
    let name = |words: &str| format!("N={routes}, 10 endpoints, while routes are edited: {words}");
    let plane = Figure::new("g", name("controller and API"), "ms", Samples::milliseconds(found.plane));
    let total = Figure::new("g", name("slice until Envoy's ACK"), "ms", Samples::milliseconds(found.total));
    stage.report.add(plane.clone().at_most(5.0));
    stage.report.add(plane.at(99));
    stage.report.add(total);
    Ok(())
}
