//! k: many proxies of one Gateway. What a stream holds, and what an edit costs for each.
//!
//! The floor is a connection that asks for nothing.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sluice_tests::bench::{figure::Figure, fleet::Fleet, objects, sample::Samples, subject::until, tap::Upstream};
use sluice_xds::ResourceType;

use crate::{propagation::count, stage::Stage};

const PAUSE: Duration = Duration::from_millis(100);
/// Of what a stream may hold beside its connection.
const STREAM: f64 = 50.0;

/// Measures at the routes that are there.
pub(crate) async fn measure(stage: &mut Stage) -> Result<()> {
    let upstream = stage.subject.upstream(&stage.writer).await?;
    let most = stage.size.fleet.last().copied().unwrap_or_default();
    let bare = connections(stage, &upstream, most).await?;
    let gateway = format!("{}/{}", objects::INFRA, objects::EDGE);
    let mut fleet = Fleet::new(upstream, &gateway, subscriptions(stage));
    let before = stage.kept().await?.resident;
    for streams in stage.size.fleet.clone() {
        fleet.grow(streams).await?;
        quiet(&fleet).await?;
        let held = (stage.kept().await?.resident - before) * 1_024.0 / count(streams);
        let figure =
            Figure::new("k", format!("{streams} streams of {} routes: held for each", stage.routes), "KiB", held);
        stage.report.add(if streams == most { figure.at_most(bare.value() + STREAM) } else { figure });
        edits(stage, &fleet, streams).await?;
    }
    stage.report.add(bare);
    Ok(())
}

/// As an Envoy with the same configuration asks.
fn subscriptions(stage: &Stage) -> Vec<(ResourceType, Vec<String>)> {
    use ResourceType::{Assignment, Cluster, Listener, RouteConfiguration, Secret, VirtualHost};
    let copy = stage.copy();
    let names = |kind: ResourceType| -> Vec<String> {
        copy.iter().filter(|(id, _, _)| id.kind == kind).map(|(id, _, _)| id.name.to_string()).collect()
    };
    let wildcard = |kind| (kind, Vec::new());
    let by_name = |kind| (kind, names(kind));
    vec![
        wildcard(Cluster),
        by_name(Assignment),
        wildcard(Listener),
        by_name(Secret),
        by_name(RouteConfiguration),
        wildcard(VirtualHost),
    ]
}

async fn connections(stage: &Stage, upstream: &Upstream, most: usize) -> Result<Figure> {
    let before = stage.kept().await?.resident;
    let idle = Fleet::idle(upstream, most).await?;
    let held = (stage.kept().await?.resident - before) * 1_024.0 / count(idle.len());
    Ok(Figure::new("k", format!("floor: {most} connections without a stream: held for each"), "KiB", held))
}

/// Waits until nothing more comes.
async fn quiet(fleet: &Fleet) -> Result<()> {
    until("rest of the fleet", async || {
        let before = fleet.messages();
        // house(sleep): nothing tells that nothing more comes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        (fleet.messages() == before).then_some(())
    })
    .await
}

async fn edits(stage: &mut Stage, fleet: &Fleet, streams: usize) -> Result<()> {
    let samples = stage.size.samples;
    let (mut last, mut messages) = (Vec::new(), Vec::new());
    let meter = stage.subject.meter();
    let before = meter.cpu()?;
    for number in 0..samples {
        let received = fleet.messages();
        let (change, _) = stage.edit(number % stage.routes, "echo-a").await?;
        let at = fleet.received(received + streams).await?;
        last.push(at.saturating_duration_since(change.written.at));
        // house(sleep): the next edit finds all streams at rest; a second message would have come by then.
        tokio::time::sleep(PAUSE).await;
        messages.push(count(fleet.messages() - received) / count(streams));
    }
    let spent = meter.cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / count(samples * streams);
    let name = |words: &str| format!("{streams} streams of {} routes: {words}", stage.routes);
    let figures = [
        Figure::new("k", name("messages for an edit, each"), "messages", messages.into_iter().collect::<Samples>())
            .at(100)
            .at_most(1.0),
        Figure::new("k", name("CPU for an edit, each"), "us", spent),
        Figure::new("k", name("until the last has it"), "ms", Samples::milliseconds(last)),
    ];
    for figure in figures {
        stage.report.add(figure);
    }
    fleet.bytes().checked_sub(1).context("the fleet received nothing").map(drop)
}
