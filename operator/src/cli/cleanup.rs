//! `sluice cleanup`

use crate::cluster::cleanup::{self, Options};
use anyhow::Context as _;
use sluice_core::key::NsName;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The chart runs this before it is uninstalled. It takes the operator's lease, so that none of its replicas puts back
what is taken off; they write nothing for two minutes. After the uninstall it runs once more, with --end, to give the lease up."
)]
pub(super) struct Args {
    /// Namespace of the install
    #[arg(long, env = "POD_NAMESPACE", default_value = "sluice-system")]
    namespace: String,
    /// Name of the operator's lease
    #[arg(long, env = "SLUICE_LEASE", default_value = "sluice")]
    lease: String,
    /// Namespaces to look into [default: all]
    #[arg(long, env = "SLUICE_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// Only give the lease up, once the operator is gone
    #[arg(long)]
    end: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let end = args.end;
    let options = Options { lease: NsName::new(args.namespace, args.lease), namespaces: args.watch_namespaces };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let count = runtime.block_on(async {
        let hint = "no cluster: run it in a pod with a service account, or with a KUBECONFIG";
        let client = kube::Client::try_default().await.context(hint)?;
        if end {
            return cleanup::end_reign(client, &options.lease).await.map(|()| None);
        }
        cleanup::run(client, &options).await.map(Some)
    })?;
    if let Some(count) = count {
        super::print(&format!("took the finalizer off {count} objects\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
