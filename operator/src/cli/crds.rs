//! `sluice crds`

use anyhow::Context as _;
use std::{fs, path::PathBuf, process::ExitCode};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluice crds | kubectl apply --server-side -f -")]
pub(super) struct Args {
    /// Write a file for each into this directory instead of printing them
    #[arg(long, value_name = "DIRECTORY")]
    write: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let crds = sluice_api::crds::render().context("rendering the CRDs")?;
    match &args.write {
        None => super::print(&crds.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("---\n"))?,
        Some(directory) => {
            for (name, text) in crds {
                let path = directory.join(name);
                fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
