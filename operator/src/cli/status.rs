//! `sluice status`: how a running local mode is doing.

use super::get::fetch;
use crate::local::summary::{Summary, table};
use serde_json::Value;
use std::{fmt::Write as _, net::SocketAddr, process::ExitCode};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where `sluice local` has its admin interface
    #[arg(long, default_value = "127.0.0.1:9900", env = "SLUICE_ADMIN")]
    admin: SocketAddr,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let status = fetch(args.admin)?;
    super::print(&report(&status))?;
    let ready = status.get("ready") == Some(&Value::Bool(true));
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gateways, then what is not well, then what is wrong with the manifests.
fn report(status: &Value) -> String {
    let mut text = gateways(status);
    let objects = status.get("objects").and_then(Value::as_array).into_iter().flatten();
    let unwell = objects.filter_map(|object| {
        let summary = Summary::of(object);
        let name = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let bad = !summary.word.is_empty() && !summary.word.ends_with("=True");
        bad.then(|| {
            format!(
                "{} {}/{}: {} ({}): {}",
                name("/kind"),
                name("/metadata/namespace"),
                name("/metadata/name"),
                summary.word,
                summary.reason,
                summary.message
            )
        })
    });
    let findings = status.get("findings").and_then(Value::as_array).into_iter().flatten().filter_map(finding);
    for line in unwell.chain(findings) {
        // A String takes whatever is written to it.
        let _ = writeln!(text, "{line}");
    }
    text
}

fn gateways(status: &Value) -> String {
    let gateways = status.get("gateways").and_then(Value::as_object).into_iter().flatten();
    let rows = gateways.map(|(name, gateway)| {
        let number = |field: &str| gateway.get(field).unwrap_or(&Value::Null).to_string();
        let ports = gateway.get("ports").and_then(Value::as_object).into_iter().flatten();
        let ports: Vec<_> =
            ports.map(|(port, address)| format!("{port} at {}", address.as_str().unwrap_or_default())).collect();
        let listens = ports.join(", ");
        [name.clone(), listens, number("proxies"), number("ready"), number("revision"), number("resources")]
    });
    table(&["GATEWAY", "LISTENS", "PROXIES", "READY", "REVISION", "RESOURCES"], rows)
}

fn finding(finding: &Value) -> Option<String> {
    let text = |pointer: &str| finding.pointer(pointer).and_then(Value::as_str);
    let line = finding.pointer("/line")?;
    (text("/severity")? != "Note")
        .then(|| format!("{}:{line}: {}", text("/file").unwrap_or_default(), text("/message").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_names_gateways_what_is_not_well_and_findings_but_no_notes() {
        let finding = |severity: &str| json!({"file": "a.yaml", "line": 3, "severity": severity, "message": severity});
        let status = json!({
            "gateways": {"default/edge": {"ports": {"443": "127.0.0.1:8443"}, "proxies": 1, "ready": 1, "revision": 4, "resources": 9}},
            "objects": [{"kind": "GrpcService", "metadata": {"namespace": "default", "name": "echo"},
                "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Rejected", "message": "why"}]}}],
            "findings": [finding("Note"), finding("Error")],
        });
        let text = report(&status);
        for line in
            ["443 at 127.0.0.1:8443", "GrpcService default/echo: Ready=False (Rejected): why", "a.yaml:3: Error"]
        {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("Note"), "{text}");
    }
}
