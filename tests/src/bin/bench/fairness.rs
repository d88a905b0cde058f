//! m: a tenant who edits a hundred large routes a second, and one who edits a small one now and then.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use sluice_tests::bench::{figure::Figure, objects, sample::Samples, writer::Writer};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::stage::Stage;

/// Large routes of the noisy tenant.
const LARGE: usize = 20;
/// An API server that does not keep up is not given more.
const AT_ONCE: usize = 32;
const NOISE: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(200);
const NAMESPACE: &str = "noisy";

/// Measures at the routes that are there.
pub(crate) async fn measure(stage: &mut Stage) -> Result<()> {
    stage.writer.create(&objects::namespace(NAMESPACE)).await?;
    stage.writer.create(&in_namespace(objects::service("echo-a"))).await?;
    for index in 0..LARGE {
        stage.writer.create(&large(&stage.gateway, index, &objects::marker(0))).await?;
    }
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..stage.size.rounds {
        stage.settle().await?;
        alone.extend(edits(stage).await?);
        let noise = noise(stage.writer.clone(), stage.gateway.clone());
        beside.extend(edits(stage).await?);
        noise.abort();
    }
    let name = |words: &str| format!("N={}: an edit until Envoy's ACK, {words}", stage.routes);
    let alone = Figure::new("m", name("alone"), "ms", Samples::milliseconds(alone)).at(99);
    let beside =
        Figure::new("m", name("beside 100 edits/s of large routes"), "ms", Samples::milliseconds(beside)).at(99);
    stage.report.add(beside.at_most(2.0 * alone.value()));
    stage.report.add(alone);
    Ok(())
}

async fn edits(stage: &mut Stage) -> Result<Vec<Duration>> {
    let mut totals = Vec::new();
    for number in 0..stage.size.samples {
        totals.push(stage.edit(number % stage.routes, "echo-a").await?.0.total());
        // house(sleep): the pace of a tenant who edits now and then.
        tokio::time::sleep(PAUSE).await;
    }
    Ok(totals)
}

fn noise(writer: Writer, gateway: Value) -> JoinHandle<Result<()>> {
    tokio::spawn(async move {
        let (mut clock, mut running) = (interval(NOISE), JoinSet::new());
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for number in 0_usize.. {
            clock.tick().await;
            while running.try_join_next().is_some() {}
            if running.len() >= AT_ONCE {
                continue;
            }
            // Of a form of their own, so that nobody takes them for the markers of the stage.
            let marker = format!("noise-{number:09}");
            let (writer, route) = (writer.clone(), large(&gateway, number % LARGE, &marker));
            running.spawn(async move { writer.merge(&route).await });
        }
        Ok(())
    })
}

/// As large as a GRPCRoute may be: 16 rules with 8 matches each.
fn large(gateway: &Value, index: usize, marker: &str) -> Value {
    let of = |rule: usize, number: usize| {
        json!({
            "method": {"service": format!("noisy.Service{rule}"), "method": format!("Method{number}")},
            "headers": [{"name": "x-edit", "value": marker}],
        })
    };
    let rule = |rule: usize| {
        let matches: Vec<Value> = (0..8).map(|number| of(rule, number)).collect();
        json!({"matches": matches, "backendRefs": [{"name": "echo-a", "port": 9000}]})
    };
    let mut route = objects::route(gateway, objects::Rules { index, marker, target: "echo-a" });
    route["metadata"] = json!({"namespace": NAMESPACE, "name": format!("large-{index}")});
    route["spec"]["hostnames"] = json!([format!("large-{index}.example.com")]);
    route["spec"]["rules"] = (0..16).map(rule).collect();
    route
}

fn in_namespace(mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(NAMESPACE);
    object
}
