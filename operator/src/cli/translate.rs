//! `sluice translate`

use super::offline::{Evaluation, Sources, evaluate};
use crate::local::store::has_errors;
use serde_json::{Map, Value, json};
use sluice_core::{
    key::NsName,
    translate::lower,
    world::{Reader, Surfaces},
};
use sluice_xds::{Resource, ResourceType, Snapshot};
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
        Stage::Ir => ir(&evaluation),
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

fn ir(evaluation: &Evaluation) -> String {
    let (world, plans) = (&evaluation.engine.state().world, evaluation.plans());
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
        all.map(|resource| shown(resource)).collect::<Vec<_>>()
    };
    Value::Object(
        latest
            .into_iter()
            .map(|(gateway, snapshot)| (gateway.to_string(), Value::Array(view(snapshot))))
            .collect::<Map<_, _>>(),
    )
}

fn shown(resource: &Resource) -> Value {
    json!({
        "name": &*resource.id.name,
        "version": resource.version.to_string(),
        "resource": sluice_envoy::json::view(resource),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::offline::evaluated,
        local::{
            admission::{Admission, Subject, subject},
            manifest,
        },
    };

    const SERVICES: [(&str, &str); 6] = [
        ("hostname", include_str!("../../../samples/guide/01-hostname/grpcservice.yaml")),
        ("content", include_str!("../../../samples/guide/02-content/grpcservice.yaml")),
        ("reflection", include_str!("../../../samples/guide/03-reflection/grpcservice.yaml")),
        ("cross-namespace", include_str!("../../../samples/guide/04-cross-namespace/grpcservice.yaml")),
        ("weights", include_str!("../../../samples/guide/05-weights/grpcservice.yaml")),
        ("everything", EVERYTHING),
    ];

    const EVERYTHING: &str = "
apiVersion: sluice.dev/v1alpha1
kind: GrpcService
metadata: {name: echo, namespace: shop}
spec:
  hostnames: [grpc.example.com, '*.a.example.com']
  gateways:
  - name: public
    own: {gatewayClassName: sluice, port: 8443, allowedRoutes: {namespaces: {from: All}}, infrastructure: {annotations: {example.com/lb: internal}}}
  - {name: plain, own: {gatewayClassName: sluice}}
  - {name: shared, ref: {namespace: infra, name: edge, port: 443}}
  - {name: extra, ref: {kind: ListenerSet, name: more, sectionName: https}}
  tls: {type: SelfSigned}
  backends:
  - {name: stable, weight: 90, service: {name: echo, port: 9000}}
  - {name: canary, weight: 10, service: {name: echo-v2, namespace: team-b, port: 9000}}
  rules:
  - name: first
    matches: [{method: {service: echo.Echo}, headers: [{name: env, value: canary}]}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], add: [{name: c, value: d}], remove: [e]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [e]}}
    backends:
    - name: canary
      filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 9000}, fraction: {numerator: 1}}}]
    timeouts: {request: 2s, idle: 60s, maxStream: 1h}
    retry: {attempts: 2, on: [Unavailable], perTryTimeout: 500ms, budgetPercent: 20}
  - {name: rest}
  reflection: {backend: stable}
  grants:
  - {to: Service, namespace: app-b}
  - {to: Gateway, namespace: app-c}
  generatedMetadata: {labels: {team: shop}, annotations: {example.com/ttl: '60'}}
";

    /// As an API server would store it, but for the status, which is its controller's.
    fn admitted(value: &Value) -> Result<Value, Vec<String>> {
        let manifest = manifest::parse(&"generated".into(), &value.to_string());
        let [document] = manifest.documents.as_slice() else { panic!("{:?}", manifest.findings) };
        let Subject::Known(reference) = subject(document) else { panic!("{:?}", subject(document)) };
        let admitted = Admission::default().admit(&reference, document, None);
        let stored: Result<Value, Vec<String>> =
            admitted.map_err(|findings| findings.iter().map(ToString::to_string).collect());
        stored.map(|mut value| {
            value.as_object_mut().unwrap().remove("status");
            value
        })
    }

    #[test]
    fn what_is_generated_is_valid_and_leaves_nothing_to_default() {
        for (name, text) in SERVICES {
            let evaluation = evaluated(text);
            assert_eq!(evaluation.findings, [], "{name}");
            assert!(!evaluation.generated().is_empty(), "{name}");
            for value in evaluation.generated() {
                assert_eq!(admitted(value).as_ref(), Ok(value), "{name}: {}", value["kind"]);
            }
        }
    }

    #[test]
    fn every_kind_that_a_service_can_need_is_generated() {
        let evaluation = evaluated(EVERYTHING);
        let mut kinds: Vec<_> = evaluation.generated().iter().map(|value| value["kind"].as_str().unwrap()).collect();
        kinds.dedup();
        let expected = ["GrpcPolicy", "Gateway", "ListenerSet", "GRPCRoute", "ReferenceGrant", "ConfigMap"];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn documents_are_portable_and_hold_no_key() {
        let evaluation = evaluated(EVERYTHING);
        let text = gateway_api(&evaluation).unwrap() + &xds(&evaluation).to_string() + &ir(&evaluation);
        for absent in ["ownerReferences", "PRIVATE KEY", "kind: Secret\nmetadata"] {
            assert!(!text.contains(absent), "{absent}");
        }
        assert!(text.contains("grpc.example.com"));
    }
}
