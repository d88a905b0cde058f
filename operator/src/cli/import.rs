//! `sluice import`: GRPCRoutes as they are → GrpcServices that say the same.

use super::offline::{Evaluation, Sources, evaluate};
use crate::local::{finding::Severity, store::has_errors};
use serde_json::Value;
use sluice_core::author::{Imported, import};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "GrpcServices go to standard output; what to do beside, and what cannot be carried over, to standard \
    error.

Examples:
  sluice import -f routes.yaml > services.yaml
  kubectl get grpcroutes,grpcpolicies,referencegrants -A -o yaml | sluice import -f -"
)]
pub(super) struct Args {
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let evaluation = evaluate(&args.sources);
    evaluation.findings.iter().for_each(|finding| eprintln!("{finding}"));
    let imported = import(&evaluation.objects());
    for note in &imported.notes {
        eprintln!("{}", evaluation.finding(Severity::Note, &note.object, &note.path, &note.message));
    }
    super::print(&yaml(&imported)?)?;
    let whole = !has_errors(&evaluation.findings) && is_whole(&evaluation, &imported);
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether every route became a service.
fn is_whole(evaluation: &Evaluation, imported: &Imported) -> bool {
    let objects = evaluation.objects();
    let routes = objects.iter().filter(|object| object.get("kind").and_then(Value::as_str) == Some("GRPCRoute"));
    routes.count() == imported.services.len()
}

fn yaml(imported: &Imported) -> anyhow::Result<String> {
    let documents: Result<Vec<_>, _> = imported.services.iter().map(serde_saphyr::to_string).collect();
    Ok(documents?.join("---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::offline::evaluated;

    const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: echo}
spec:
  parentRefs: [{name: edge}]
  hostnames: [grpc.example.com]
  rules:
  - backendRefs: [{name: echo, port: 9000}]
";

    #[test]
    fn what_is_imported_is_admitted_and_makes_the_route_again() {
        let imported = import(&evaluated(ROUTE).objects());
        let services = yaml(&imported).unwrap();
        let again = evaluated(&services);
        assert_eq!(again.findings, [], "{services}");
        let route = again.generated().into_iter().find(|value| value["kind"] == "GRPCRoute").unwrap();
        assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["name"], "echo");
        assert_eq!(route["spec"]["parentRefs"][0]["name"], "edge");
    }

    #[test]
    fn documents_carry_no_defaults_that_nobody_wrote() {
        let services = yaml(&import(&evaluated(ROUTE).objects())).unwrap();
        for absent in ["status", "uid", "generation", "weight", "null"] {
            assert!(!services.contains(absent), "{absent}: {services}");
        }
    }
}
