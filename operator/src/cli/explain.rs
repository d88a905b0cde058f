//! `sluice explain`: what becomes of one call.

use super::{
    lint,
    offline::{Evaluation, Sources, evaluate},
};
use crate::local::finding::Severity;
use anyhow::bail;
use sluice_core::{
    explain::{Call, Trace, explain},
    ir::{Action, Fallback, Forward, HeaderEdits, Listener, PathEdit, Protocol, Route, VirtualHost},
    key::{NsName, Text},
    translate::HostKey,
};
use sluice_engine::hosts;
use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

/// Where gRPC is served unless it is said otherwise.
const HTTPS: u16 = 443;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is asked is what the proxies would be given, in the order in which they try it; nothing is called.
Exits 1 if neither a backend nor a redirect answers the call.

Examples:
  sluice explain -f manifests/ grpc.example.com echo.Echo/Echo
  sluice explain -f manifests/ -H 'env: canary' grpc.example.com:8443 echo.Echo/Echo
  sluice explain -f manifests/ --method GET -H 'content-type: text/html' www.example.com:80 '/shop?page=2'"
)]
pub(super) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// A header of the call; may be repeated. A POST has `content-type: application/grpc` unless it is said otherwise
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(Text, Text)>,
    /// The HTTP method
    #[arg(long, default_value = "POST")]
    method: Text,
    /// Only this Gateway
    #[arg(long, value_name = "NS/NAME")]
    gateway: Option<String>,
    /// Host, and the port of the Gateway's listener; 443 unless given
    #[arg(value_name = "HOST[:PORT]", value_parser = authority)]
    authority: (Text, u16),
    /// A method as grpcurl has it, or a path with its query
    #[arg(value_name = "SERVICE/METHOD")]
    path: String,
}

fn header(text: &str) -> Result<(Text, Text), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    Ok((name.trim().to_ascii_lowercase().into(), value.trim().into()))
}

fn authority(text: &str) -> Result<(Text, u16), &'static str> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| "the port is a number up to 65535")?),
        None => (text, HTTPS),
    };
    Ok((host.trim_end_matches('.').to_ascii_lowercase().into(), port))
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let evaluation = evaluate(&args.sources);
    let refused = evaluation.findings.iter().filter(|finding| finding.severity == Severity::Error);
    refused.for_each(|finding| eprintln!("{finding}"));
    let (text, is_answered) = report(&evaluation, args)?;
    super::print(&text)?;
    if is_answered {
        return Ok(ExitCode::SUCCESS);
    }
    // Whoever expected an answer may find the reason here.
    for finding in lint::findings(&evaluation) {
        eprintln!("{finding}");
    }
    Ok(ExitCode::FAILURE)
}

/// What each Gateway with a listener at the port does, and whether any of them has a backend or another place for it.
fn report(evaluation: &Evaluation, args: &Args) -> anyhow::Result<(String, bool)> {
    let mut plans = evaluation.plans();
    plans.retain(|plan| args.gateway.as_ref().is_none_or(|wanted| *wanted == plan.gateway.to_string()));
    let hosts = hosts(evaluation.engine.state());
    let (call, port) = (call(args), args.authority.1);
    let (mut texts, mut is_answered) = (Vec::new(), false);
    for plan in &plans {
        let Some(listener) = plan.listeners.iter().find(|listener| listener.port == port) else { continue };
        let trace = explain(listener, of_gateway(&hosts, &plan.gateway), &call);
        is_answered |= trace.taken().is_some_and(|route| !matches!(route.action, Action::Unavailable(_)));
        texts.push(told(&plan.gateway, listener, &trace, &call));
    }
    if texts.is_empty() {
        let ports = plans.iter().flat_map(|plan| plan.listeners.iter().map(|listener| (&plan.gateway, listener.port)));
        let ports: Vec<_> = ports.map(|(gateway, port)| format!("{gateway} at {port}")).collect();
        let there = if ports.is_empty() { "none serves anything".to_owned() } else { ports.join(", ") };
        bail!("no Gateway serves port {port}: {there}");
    }
    Ok((texts.join("\n"), is_answered))
}

fn of_gateway<'h>(
    hosts: &'h BTreeMap<HostKey, VirtualHost>,
    gateway: &'h NsName,
) -> impl Iterator<Item = &'h VirtualHost> {
    hosts.iter().filter(move |(key, _)| key.gateway == *gateway).map(|(_, host)| host)
}

fn call(args: &Args) -> Call {
    let (path, query) = args.path.split_once('?').unwrap_or((&args.path, ""));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut headers: BTreeMap<Text, Text> = BTreeMap::new();
    for (name, value) in &args.headers {
        let joined = headers.get(name).map(|before| format!("{before},{value}").into());
        headers.insert(name.clone(), joined.unwrap_or_else(|| value.clone()));
    }
    if *args.method == *"POST" {
        headers.entry("content-type".into()).or_insert_with(|| "application/grpc".into());
    }
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.entry(name.into()).or_insert_with(|| value.into());
    }
    Call { host: args.authority.0.clone(), path: path.into(), method: args.method.clone(), headers, query: parameters }
}

fn told(gateway: &NsName, listener: &Listener, trace: &Trace<'_>, call: &Call) -> String {
    let mut text = format!("Gateway {gateway}, port {}\n", listener.port);
    let mut say = |what: &str, words: &str| {
        // A String takes whatever is written to it.
        let _ = writeln!(text, "  {what:<10} {words}");
    };
    match (&trace.chain, &listener.protocol) {
        (Some(chain), _) => say("TLS", &format!("{}, certificate {}", chain.sni, chain.certificates.join(", "))),
        (None, Protocol::Https { .. }) => say("TLS", "no listener has this name: the connection is closed"),
        (None, Protocol::Http { .. }) => {}
    }
    if let Some(host) = trace.host {
        say("host", &host.domain.to_string());
    }
    for (route, lacks) in &trace.tried {
        let lacks = lacks.as_ref().map_or_else(|| "takes it".to_owned(), ToString::to_string);
        let (kind, name) = (route.origin.kind, &route.origin.route);
        say("rule", &format!("{kind} {name} {}: {lacks}", route.origin.rule_label()));
    }
    match (trace.taken(), trace.host) {
        (Some(route), _) => outcome(route).iter().for_each(|(what, words)| say(what, words)),
        (None, Some(host)) => say("answer", &otherwise(host, call)),
        (None, None) if trace.chain.is_some() || matches!(listener.protocol, Protocol::Http { .. }) => {
            say("answer", "404, which gRPC clients see as UNIMPLEMENTED: no route has this name");
        }
        (None, None) => {}
    }
    text
}

fn otherwise(host: &VirtualHost, call: &Call) -> String {
    match host.otherwise {
        Fallback::NotFound if host.routes.is_empty() => {
            format!("404, which gRPC clients see as UNIMPLEMENTED: no route serves {}", call.host)
        }
        Fallback::NotFound => {
            "404, which gRPC clients see as UNIMPLEMENTED: no rule takes it, and no wildcard host is asked then"
                .to_owned()
        }
        Fallback::Misdirected => {
            "421: another listener of the port has this name; ask on a connection of its own".to_owned()
        }
    }
}

/// What happens to a call that a route takes.
fn outcome(route: &Route) -> Vec<(&'static str, String)> {
    let mut lines = match &route.action {
        Action::Forward(forward) => forwarded(forward),
        Action::Unavailable(why) => vec![("answer", format!("UNAVAILABLE (500 of an HTTPRoute): {why}"))],
        Action::Redirect(redirect) => {
            let own = |own: &Option<Text>| own.as_deref().unwrap_or("(its own)").to_owned();
            let (scheme, host) = (own(&redirect.scheme), own(&redirect.hostname));
            let port = redirect.port.map_or(String::new(), |port| format!(":{port}"));
            let path = redirect.path.as_ref().map_or("(its own)".to_owned(), edited);
            vec![("answer", format!("{} to {scheme}://{host}{port}{path}", redirect.status))]
        }
    };
    lines.extend(edits("request", &route.request_headers));
    lines.extend(edits("response", &route.response_headers));
    let timeouts =
        [("request", route.timeouts.request), ("idle", route.timeouts.idle), ("stream", route.timeouts.max_stream)];
    let limits = timeouts.iter().filter_map(|(name, limit)| Some(format!("{name} {:?}", (*limit)?)));
    let limits: Vec<_> = limits.collect();
    if !limits.is_empty() {
        lines.push(("timeouts", limits.join(", ")));
    }
    if let Some(retry) = &route.retry {
        let on: Vec<_> = retry.on.iter().map(|on| &**on).chain(["no connection", "refused streams"]).collect();
        let each = retry.per_try.map_or(String::new(), |limit| format!(", {limit:?} each"));
        lines.push(("retries", format!("{} on {}{each}", retry.attempts, on.join(", "))));
    }
    lines
}

fn forwarded(forward: &Forward) -> Vec<(&'static str, String)> {
    let sum: u32 = forward.shares.iter().map(|share| share.weight).sum::<u32>() + forward.unavailable;
    let percent = |weight: u32| (f64::from(weight) * 1000.0 / f64::from(sum.max(1))).round() / 10.0;
    let mut lines = Vec::new();
    for share in &forward.shares {
        lines.push(("backend", format!("{} ({} %)", share.cluster, percent(share.weight))));
        lines.extend(edits("request", &share.request_headers));
        lines.extend(edits("response", &share.response_headers));
    }
    if forward.unavailable > 0 {
        let share = percent(forward.unavailable);
        let words =
            format!("none ({share} %), UNAVAILABLE (500 of an HTTPRoute): it does not exist or must not be used");
        lines.push(("backend", words));
    }
    let copies = forward.mirrors.iter().chain(forward.shares.iter().flat_map(|share| &share.mirrors));
    lines.extend(
        copies.map(|mirror| {
            ("copy", format!("{} ({} %)", mirror.cluster, f64::from(mirror.parts_per_million) / 10_000.0))
        }),
    );
    if let Some(rewrite) = &forward.rewrite {
        lines.extend(rewrite.hostname.as_ref().map(|hostname| ("host", format!("becomes {hostname}"))));
        lines.extend(rewrite.path.as_ref().map(|path| ("path", format!("becomes {}", edited(path)))));
    }
    lines
}

fn edited(path: &PathEdit) -> String {
    match path {
        PathEdit::Full(path) => path.to_string(),
        PathEdit::Prefix(path) => format!("{path}/…"),
    }
}

fn edits(of: &'static str, edits: &HeaderEdits) -> Option<(&'static str, String)> {
    let set = edits.set.iter().map(|(name, value)| format!("{name} = {value}"));
    let add = edits.add.iter().map(|(name, value)| format!("{name} + {value}"));
    let remove = edits.remove.iter().map(|name| format!("without {name}"));
    let all: Vec<_> = set.chain(add).chain(remove).collect();
    (!all.is_empty()).then(|| (of, format!("headers: {}", all.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::offline::evaluated;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn asked(manifests: &str, arguments: &[&str]) -> Result<(String, bool), String> {
        let arguments = ["explain", "-f", "unread"].iter().chain(arguments);
        let args = Command::try_parse_from(arguments).map_err(|error| error.to_string())?.args;
        report(&evaluated(manifests), &args).map_err(|error| error.to_string())
    }

    const SERVICE: &str = include_str!("../../../samples/guide/02-content/grpcservice.yaml");
    const GUIDE: &str = concat!(
        include_str!("../../../samples/guide/00-application/v1.yaml"),
        "\n---\n",
        include_str!("../../../samples/guide/00-application/v2.yaml"),
        "\n---\n",
        include_str!("../../../samples/guide/02-content/grpcservice.yaml"),
    );

    #[test]
    fn each_rule_that_is_tried_says_why_not_until_one_takes_the_call() {
        let (told, is_answered) = asked(GUIDE, &["grpc.example.com", "echo.Echo/Echo"]).unwrap();
        assert!(is_answered);
        assert_eq!(
            told,
            "Gateway default/echo-public, port 443
  TLS        grpc.example.com, certificate default/echo-tls
  host       grpc.example.com
  rule       GRPCRoute default/echo rules[1] v2-method: path is not /echo.Echo/EchoV2
  rule       GRPCRoute default/echo rules[0] canary-header: has no header env
  rule       GRPCRoute default/echo rules[2] default: takes it
  backend    default/grpc-echo/9000/h2 (100 %)
"
        );
        let (told, _) = asked(GUIDE, &["-H", "env: canary", "grpc.example.com:443", "/echo.Echo/Echo"]).unwrap();
        assert!(told.contains("rules[0] canary-header: takes it\n  backend    default/grpc-echo-v2/9000/h2"), "{told}");
    }

    #[test]
    fn what_nobody_takes_is_said_with_the_reason() {
        let (told, is_answered) = asked(GUIDE, &["other.example.com", "echo.Echo/Echo"]).unwrap();
        assert!(!is_answered && told.contains("no listener has this name"), "{told}");
        let (told, is_answered) = asked(GUIDE, &["-H", "content-type: text/html", "grpc.example.com", "/"]).unwrap();
        assert!(!is_answered && told.contains("content-type does not begin with application/grpc"), "{told}");
        let (told, is_answered) = asked(SERVICE, &["grpc.example.com", "echo.Echo/Echo"]).unwrap();
        assert!(!is_answered && told.contains("rules[2] of GRPCRoute default/echo has no usable backend"), "{told}");
        let nowhere = asked(GUIDE, &["grpc.example.com:80", "a/B"]);
        assert_eq!(nowhere, Err("no Gateway serves port 80: default/echo-public at 443".into()));
        assert!(asked(GUIDE, &["grpc.example.com:http", "a/B"]).unwrap_err().contains("the port is a number"));
    }

    const HTTP: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  hostnames: [shop.example.com]
  rules:
  - matches: [{path: {value: /old}, method: GET, queryParams: [{name: page, value: '2'}]}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, port: 8443, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
  - matches: [{path: {value: /bare}, queryParams: [{name: debug, type: RegularExpression, value: '.*'}]}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: debug.example.com}}]
";

    #[test]
    fn a_plain_request_is_followed_by_path_method_and_query() {
        let (told, is_answered) =
            asked(HTTP, &["--method", "GET", "shop.example.com.:80", "/old/x?page=2&page=3"]).unwrap();
        assert!(is_answered && told.ends_with("  answer     302 to https://(its own):8443/new/…\n"), "{told}");
        for (path, words) in [
            ("/old/x?page=3", "query parameter page is \"3\", not \"2\""),
            ("/older?page=2", "path is not /old, nor below it"),
            ("/old", "has no query parameter page"),
        ] {
            let (told, is_answered) = asked(HTTP, &["--method", "GET", "shop.example.com:80", path]).unwrap();
            assert!(!is_answered && told.contains(words) && told.contains("404"), "{path}: {told}");
        }
        let (told, _) = asked(HTTP, &["shop.example.com:80", "/old?page=2"]).unwrap();
        assert!(told.contains("HTTP method is not GET"), "{told}");
        assert!(
            asked(HTTP, &["shop.example.com:80", "/bare?debug"]).unwrap().1,
            "a parameter without a value is an empty one"
        );
        let (told, is_answered) = asked(HTTP, &["other.example.com:80", "/"]).unwrap();
        assert!(!is_answered && told.contains("no route serves other.example.com"), "{told}");
    }

    #[test]
    fn a_name_of_another_listener_is_answered_by_it_alone() {
        let elsewhere =
            GUIDE.replace("hostnames: [grpc.example.com]", "hostnames: [grpc.example.com, '*.example.com']");
        let asked = |host: &str| asked(&elsewhere, &[host, "echo.Echo/Echo"]).unwrap().0;
        assert!(asked("grpc.example.com").contains("  host       grpc.example.com\n"));
        assert!(asked("other.example.com").contains("  host       *.example.com\n"));
    }
}
