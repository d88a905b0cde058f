//! `sluice import`

use super::offline::{Sources, evaluate, place};
use crate::local::store::has_errors;
use serde_json::Value;
use sluice_core::author::{self, Imported};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  sluice import -f gateway.yaml -f routes/ > services.yaml   # what cannot be carried over is said on stderr")]
pub(super) struct Args {
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let evaluation = evaluate(&args.sources);
    evaluation.findings.iter().for_each(|finding| eprintln!("{finding}"));
    let objects: Vec<Value> = evaluation.store.objects().values().cloned().collect();
    let Imported { services, notes } = author::import(&objects);
    for note in notes {
        let field = if note.path.is_empty() { String::new() } else { format!("{}: ", note.path) };
        eprintln!("{}: {field}{}", place(&evaluation.store, &note.object), note.message);
    }
    let documents: Result<Vec<_>, _> = services.iter().map(serde_saphyr::to_string).collect();
    super::print(&documents?.join("---\n"))?;
    Ok(if has_errors(&evaluation.findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
