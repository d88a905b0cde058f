//! `sluice lint`: what is wrong with manifests, and what is valid and hardly meant.

use super::offline::{Evaluation, Sources, evaluate};
use crate::local::finding::Severity;
use serde_json::Value;
use sluice_core::{key::Ref, lint};
use std::{collections::BTreeSet, process::ExitCode};

#[derive(Debug, clap::Args)]
#[command(after_help = "Each line is FILE:LINE: OBJECT: what is wrong; what to do. Lines that begin with `note:` inform only.

Examples:
  sluice lint -f manifests/
  kustomize build | sluice lint -f -")]
pub(super) struct Args {
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let evaluation = evaluate(&args.sources);
    let (problems, notes) = (problems(&evaluation), notes(&evaluation));
    let lines = problems.iter().cloned().chain(notes.into_iter().map(|note| format!("note: {note}")));
    super::print(&lines.map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Endpoints are left out: manifests for a cluster have none.
fn problems(evaluation: &Evaluation) -> BTreeSet<String> {
    let refused = evaluation.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let mut problems: BTreeSet<_> = refused.map(ToString::to_string).collect();
    problems.extend(said(evaluation, &|condition| judge(condition) == Judgement::Problem));
    for trap in lint::lint(&evaluation.engine.state().world) {
        problems.insert(format!("{}: {}", evaluation.place(&trap.object, &trap.path), trap.message));
    }
    problems
}

fn notes(evaluation: &Evaluation) -> BTreeSet<String> {
    said(evaluation, &|condition| judge(condition) == Judgement::Note).into_iter().collect()
}

/// Conditions as lines. What is generated is left out: its service's status repeats it.
fn said(evaluation: &Evaluation, chosen: &dyn Fn(&Value) -> bool) -> Vec<String> {
    let statuses = evaluation.statuses().into_iter().filter(|(object, _)| evaluation.service_of(object).is_none());
    statuses.flat_map(|(object, status)| lines(evaluation, object, status, chosen)).collect()
}

fn lines(evaluation: &Evaluation, object: &Ref, status: &Value, chosen: &dyn Fn(&Value) -> bool) -> Vec<String> {
    let found = conditions(status, "spec").into_iter().filter(|(_, condition)| chosen(condition));
    found
        .map(|(around, condition)| {
            let message = text(condition, "message");
            let path = named_field(message).map_or(around, |field| format!("spec.{field}"));
            format!("{}: {}: {message}", evaluation.place(object, &path), text(condition, "reason"))
        })
        .collect()
}

/// The conditions of a status, each with the field that it is about.
fn conditions<'s>(status: &'s Value, around: &str) -> Vec<(String, &'s Value)> {
    let fields = status.as_object().into_iter().flatten();
    fields
        .flat_map(|(name, field)| {
            let items = field.as_array().into_iter().flatten().enumerate();
            match name.as_str() {
                "conditions" => items.map(|(_, condition)| (around.to_owned(), condition)).collect(),
                "parents" => within(items, "spec.parentRefs"),
                "ancestors" => within(items, "spec.targetRefs"),
                // A service's list repeats what its own conditions say.
                "gateways" => Vec::new(),
                name => within(items, &format!("spec.{name}")),
            }
        })
        .collect()
}

fn within<'s>(items: impl Iterator<Item = (usize, &'s Value)>, list: &str) -> Vec<(String, &'s Value)> {
    items.flat_map(|(at, item)| conditions(item, &format!("{list}[{at}]"))).collect()
}

/// The field of a `spec` that a message names: `rules[2].backendRefs[0]`.
fn named_field(message: &str) -> Option<&str> {
    const LISTS: [&str; 4] = ["rules[", "listeners[", "hostnames[", "targetRefs["];
    let start = LISTS.iter().filter_map(|list| message.find(list)).min()?;
    let rest = message.get(start..)?;
    let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || "[]._".contains(letter)));
    rest.get(..end.unwrap_or(rest.len())).map(|field| field.trim_end_matches('.'))
}

#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Fine,
    Note,
    Problem,
}

/// Without what only proxies can make right, and roll-ups, which repeat what others say.
fn judge(condition: &Value) -> Judgement {
    let (kind, status) = (text(condition, "type"), text(condition, "status"));
    match (kind, status) {
        ("Programmed" | "sluice.dev/Programmed" | "Ready", _) => Judgement::Fine,
        ("Conflicted", "True") => Judgement::Problem,
        ("OverlappingTLSConfig", "True") => Judgement::Note,
        ("Conflicted" | "OverlappingTLSConfig", _) => Judgement::Fine,
        ("RulesInOrder", "False") if text(condition, "reason") == "SpecificityWins" => Judgement::Note,
        (_, "False") => Judgement::Problem,
        _ => Judgement::Fine,
    }
}

fn text<'v>(condition: &'v Value, name: &str) -> &'v str {
    condition.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::offline::evaluated;
    use serde_json::json;

    #[test]
    fn conditions_count_by_what_their_status_means() {
        let table = [
            ("Accepted", "False", "NoMatchingParent", Judgement::Problem),
            ("Accepted", "True", "Accepted", Judgement::Fine),
            ("Accepted", "Unknown", "Pending", Judgement::Fine),
            ("Programmed", "False", "Pending", Judgement::Fine),
            ("sluice.dev/Programmed", "False", "NoReadyProxy", Judgement::Fine),
            ("Ready", "False", "NoReadyProxy", Judgement::Fine),
            ("Conflicted", "True", "HostnameConflict", Judgement::Problem),
            ("Conflicted", "False", "NoConflicts", Judgement::Fine),
            ("RulesInOrder", "False", "SpecificityWins", Judgement::Note),
            ("RulesInOrder", "False", "NeverMatches", Judgement::Problem),
        ];
        for (kind, status, reason, expected) in table {
            assert_eq!(judge(&json!({"type": kind, "status": status, "reason": reason})), expected, "{kind} {reason}");
        }
    }

    #[test]
    fn a_message_that_names_a_field_is_found_at_its_line() {
        let table = [
            ("rules[2].backendRefs[0]: Service a/b does not exist", Some("rules[2].backendRefs[0]")),
            ("the filter in rules[1].filters[0]. Remove it", Some("rules[1].filters[0]")),
            ("rules[1] second never matches: rules[0] first takes the same calls", Some("rules[1]")),
            ("no listener has the hostname", None),
        ];
        for (message, field) in table {
            assert_eq!(named_field(message), field, "{message}");
        }
    }

    const OVERLAP: &str = "
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{port: 9000}]
---
apiVersion: v1
kind: Service
metadata: {name: echo-v2}
spec:
  selector: {app: echo, version: v2}
  ports: [{port: 9000}]
---
apiVersion: sluice.dev/v1alpha1
kind: GrpcService
metadata: {name: shop}
spec:
  hostnames: [grpc.example.com]
  gateways: [{name: public, own: {}}]
  tls: {type: SelfSigned}
  backends:
  - {name: v1, service: {name: echo, port: 9000}}
  - {name: v2, service: {name: echo-v2, port: 9000}}
";

    #[test]
    fn a_service_is_linted_by_what_is_generated_from_it() {
        let found = problems(&evaluated(OVERLAP));
        let [problem] = &*found.iter().collect::<Vec<_>>() else { panic!("one problem: {found:?}") };
        assert!(problem.starts_with("a.yaml:6: Service default/echo: Service default/echo selects app=echo"), "{problem}");
    }

    #[test]
    fn a_mended_selector_and_a_missing_backend_are_seen() {
        let mended = OVERLAP.replace("selector: {app: echo}", "selector: {app: echo, version: v1}");
        assert_eq!(problems(&evaluated(&mended)), BTreeSet::new());
        let missing = mended.replace("service: {name: echo-v2", "service: {name: absent");
        let found = problems(&evaluated(&missing));
        assert!(found.iter().any(|line| line.starts_with("a.yaml:") && line.contains("BackendNotFound")), "{found:?}");
    }

    #[test]
    fn the_order_of_rules_is_a_note() {
        let mended = OVERLAP.replace("selector: {app: echo}", "selector: {app: echo, version: v1}");
        let rules = "  rules:\n  - {name: all}\n  - {name: one, matches: [{method: {service: echo.Echo}}]}\n";
        let evaluation = evaluated(&(mended + rules));
        assert_eq!(problems(&evaluation), BTreeSet::new());
        let notes = notes(&evaluation);
        assert!(notes.iter().any(|note| note.contains("rules[1] one is tried before rules[0] all")), "{notes:?}");
    }
}
