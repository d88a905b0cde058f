//! `sluice crds`

use crate::cluster::crds;
use anyhow::Context as _;
use std::{fs, path::PathBuf, process::ExitCode};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluice crds | kubectl apply --server-side -f -")]
pub(super) struct Args {
    /// Write a file for each into this directory instead of printing them
    #[arg(long, value_name = "DIRECTORY")]
    write: Option<PathBuf>,
    /// Bring those of the cluster up to date instead of printing them, as the chart does on upgrades
    #[arg(long, conflicts_with = "write")]
    apply: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.apply {
        return apply();
    }
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

fn apply() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let changed = runtime.block_on(async {
        let hint = "no cluster: run it in a pod with a service account, or with a KUBECONFIG";
        crds::apply(kube::Client::try_default().await.context(hint)?).await
    })?;
    match changed.as_slice() {
        [] => super::print("every CRD is up to date\n")?,
        names => super::print(&format!("brought up to date: {}\n", names.join(", ")))?,
    }
    Ok(ExitCode::SUCCESS)
}
