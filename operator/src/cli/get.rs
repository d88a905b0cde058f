//! `sluice get`: the objects of a running local mode, in the form of kubectl.

mod columns;

use crate::{
    client,
    local::summary::{table, text},
};
use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use columns::Width;
use http::Method;
use serde_json::{Value, json};
use sluice_core::key::Kind;
use std::{net::SocketAddr, process::ExitCode};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Kinds are named as in kubectl: grpcservice, grpcservices or gsvc; gateway or gtw; grpcroute, ….

Examples:
  sluice get                          # everything that has a status
  sluice get gsvc echo -o yaml
  sluice get gsvc/echo -o wide
  sluice get grpcroutes -n team-a"
)]
pub(super) struct Args {
    /// Kind, or KIND/NAME; all kinds that have a status if absent
    kind: Option<String>,
    /// Name; all if absent
    name: Option<String>,
    /// Namespace; all if absent
    #[arg(short, long)]
    namespace: Option<String>,
    /// All namespaces, as without -n
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
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
    let wanted = Wanted::read(args)?;
    let status = fetch(args.admin)?;
    let all: Vec<&Value> = status.get("objects").and_then(Value::as_array).into_iter().flatten().collect();
    let chosen: Vec<&Value> = all.iter().copied().filter(|object| wanted.includes(object)).collect();
    ensure!(!chosen.is_empty(), wanted.absence(&all));
    super::print(&match args.output {
        Output::Json => serde_json::to_string_pretty(&wanted.whole(&chosen))? + "\n",
        Output::Yaml => serde_saphyr::to_string(&wanted.whole(&chosen))?,
        Output::Table => tables(&chosen, &wanted, Width::Narrow, Utc::now()),
        Output::Wide => tables(&chosen, &wanted, Width::Wide, Utc::now()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is asked for.
struct Wanted<'a> {
    kind: Option<Kind>,
    name: Option<&'a str>,
    namespace: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn read(args: &'a Args) -> anyhow::Result<Self> {
        let written = args.kind.as_deref();
        let (kind, name) = match written.and_then(|written| written.split_once('/')) {
            Some((kind, name)) => (Some(kind), Some(name)),
            None => (written, args.name.as_deref()),
        };
        let namespace = args.namespace.as_deref().filter(|_| !args.all_namespaces);
        Ok(Self { kind: kind.map(kind_named).transpose()?, name, namespace })
    }

    fn is_kind(&self, object: &Value) -> bool {
        self.kind.map_or_else(|| object.get("status").is_some(), |kind| text(object, "/kind") == kind.name())
    }

    fn includes(&self, object: &Value) -> bool {
        self.is_kind(object)
            && self.name.is_none_or(|name| text(object, "/metadata/name") == name)
            && self.namespace.is_none_or(|namespace| text(object, "/metadata/namespace") == namespace)
    }

    /// What there is instead.
    fn absence(&self, all: &[&Value]) -> String {
        let kind = self.kind.map_or("object with a status", Kind::name);
        let name = self.name.map(|name| format!(" {name:?}")).unwrap_or_default();
        let place = self.namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        let others = all.iter().filter(|object| self.is_kind(object)).map(|object| path(object));
        let others: Vec<_> = others.collect();
        let hint = if others.is_empty() { "none at all".to_owned() } else { others.join(", ") };
        format!("no {kind}{name}{place}; there is {hint}")
    }

    /// One object by itself, several as a List, as kubectl prints them.
    fn whole(&self, chosen: &[&Value]) -> Value {
        match (chosen, self.name) {
            ([only], Some(_)) => (*only).clone(),
            _ => json!({"apiVersion": "v1", "kind": "List", "items": chosen}),
        }
    }
}

/// `namespace/name`.
fn path(object: &Value) -> String {
    match (text(object, "/metadata/namespace"), text(object, "/metadata/name")) {
        ("", name) => name.to_owned(),
        (namespace, name) => format!("{namespace}/{name}"),
    }
}

/// The document behind `/status`.
pub(super) fn fetch(admin: SocketAddr) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(client::request(Method::GET, &admin.into(), "/status")).with_context(|| {
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

/// A table for each kind, with an empty line between.
fn tables(objects: &[&Value], wanted: &Wanted, width: Width, now: DateTime<Utc>) -> String {
    let kinds = Kind::ALL.into_iter().filter_map(|kind| {
        let mut rows = objects.iter().copied().filter(|object| text(object, "/kind") == kind.name()).peekable();
        rows.peek()?;
        Some(one_table(kind, rows, wanted, width, now))
    });
    kinds.collect::<Vec<_>>().join("\n")
}

fn one_table<'v>(
    kind: Kind,
    objects: impl Iterator<Item = &'v Value>,
    wanted: &Wanted,
    width: Width,
    now: DateTime<Utc>,
) -> String {
    let columns: Vec<_> =
        columns::of(kind).into_iter().filter(|column| column.width == Width::Narrow || width == Width::Wide).collect();
    let space = (!kind.is_cluster_scoped()).then_some("NAMESPACE");
    let headers = columns.iter().map(|column| column.header);
    let header: Vec<_> = space.into_iter().chain(["NAME"]).chain(headers).chain(["AGE"]).collect();
    // Where kinds are mixed, a name says its kind.
    let prefix = wanted.kind.map_or_else(|| format!("{}/", kind.name().to_lowercase()), |_| String::new());
    let rows = objects.map(|object| {
        let namespace = space.map(|_| text(object, "/metadata/namespace").to_owned());
        let name = format!("{prefix}{}", text(object, "/metadata/name"));
        let cells = columns.iter().map(|column| column.cell(object));
        namespace.into_iter().chain([name]).chain(cells).chain([columns::age(object, now)]).collect::<Vec<_>>()
    });
    table(&header, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn objects() -> Vec<Value> {
        let object = |kind: &str, namespace: &str, name: &str| {
            let metadata = json!({"namespace": namespace, "name": name});
            json!({"kind": kind, "metadata": metadata, "spec": {}, "status": {}})
        };
        let services = ["default", "team-a"].map(|namespace| object("GrpcService", namespace, "echo"));
        services.into_iter().chain([object("Gateway", "default", "echo-public")]).collect()
    }

    fn wanted(kind: Option<Kind>, name: Option<&'static str>, namespace: Option<&'static str>) -> Wanted<'static> {
        Wanted { kind, name, namespace }
    }

    #[test]
    fn objects_are_chosen_by_kind_name_and_namespace() {
        let table = [
            (wanted(None, None, None), 3),
            (wanted(Some(Kind::GrpcService), None, None), 2),
            (wanted(Some(Kind::GrpcService), Some("echo"), Some("team-a")), 1),
            (wanted(Some(Kind::Gateway), Some("echo"), None), 0),
        ];
        for (wanted, count) in table {
            assert_eq!(objects().iter().filter(|object| wanted.includes(object)).count(), count);
        }
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_there_is() {
        let objects = objects();
        let all: Vec<_> = objects.iter().collect();
        let words = wanted(Some(Kind::GrpcService), Some("ech"), Some("team-a")).absence(&all);
        assert_eq!(words, "no GrpcService \"ech\" in namespace team-a; there is default/echo, team-a/echo");
        assert_eq!(wanted(Some(Kind::GrpcRoute), None, None).absence(&all), "no GRPCRoute; there is none at all");
    }

    #[test]
    fn kinds_have_tables_of_their_own_and_names_say_the_kind_where_they_are_mixed() {
        let objects = objects();
        let all: Vec<_> = objects.iter().collect();
        let now = DateTime::from_timestamp(0, 0).unwrap();
        let mixed = tables(&all, &wanted(None, None, None), Width::Narrow, now);
        let lines: Vec<Vec<&str>> = mixed.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAMESPACE", "NAME", "HOSTS", "ENDPOINT", "READY", "REASON", "AGE"]);
        assert_eq!(lines[1][..2], ["default", "grpcservice/echo"]);
        assert!(mixed.starts_with("NAMESPACE "), "no margin, as kubectl has none: {mixed}");
        assert_eq!((lines[3].len(), lines[4][2]), (0, "CLASS"));
        let alone = tables(&all[..1], &wanted(Some(Kind::GrpcService), None, None), Width::Wide, now);
        assert!(alone.contains("MESSAGE") && alone.contains(" echo "), "{alone}");
    }

    #[test]
    fn one_object_by_name_is_printed_by_itself_and_several_as_a_list() {
        let objects = objects();
        let only = wanted(None, Some("echo-public"), None).whole(&[&objects[2]]);
        assert_eq!(only["kind"], "Gateway");
        let list = wanted(None, None, None).whole(&[&objects[2]]);
        assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&json!("List"), &json!("Gateway")));
    }
}
