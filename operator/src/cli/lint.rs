//! `sluice lint`

mod traps;

use super::offline::{Evaluation, Sources, evaluate, place};
use crate::local::finding::Severity;
use serde_json::Value;
use std::{collections::BTreeMap, process::ExitCode};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluice lint -f manifests/")]
pub(super) struct Args {
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let evaluation = evaluate(&args.sources);
    let problems = problems(&evaluation);
    super::print(&problems.iter().flat_map(|problem| [problem, "\n"]).collect::<String>())?;
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn problems(evaluation: &Evaluation) -> Vec<String> {
    let findings = evaluation.findings.iter().filter(|finding| finding.severity != Severity::Note);
    let mut problems: Vec<_> = findings.map(ToString::to_string).collect();
    let statuses: BTreeMap<_, _> = evaluation
        .steps
        .iter()
        .flat_map(|effects| &effects.statuses)
        .map(|update| (&update.target, &update.status))
        .collect();
    for (object, status) in statuses {
        let place = place(&evaluation.store, object);
        problems.extend(failures(status).into_iter().map(|failure| format!("{place}: {failure}")));
    }
    for (object, words) in traps::all(&evaluation.engine.state().world) {
        problems.push(format!("{}: {words}", place(&evaluation.store, &object)));
    }
    problems
}

/// What a status says is wrong, without what only proxies can make right.
fn failures(status: &Value) -> Vec<String> {
    match status {
        Value::Object(fields) => {
            let own = fields.get("conditions").and_then(Value::as_array).into_iter().flatten().filter_map(failure);
            let below = fields.iter().filter(|(name, _)| *name != "conditions").flat_map(|(_, field)| failures(field));
            own.chain(below).collect()
        }
        Value::Array(items) => items.iter().flat_map(failures).collect(),
        _ => Vec::new(),
    }
}

/// Conditions that wait for proxies are not the manifests' fault, and roll-ups repeat what others say.
const NOT_OURS: [&str; 4] = ["Programmed", "sluice.dev/Programmed", "Ready", "Conflicted"];

fn failure(condition: &Value) -> Option<String> {
    let text = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
    let bad = text("status") == "False" && !NOT_OURS.contains(&text("type"));
    bad.then(|| format!("{}: {}", text("reason"), text("message")))
}
