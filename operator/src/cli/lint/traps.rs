//! What is valid and yet hardly meant.
//!
//! the world → warnings, each about one object
//!
//! Must not know: files.

use sluice_core::{
    hostname::Hostname,
    key::{Kind, NsName, Ref},
    world::{
        World,
        backend::{EndpointSlice, Service},
        gateway::Gateway,
        route::{Match, Matching, Route},
        secret::Secret,
    },
};
use std::collections::BTreeSet;
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

/// A warning and the object that it is about.
pub(super) type Warning = (Ref, String);

/// All warnings, by object.
pub(super) fn all(world: &World) -> Vec<Warning> {
    let routes = world.routes().iter();
    let mut found: Vec<_> = routes.flat_map(|(name, route)| of_route(name, route, world)).collect();
    for gateway in world.all::<Gateway>().values() {
        found.extend(uncovered(gateway, world));
    }
    found.sort();
    found.dedup();
    found
}

fn of_route(name: &Ref, route: &Route, world: &World) -> Vec<Warning> {
    let mut words = shared_pods(route, world);
    words.extend(unreachable_rules(route));
    words.extend(grpc_by_path(route));
    words.into_iter().map(|words| (name.clone(), words)).collect()
}

/// Two backends of one route that reach the same pods: their weights and rules do not divide the calls as written.
fn shared_pods(route: &Route, world: &World) -> Vec<String> {
    let targets = route.rules.iter().flat_map(|rule| &rule.backends).map(|backend| &backend.target);
    let namespace = |given: &Option<_>| given.clone().unwrap_or_else(|| route.metadata.key.namespace.clone());
    let names: BTreeSet<_> =
        targets.map(|target| NsName::new(namespace(&target.namespace), target.name.clone())).collect();
    let services: Vec<_> = names.iter().filter_map(|name| world.all::<Service>().get(name)).collect();
    let pairs = services
        .iter()
        .enumerate()
        .flat_map(|(index, one)| services.iter().skip(index + 1).map(move |other| (one, other)));
    pairs.filter_map(|(one, other)| overlap(one, other, world)).collect()
}

fn overlap(one: &Service, other: &Service, world: &World) -> Option<String> {
    let (first, second) = (&one.metadata.key, &other.metadata.key);
    let wider = |a: &Service, b: &Service| {
        !a.spec.selector.is_empty()
            && a.spec.selector.iter().all(|(name, value)| b.spec.selector.get(name) == Some(value))
    };
    let same_namespace = first.namespace == second.namespace;
    let selected = match (same_namespace && wider(one, other), same_namespace && wider(other, one)) {
        (true, _) => Some((first, second)),
        (_, true) => Some((second, first)),
        _ => None,
    };
    if let Some((wide, narrow)) = selected {
        return Some(format!(
            "the selector of Service {wide} also selects the pods of Service {narrow}, so calls to one reach the other: add a label that tells them apart, such as version, to the selector of {wide}"
        ));
    }
    let shared = addresses(first, world).intersection(&addresses(second, world)).next().cloned()?;
    Some(format!("Services {first} and {second} share the endpoint {shared}, so calls to one reach the other"))
}

fn addresses(service: &NsName, world: &World) -> BTreeSet<String> {
    let slices = world.all::<EndpointSlice>().values();
    let own = slices.filter(|slice| slice.key.namespace == service.namespace && slice.service == service.name);
    own.flat_map(|slice| {
        let ports = slice.ports.iter().filter_map(|port| port.port);
        ports.flat_map(|port| slice.endpoints.iter().map(move |endpoint| format!("{}:{port}", endpoint.address)))
    })
    .collect()
}

/// A rule all of whose matches stand in an earlier rule of the route: the earlier one always wins (R15: order decides at the end).
fn unreachable_rules(route: &Route) -> Vec<String> {
    let mut seen: Vec<(&Match, usize)> = Vec::new();
    let mut words = Vec::new();
    for (index, rule) in route.rules.iter().enumerate() {
        let earlier: Vec<_> =
            rule.matches.iter().map(|wanted| seen.iter().find(|(known, _)| *known == wanted)).collect();
        if let Some(Some((_, first))) =
            earlier.iter().find(|found| found.is_some()).filter(|_| earlier.iter().all(Option::is_some))
        {
            words.push(format!("rules[{index}] never matches: rules[{first}] has the same matches and comes first"));
        }
        seen.extend(rule.matches.iter().map(|wanted| (wanted, index)));
    }
    words
}

/// `/package.Service/Method` in an HTTPRoute works by accident of how gRPC uses HTTP.
fn grpc_by_path(route: &Route) -> Vec<String> {
    let matches =
        route.rules.iter().enumerate().flat_map(|(index, rule)| rule.matches.iter().map(move |found| (index, found)));
    let paths = matches.filter(|_| route.kind == Kind::HttpRoute).filter_map(|(index, found)| match &found.on {
        Matching::Http(http) if is_grpc(&http.path.value) => Some((index, &http.path.value)),
        _ => None,
    });
    paths
        .map(|(index, path)| {
            let mut parts = path.trim_start_matches('/').splitn(2, '/');
            let (service, method) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!(
                "rules[{index}] matches the gRPC path {path}: use a GRPCRoute with method {{service: {service}{}}}, which also answers in gRPC's own statuses",
                if method.is_empty() { String::new() } else { format!(", method: {method}") }
            )
        })
        .collect()
}

/// A package, a dot, and a service with a capital letter.
fn is_grpc(path: &str) -> bool {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let named = |part: &str| part.starts_with(|first: char| first.is_ascii_uppercase());
    service.rsplit_once('.').is_some_and(|(package, name)| !package.is_empty() && named(name))
}

/// A certificate whose names do not include the listener's hostname: clients that verify refuse it. A wildcard in a certificate
/// covers one label only, one in a listener any number.
fn uncovered(gateway: &Gateway, world: &World) -> Vec<Warning> {
    let name = Ref::new(Kind::Gateway, gateway.metadata.key.clone());
    let listeners = gateway.spec.listeners.iter().filter(|listener| !listener.hostname.is_any());
    let mut found = Vec::new();
    for listener in listeners {
        let certificates = listener.tls.iter().flat_map(|tls| &tls.certificate_refs);
        for reference in certificates {
            let namespace = reference.namespace.clone().unwrap_or_else(|| gateway.metadata.key.namespace.clone());
            let secret = NsName::new(namespace, reference.name.clone());
            let names = world.all::<Secret>().get(&secret).and_then(|held| names_of(held)).unwrap_or_default();
            found.extend(
                complaint(&listener.hostname, &secret, &names)
                    .map(|words| (name.clone(), format!("listener {}: {words}", listener.name))),
            );
        }
    }
    found
}

fn complaint(hostname: &Hostname, secret: &NsName, names: &[String]) -> Option<String> {
    let host = hostname.as_str();
    if names.is_empty() || names.iter().any(|name| covers(name, host)) {
        return None;
    }
    Some(format!(
        "the certificate of Secret {secret} is for {}, not for {host}: verifying clients refuse it",
        names.join(", ")
    ))
}

/// RFC 6125, section 6.4.3.
fn covers(name: &str, host: &str) -> bool {
    let parent = |text: &str| text.split_once('.').map(|(_, parent)| parent.to_ascii_lowercase());
    name.eq_ignore_ascii_case(host) || (name.starts_with("*.") && parent(name) == parent(host))
}

fn names_of(secret: &Secret) -> Option<Vec<String>> {
    let (_, pem) = parse_x509_pem(secret.get("tls.crt")?).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let extension = certificate.subject_alternative_name().ok().flatten()?;
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Some(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use sluice_core::world::{Change, Object, Settings};

    fn world(objects: Vec<(Kind, Value)>) -> World {
        let mut world = World::new(Settings::default());
        for (kind, value) in objects {
            world.apply(Change::Upsert(Object::decode(kind, value).unwrap()));
        }
        world
    }

    fn service(name: &str, selector: &Value) -> (Kind, Value) {
        (
            Kind::Service,
            json!({"metadata": {"namespace": "a", "name": name}, "spec": {"ports": [{"port": 1}], "selector": selector}}),
        )
    }

    fn route(rules: &Value) -> (Kind, Value) {
        (Kind::GrpcRoute, json!({"metadata": {"namespace": "a", "name": "r"}, "spec": {"rules": rules}}))
    }

    fn words(world: &World) -> String {
        all(world)
            .into_iter()
            .flat_map(|(object, words)| [object.to_string(), ": ".to_owned(), words, "\n".to_owned()])
            .collect()
    }

    #[test]
    fn a_selector_that_includes_another_backends_pods_is_named() {
        let rules = json!([{"backendRefs": [{"name": "v1", "port": 1}, {"name": "v2", "port": 1}]}]);
        let wide = service("v1", &json!({"app": "x"}));
        let narrow = service("v2", &json!({"app": "x", "version": "v2"}));
        let found = words(&world(vec![wide, narrow.clone(), route(&rules)]));
        assert!(found.contains("Service a/v1 also selects the pods of Service a/v2"), "{found}");
        let mended = service("v1", &json!({"app": "x", "version": "v1"}));
        assert_eq!(words(&world(vec![mended, narrow, route(&rules)])), "");
    }

    #[test]
    fn a_rule_that_repeats_earlier_matches_never_matches() {
        let same = json!({"matches": [{"method": {"service": "a.B"}}]});
        let found = words(&world(vec![route(&json!([same, {"matches": [{"method": {"service": "a.C"}}]}, same]))]));
        assert_eq!(found, "GRPCRoute a/r: rules[2] never matches: rules[0] has the same matches and comes first\n");
    }

    #[test]
    fn a_grpc_path_in_an_httproute_is_answered_with_the_grpcroute_to_write() {
        let spec = json!({"rules": [{"matches": [{"path": {"type": "Exact", "value": "/com.example.User/Login"}}]}]});
        let found =
            words(&world(vec![(Kind::HttpRoute, json!({"metadata": {"namespace": "a", "name": "r"}, "spec": spec}))]));
        assert!(found.contains("method {service: com.example.User, method: Login}"), "{found}");
        for (path, expected) in [("/", false), ("/api/v1.2", false), ("/echo.Echo/", true), ("/index.html", false)] {
            assert_eq!(is_grpc(path), expected, "{path}");
        }
    }

    #[test]
    fn a_wildcard_certificate_covers_one_label_only() {
        for (name, host, expected) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "example.com", false),
            ("A.example.com", "a.example.com", true),
        ] {
            assert_eq!(covers(name, host), expected, "{name} {host}");
        }
    }
}
