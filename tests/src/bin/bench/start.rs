//! f: a start, with a proxy that is connected already and with one that is as fresh as the controller.
//!
//! The floor is a fresh Envoy that is sent the same configuration at once, and what the lists alone take.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use sluice_tests::bench::{audit::Writes, figure::Figure, replay::Replay, sample::Samples, subject::until, tap::Side};

use crate::{
    propagation::count,
    rate::null_watcher,
    stage::{Stage, USER},
};

/// After which a restarted controller has said all that it would say.
const SILENCE: Duration = Duration::from_secs(3);

/// Measures at the routes that are there. Nothing to measure if the controller is not ours to start.
pub(crate) async fn measure(stage: &mut Stage) -> Result<()> {
    if !stage.subject.is_ours() {
        return Ok(());
    }
    let n = stage.routes;
    let rounds = if n > 1_000 { stage.size.rounds.div_ceil(2) } else { stage.size.rounds };
    let (mut ready, mut fresh, mut floors, mut lists) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut sent, mut written, mut words) = (Vec::new(), Vec::new(), BTreeSet::new());
    for _ in 0..rounds {
        let restart = restart(stage).await?;
        ready.push(restart.ready);
        sent.push(count(restart.sent));
        written.push(count(restart.writes.values().sum()));
        words.extend(restart.writes.into_keys());
        floors.push(Replay::start(&stage.copy()).await?.1.as_secs_f64());
        lists.push(listed(stage).await?);
        fresh.push(cold(stage).await?);
    }
    let figure = |name: &str, unit, values: Vec<f64>| {
        Figure::new("f", format!("N={n}: {name}"), unit, values.into_iter().collect::<Samples>())
    };
    let floor = figure("floor: fresh Envoy, prepared configuration", "s", floors);
    let listed = figure("floor: lists, to a null watcher", "s", lists);
    let limit = if n > 1_000 { floor.value() + 1.5 } else { 3.0 };
    stage.report.add(figure("start until a fresh Envoy has acknowledged all", "s", fresh).at_most(limit).above(&floor));
    stage.report.add(floor);
    stage.report.add(listed);
    stage.report.add(figure("restart until ready", "s", ready));
    stage.report.add(figure("restart: resources sent to the connected Envoy", "resources", sent).at(100).at_most(0.0));
    let name = format!("restart: writes {words:?}");
    stage.report.add(figure(&name, "writes", written).at(100).at_most(0.0));
    Ok(())
}

struct Restart {
    ready: f64,
    sent: usize,
    writes: Writes,
}

async fn restart(stage: &mut Stage) -> Result<Restart> {
    stage.settle().await?;
    let (mark, connections) = (stage.edge.tap.mark(), stage.edge.tap.connections());
    stage.subject.stop()?;
    stage.audit.writes(USER)?;
    let begun = Instant::now();
    stage.subject.start()?;
    stage.subject.ready().await?;
    let ready = begun.elapsed().as_secs_f64();
    stage.edge.tap.redirect(stage.subject.upstream(&stage.writer).await?);
    let back = async || (stage.edge.tap.connections() > connections && stage.edge.tap.is_answered()).then_some(());
    until("the proxy's return", back).await.with_context(|| stage.subject.said())?;
    // house(sleep): nothing tells that nothing more is said.
    tokio::time::sleep(SILENCE).await;
    stage.settle().await?;
    let said = stage.edge.tap.since(mark);
    let sent = said.iter().filter(|said| said.by == Side::Plane).map(|said| said.resources.len() + said.removed.len());
    Ok(Restart { ready, sent: sent.sum(), writes: stage.audit.writes(USER)? })
}

async fn listed(stage: &Stage) -> Result<f64> {
    let watcher = null_watcher(stage)?;
    let seconds = async || watcher.said().lines().find_map(|line| line.strip_prefix("listed ")?.parse().ok());
    until("lists of the null watcher", seconds).await
}

/// Controller and proxy start at once.
async fn cold(stage: &mut Stage) -> Result<f64> {
    stage.subject.stop()?;
    stage.edge.envoy.end();
    let begun = Instant::now();
    stage.subject.start()?;
    stage.renew_edge().await?;
    stage.complete().await?;
    let latest = stage.edge.tap.since(0).iter().rev().find(|said| said.by == Side::Proxy).map(|said| said.at);
    let seconds = (latest.context("the proxy said nothing")? - begun).as_secs_f64();
    stage.subject.ready().await?;
    Ok(seconds)
}
