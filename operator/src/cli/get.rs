//! `sluice get`: the objects of a running local mode, in the form of kubectl.

use crate::local::{
    client,
    summary::{self, Summary, text},
};
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use http::Method;
use serde_json::Value;
use sluice_core::key::Kind;
use std::{net::SocketAddr, process::ExitCode};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sluice get                          # everything that has a status
  sluice get gsvc echo -o yaml
  sluice get grpcroutes -n team-a -o wide")]
pub(super) struct Args {
    /// Kind, in the singular, the plural or short; all kinds that have a status if absent
    kind: Option<String>,
    /// Name; all if absent
    name: Option<String>,
    /// Namespace; all if absent
    #[arg(short, long)]
    namespace: Option<String>,
    /// Form
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Where `sluice local` has its admin interface
    #[arg(long, default_value = "127.0.0.1:9900", env = "SLUICE_ADMIN")]
    admin: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Wide,
    Yaml,
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let status = fetch(args.admin)?;
    let kind = args.kind.as_deref().map(kind_named).transpose()?;
    let all = status.get("objects").and_then(Value::as_array).into_iter().flatten();
    let wanted: Vec<_> = all.filter(|object| is_wanted(object, kind, args)).cloned().collect();
    if wanted.is_empty() {
        bail!("no such object: `sluice get` lists what there is");
    }
    match args.output {
        Output::Json => {
            let document = document(&wanted, args.name.as_deref());
            super::print(&(serde_json::to_string_pretty(&document)? + "\n"))?;
        }
        Output::Yaml => {
            let documents: Result<Vec<_>, _> = wanted.iter().map(serde_saphyr::to_string).collect();
            super::print(&documents?.join("---\n"))?;
        }
        Output::Table | Output::Wide => super::print(&(table(&wanted, args.output, Utc::now()) + "\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The object of that name, or a list, as kubectl prints them.
fn document(objects: &[Value], name: Option<&str>) -> Value {
    match (objects, name) {
        ([object], Some(_)) => object.clone(),
        _ => serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    }
}

/// The document behind `/status`.
pub(super) fn fetch(admin: SocketAddr) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(client::request(Method::GET, admin, "/status")).with_context(|| {
        format!("no `sluice local` answers at {admin}: start one, or name its address by --admin (it prints it)")
    })?;
    serde_json::from_str(&text).with_context(|| format!("{admin} is not `sluice local`"))
}

fn kind_named(text: &str) -> anyhow::Result<Kind> {
    let wanted = text.to_lowercase();
    let found = Kind::ALL.into_iter().find(|kind| names(*kind).contains(&wanted));
    found.with_context(|| {
        let all: Vec<_> = Kind::ALL.into_iter().map(|kind| kind.name().to_lowercase()).collect();
        format!("there is no kind {text:?}: known are {}", all.join(", "))
    })
}

fn names(kind: Kind) -> Vec<String> {
    let single = kind.name().to_lowercase();
    let plural = match single.strip_suffix('y') {
        Some(stem) if !stem.ends_with('a') => format!("{stem}ies"),
        _ if single.ends_with('s') => format!("{single}es"),
        _ => format!("{single}s"),
    };
    let short = match kind {
        Kind::GrpcService => "gsvc",
        Kind::Gateway => "gtw",
        Kind::GatewayClass => "gc",
        Kind::Service => "svc",
        Kind::ConfigMap => "cm",
        Kind::Namespace => "ns",
        Kind::ReferenceGrant => "refgrant",
        _ => return vec![single, plural],
    };
    vec![single, plural, short.to_owned()]
}

fn is_wanted(object: &Value, kind: Option<Kind>, args: &Args) -> bool {
    let of_kind = kind.map_or_else(|| object.get("status").is_some(), |kind| text(object, "/kind") == kind.name());
    let named = args.name.as_deref().is_none_or(|name| text(object, "/metadata/name") == name);
    let there = args.namespace.as_deref().is_none_or(|namespace| text(object, "/metadata/namespace") == namespace);
    of_kind && named && there
}

fn table(objects: &[Value], output: Output, now: DateTime<Utc>) -> String {
    let mut header = vec!["NAMESPACE", "KIND", "NAME", "STATUS", "REASON", "AGE"];
    if output == Output::Wide {
        header.push("MESSAGE");
    }
    let rows = objects.iter().map(|object| {
        let summary = Summary::of(object);
        let row = [
            text(object, "/metadata/namespace").to_owned(),
            text(object, "/kind").to_owned(),
            text(object, "/metadata/name").to_owned(),
            summary.word,
            summary.reason,
            age(text(object, "/metadata/creationTimestamp"), now),
        ];
        row.into_iter().chain((output == Output::Wide).then_some(summary.message)).collect::<Vec<_>>()
    });
    summary::table(&header, rows)
}

fn age(created: &str, now: DateTime<Utc>) -> String {
    let Ok(created) = created.parse::<DateTime<Utc>>() else { return String::new() };
    let seconds = (now - created).num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_found_by_any_of_their_names() {
        for (name, kind) in [
            ("gsvc", Kind::GrpcService),
            ("GRPCRoutes", Kind::GrpcRoute),
            ("gateway", Kind::Gateway),
            ("grpcpolicies", Kind::GrpcPolicy),
            ("gatewayclasses", Kind::GatewayClass),
        ] {
            assert_eq!(kind_named(name).unwrap(), kind, "{name}");
        }
        assert!(kind_named("pod").unwrap_err().to_string().contains("known are grpcservice,"));
    }

    #[test]
    fn a_table_shows_the_condition_that_tells_most() {
        let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "message": "why"});
        let route = json!({
            "kind": "GRPCRoute", "metadata": {"namespace": "default", "name": "echo", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "status": {"parents": [{"conditions": [condition("Accepted", "True", "Accepted"), condition("ResolvedRefs", "False", "BackendNotFound")]}]},
        });
        let now = DateTime::from_timestamp(180, 0).unwrap();
        let shown = table(&[route], Output::Wide, now);
        let words: Vec<_> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words, ["default", "GRPCRoute", "echo", "ResolvedRefs=False", "BackendNotFound", "3m", "why"]);
    }
}
