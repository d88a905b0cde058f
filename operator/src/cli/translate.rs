//! `sluice translate`

use super::offline::{Evaluation, Sources, evaluate};
use crate::local::store::has_errors;
use serde_json::{Map, Value, json};
use sluice_core::{
    key::NsName,
    translate::{attach, lower},
    world::{Reader, Surfaces, World, gateway::Gateway},
};
use sluice_xds::{ResourceType, Snapshot};
use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode, sync::Arc};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sluice translate -f service.yaml                 # the Gateway API objects of a GrpcService
  sluice translate -f manifests/ -o xds | less     # what Envoy gets")]
pub(super) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// The stage to print
    #[arg(short, long, value_enum, default_value_t = Stage::GatewayApi)]
    output: Stage,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Stage {
    /// The objects that GrpcServices become, as YAML
    GatewayApi,
    /// What listeners and routes mean, before any word of Envoy
    Ir,
    /// Envoy's resources as JSON, secrets hidden
    Xds,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let evaluation = evaluate(&args.sources);
    evaluation.findings.iter().for_each(|finding| eprintln!("{finding}"));
    let text = match args.output {
        Stage::GatewayApi => gateway_api(&evaluation)?,
        Stage::Ir => ir(&evaluation.engine.state().world),
        Stage::Xds => serde_json::to_string_pretty(&xds(&evaluation))? + "\n",
    };
    super::print(&text)?;
    Ok(if has_errors(&evaluation.findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Without ownerReferences: the uid of a service belongs to the cluster that it lives in.
fn gateway_api(evaluation: &Evaluation) -> anyhow::Result<String> {
    let portable = |value: &Value| {
        let mut value = value.clone();
        value.get_mut("metadata").and_then(Value::as_object_mut).map(|metadata| metadata.remove("ownerReferences"));
        value
    };
    let documents = evaluation.generated().into_iter().map(|value| serde_saphyr::to_string(&portable(value)));
    Ok(documents.collect::<Result<Vec<_>, _>>()?.join("---\n"))
}

fn ir(world: &World) -> String {
    let none = Surfaces::new();
    let read = Reader::new(world, &none);
    let plans: Vec<_> = world.all::<Gateway>().keys().filter_map(|key| attach::plan(key, &read)).collect();
    let surfaces: Surfaces = plans.iter().flat_map(|plan| plan.surfaces.iter().cloned()).collect();
    let read = Reader::new(world, &surfaces);
    let mut text = String::new();
    for plan in &plans {
        // A String takes whatever is written to it.
        let _ = writeln!(text, "# Gateway {}\n{:#?}", plan.gateway, plan.listeners);
    }
    for route in world.routes().keys() {
        if let Some(lowered) = lower::lower(route, &read) {
            let _ = writeln!(text, "# {route}\n{lowered:#?}");
        }
    }
    text
}

fn xds(evaluation: &Evaluation) -> Value {
    let latest: BTreeMap<&NsName, &Arc<Snapshot>> = evaluation
        .steps
        .iter()
        .flat_map(|effects| &effects.snapshots)
        .map(|(gateway, snapshot)| (gateway, snapshot))
        .collect();
    let view = |snapshot: &Snapshot| {
        let all = ResourceType::ALL.into_iter().flat_map(|kind| snapshot.iter(kind));
        all.map(|resource| json!({"name": &*resource.id.name, "version": resource.version.to_string(), "resource": sluice_envoy::json::view(resource)})).collect::<Vec<_>>()
    };
    Value::Object(
        latest
            .into_iter()
            .map(|(gateway, snapshot)| (gateway.to_string(), Value::Array(view(snapshot))))
            .collect::<Map<_, _>>(),
    )
}
