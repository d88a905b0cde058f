//! `sluice lint`: what is wrong with manifests, and what is valid and hardly meant.

use super::offline::{Evaluation, Sources, evaluate};
use crate::local::{
    finding::{Finding, Severity},
    store::has_errors,
};
use serde_json::Value;
use sluice_core::lint;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "Each line is FILE:LINE: OBJECT: what is wrong; what to do. What follows `note:` informs only.

Examples:
  sluice lint -f manifests/
  kustomize build | sluice lint -f -")]
pub(super) struct Args {
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let findings = findings(&evaluate(&args.sources));
    let lines: Vec<_> = findings.iter().map(|finding| finding.to_string() + "\n").collect();
    super::print(&lines.concat())?;
    Ok(if has_errors(&findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All that is to be said, in the order of files and lines.
pub(super) fn findings(evaluation: &Evaluation) -> Vec<Finding> {
    let refused = evaluation.findings.iter().filter(|finding| finding.severity == Severity::Error).cloned();
    let traps = lint::lint(&evaluation.engine.state().world);
    let traps = traps.iter().map(|trap| evaluation.finding(Severity::Error, &trap.object, &trap.path, &trap.message));
    let mut findings: Vec<_> = refused.chain(said(evaluation)).chain(traps).collect();
    findings.sort();
    findings.dedup();
    findings
}

/// What statuses say. That of what is generated is left out: its service's status repeats it.
fn said(evaluation: &Evaluation) -> Vec<Finding> {
    let statuses = evaluation.statuses();
    let others = statuses.iter().filter(|(object, _)| evaluation.service_of(object).is_none());
    let conditions = others.flat_map(|(object, status)| {
        conditions(status, "spec").into_iter().map(move |(around, condition)| (object, around, condition))
    });
    conditions
        .filter_map(|(object, around, condition)| {
            let message = text(condition, "message");
            let path = named_field(message).map_or(around, |field| format!("spec.{field}"));
            let words = format!("{}: {message}", text(condition, "reason"));
            Some(evaluation.finding(judge(condition)?, object, &path, &words))
        })
        .collect()
}

/// The conditions of a status, each with the field that it is about.
fn conditions<'s>(status: &'s Value, around: &str) -> Vec<(String, &'s Value)> {
    let fields = status.as_object().into_iter().flatten();
    fields
        .flat_map(|(name, field)| {
            let items = field.as_array().into_iter().flatten();
            match name.as_str() {
                "conditions" => items.map(|condition| (around.to_owned(), condition)).collect(),
                "parents" => within(items, "spec.parentRefs"),
                "ancestors" => within(items, "spec.targetRefs"),
                // A service's list repeats what its own conditions say.
                "gateways" => Vec::new(),
                name => within(items, &format!("spec.{name}")),
            }
        })
        .collect()
}

fn within<'s>(items: impl Iterator<Item = &'s Value>, list: &str) -> Vec<(String, &'s Value)> {
    items.enumerate().flat_map(|(at, item)| conditions(item, &format!("{list}[{at}]"))).collect()
}

/// The field of a `spec` that a message names: `rules[2].backendRefs[0]`.
fn named_field(message: &str) -> Option<&str> {
    const LISTS: [&str; 4] = ["rules[", "listeners[", "hostnames[", "targetRefs["];
    let start = LISTS.iter().filter_map(|list| message.find(list)).min()?;
    let rest = message.get(start..)?;
    let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || "[]._".contains(letter)));
    rest.get(..end.unwrap_or(rest.len())).map(|field| field.trim_end_matches('.'))
}

/// Whether a condition is to be said. Not those that only proxies can make right, nor roll-ups, which repeat what
/// others say.
fn judge(condition: &Value) -> Option<Severity> {
    let (kind, status, reason) = (text(condition, "type"), text(condition, "status"), text(condition, "reason"));
    let is_bad = match kind {
        "Programmed" | "sluice.dev/Programmed" | "Ready" => false,
        "Conflicted" | "OverlappingTLSConfig" => status == "True",
        _ => status == "False",
    };
    let severity = match (kind, reason) {
        (_, "ListenersNotResolved" | "ListenersNotValid") => return None,
        ("OverlappingTLSConfig", _) | (_, "SpecificityWins") => Severity::Note,
        _ => Severity::Error,
    };
    is_bad.then_some(severity)
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
            ("Accepted", "False", "NoMatchingParent", Some(Severity::Error)),
            ("Accepted", "True", "Accepted", None),
            ("Accepted", "Unknown", "Pending", None),
            ("Accepted", "False", "ListenersNotResolved", None),
            ("Programmed", "False", "Pending", None),
            ("sluice.dev/Programmed", "False", "NoReadyProxy", None),
            ("Ready", "False", "NoReadyProxy", None),
            ("Conflicted", "True", "HostnameConflict", Some(Severity::Error)),
            ("Conflicted", "False", "NoConflicts", None),
            ("RulesInOrder", "False", "SpecificityWins", Some(Severity::Note)),
            ("RulesInOrder", "False", "NeverMatches", Some(Severity::Error)),
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
  gateways: [{name: public, own: {gatewayClassName: sluice}}]
  tls: {type: SelfSigned}
  backends:
  - {name: v1, service: {name: echo, port: 9000}}
  - {name: v2, service: {name: echo-v2, port: 9000}}
";

    fn mended() -> String {
        OVERLAP.replace("selector: {app: echo}", "selector: {app: echo, version: v1}")
    }

    fn lines(text: &str) -> Vec<String> {
        findings(&evaluated(text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_service_is_linted_by_what_is_generated_from_it() {
        let found = lines(OVERLAP);
        let [problem] = found.as_slice() else { panic!("one problem: {found:?}") };
        assert!(problem.starts_with("a.yaml:6: Service default/echo: selects app=echo and so reaches"), "{problem}");
    }

    #[test]
    fn a_mended_selector_is_silent_and_a_missing_backend_is_named() {
        assert_eq!(lines(&mended()), Vec::<String>::new());
        let found = lines(&mended().replace("service: {name: echo-v2", "service: {name: absent"));
        let named = |line: &String| line.starts_with("a.yaml:") && line.contains("BackendNotFound");
        assert!(found.iter().any(named), "{found:?}");
    }

    #[test]
    fn findings_are_in_the_order_of_lines_and_notes_are_no_problem() {
        let rules = "  rules:\n  - {name: all}\n  - {name: one, matches: [{method: {service: echo.Echo}}]}\n";
        let found = findings(&evaluated(&(mended() + rules)));
        assert!(!has_errors(&found), "{found:?}");
        let [note] = found.as_slice() else { panic!("one note: {found:?}") };
        assert_eq!((note.severity, note.place.line), (Severity::Note, 28));
        assert!(note.message.contains("rules[1] one is tried before rules[0] all"), "{note}");
        let broken = found_lines(&(OVERLAP.to_owned() + "---\nkind: [\n"));
        assert!(broken.is_sorted() && broken.len() == 2, "{broken:?}");
    }

    fn found_lines(text: &str) -> Vec<usize> {
        findings(&evaluated(text)).iter().map(|finding| finding.place.line).collect()
    }
}
