//! The soak: a random mix of everything for a long time, after which nothing has grown.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use sluice_tests::bench::{
    figure::Figure,
    objects::{self, Rules},
    sample::Samples,
};
use tokio::time::interval;

use crate::{propagation::count, stage::Stage};

/// Changes a second.
const RATE: u32 = 20;
/// How often is looked.
const LOOK: Duration = Duration::from_secs(5);
/// Growth that is noise: of the median of the last quarter beside that of the second.
const NOISE: f64 = 1.05;

/// What is looked at.
#[derive(Debug, Default)]
struct Seen {
    resident: Vec<f64>,
    descriptors: Vec<f64>,
    threads: Vec<f64>,
    series: Vec<f64>,
}

/// Runs so many minutes at the routes that are there.
pub(crate) async fn measure(stage: &mut Stage, minutes: u64) -> Result<()> {
    let (begun, span) = (Instant::now(), Duration::from_secs(60 * minutes));
    let (mut clock, mut seen, mut looked) = (interval(Duration::from_secs(1) / RATE), Seen::default(), begun);
    let mut number = 1_usize;
    while begun.elapsed() < span {
        clock.tick().await;
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        one(stage, number >> 33).await?;
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            look(stage, &mut seen)?;
        }
    }
    stage.complete().await?;
    report(stage, seen, minutes);
    Ok(())
}

async fn one(stage: &mut Stage, dice: usize) -> Result<()> {
    let (index, marker) = (dice / 16 % stage.routes, stage.marker());
    let target = if dice % 32 < 16 { "echo-a" } else { "echo-b" };
    let route = stage.route(Rules { index, marker: &marker, target });
    match dice % 16 {
        0..=7 => drop(stage.writer.merge(&route).await?),
        8..=11 => {
            let addresses = objects::addresses(dice % 1_000, objects::ENDPOINTS);
            stage.writer.merge(&objects::slice(&objects::backend(index), 0, &addresses, 9000)).await?;
        }
        12 => {
            let mut labelled = route.clone();
            labelled.as_object_mut().context("not an object")?.remove("spec");
            labelled["metadata"]["labels"] = json!({"number": marker});
            stage.writer.merge(&labelled).await?;
        }
        13 | 14 => {
            stage.writer.delete(&route).await?;
            stage.writer.create(&route).await?;
        }
        _ => {
            // A bad one, mended by a later turn.
            let mut bad = route.clone();
            bad["spec"]["rules"][0]["backendRefs"][0]["name"] = json!("absent");
            stage.writer.merge(&bad).await?;
        }
    }
    Ok(())
}

fn look(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let meter = stage.subject.meter();
    seen.resident.push(meter.memory()?.resident);
    seen.descriptors.push(count(meter.descriptors()?));
    seen.threads.push(count(meter.threads()?));
    let page = stage.subject.page("/metrics")?;
    seen.series.push(count(page.lines().filter(|line| !line.starts_with('#')).count()));
    Ok(())
}

fn report(stage: &mut Stage, seen: Seen, minutes: u64) {
    let rows = [
        ("resident", "MiB", seen.resident),
        ("descriptors", "", seen.descriptors),
        ("threads", "", seen.threads),
        ("metric series", "", seen.series),
    ];
    for (name, unit, values) in rows {
        let quarter = values.len() / 4;
        let median =
            |part: usize| values.iter().copied().skip(part * quarter).take(quarter).collect::<Samples>().median();
        let growth = median(3) / median(1);
        let name = format!("{minutes} minutes at N={}: {name}", stage.routes);
        stage.report.add(Figure::new("s", format!("{name}, last quarter / second"), "ratio", growth).at_most(NOISE));
        stage.report.add(Figure::new("s", name, unit, values.into_iter().collect::<Samples>()));
    }
}
