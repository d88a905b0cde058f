//! The engine after any history equals everything recomputed from its state.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::{
    key::{Kind, NsName, Ref},
    world::Change,
};
use sluice_engine::{Engine, Input, ProxyEvent, WriteOutcome, scratch};
use sluice_xds::{Id, ResourceType, Version};
use world::{
    Server, bind, class, clock, delete, engine, essence, gateway, grpc_route, http, https, meta, profile, put, rule,
    secret, service, slice, tls_secret,
};

/// One thing that happens. What depends on the engine (a revision, a certificate that it asked for) is decided when it happens.
#[derive(Clone, Debug)]
enum Op {
    Tell(Input),
    Connect {
        gateway: usize,
        proxy: usize,
    },
    /// Acknowledges the latest revision, or one of the `behind` ones before it.
    Sync {
        gateway: usize,
        proxy: usize,
        behind: u64,
    },
    Disconnect {
        gateway: usize,
        proxy: usize,
    },
    /// The proxy's pod takes new calls, or none, or is gone.
    Pod {
        gateway: usize,
        proxy: usize,
        state: Pod,
    },
    /// Refuses one of the resources that there are, whichever the number falls on.
    Refuse {
        gateway: usize,
        proxy: usize,
        resource: usize,
    },
    /// Neither takes nor refuses one.
    Stall {
        gateway: usize,
        proxy: usize,
        resource: usize,
    },
    /// Makes the key material that was asked for.
    Issue {
        certificate: usize,
    },
    /// Changes an object that was generated.
    Overwrite {
        object: usize,
    },
    /// Says how the latest write of an object ended, or an earlier one.
    Write {
        object: usize,
        behind: i64,
        outcome: WriteOutcome,
    },
}

#[derive(Clone, Copy, Debug)]
enum Pod {
    Ready,
    Unready,
    Gone,
}

const GATEWAYS: [&str; 3] = ["one", "two", "svc-own"];
const HOSTNAMES: [&str; 5] = ["a.example.com", "b.example.com", "*.example.com", "*.b.example.com", "other.net"];

/// A resource of a kind that proxies refuse: kinds take turns, so that the many hosts do not hide the others.
fn pick(engine: &Engine, gateway: &NsName, number: usize) -> Option<(Id, Version)> {
    use ResourceType::{Cluster, Listener, RouteConfiguration, Secret, VirtualHost};
    let kinds = [VirtualHost, VirtualHost, Cluster, Cluster, Secret, Listener, RouteConfiguration];
    let snapshot = engine.snapshots().get(gateway)?;
    let all: Vec<_> = snapshot.iter(kinds[number % kinds.len()]).collect();
    let resource = all.get((number / kinds.len()) % all.len().max(1))?;
    Some((resource.id.clone(), resource.version))
}

fn event(op: &Op, engine: &Engine) -> Option<ProxyEvent> {
    let name = |gateway: usize| NsName::new("a", GATEWAYS[gateway]);
    let proxy = |proxy: usize| format!("proxy-{proxy}").into();
    Some(match op {
        Op::Connect { gateway, proxy: p } => {
            ProxyEvent::Connected { gateway: name(*gateway), proxy: proxy(*p), stream: 1 }
        }
        Op::Disconnect { gateway, proxy: p } => {
            ProxyEvent::Disconnected { gateway: name(*gateway), proxy: proxy(*p), stream: 1 }
        }
        Op::Pod { gateway, proxy: p, state } => {
            let (gateway, proxy) = (name(*gateway), proxy(*p));
            match state {
                Pod::Ready => ProxyEvent::Ready { gateway, proxy },
                Pod::Unready => ProxyEvent::Unready { gateway, proxy },
                Pod::Gone => ProxyEvent::Gone { gateway, proxy },
            }
        }
        Op::Sync { gateway, proxy: p, behind } => {
            let latest = engine.snapshots().get(&name(*gateway))?.revision();
            let revision = latest.saturating_sub(*behind);
            ProxyEvent::Synced { gateway: name(*gateway), proxy: proxy(*p), stream: 1, revision }
        }
        Op::Refuse { gateway, proxy: p, resource } => {
            let (id, version) = pick(engine, &name(*gateway), *resource)?;
            let message = "missing ): ((".to_owned();
            ProxyEvent::Refused { gateway: name(*gateway), proxy: proxy(*p), id, version, message }
        }
        Op::Stall { gateway, proxy: p, resource } => {
            let forms = pick(engine, &name(*gateway), *resource).into_iter().collect();
            ProxyEvent::Stalled { gateway: name(*gateway), proxy: proxy(*p), forms }
        }
        Op::Tell(_) | Op::Issue { .. } | Op::Overwrite { .. } | Op::Write { .. } => return None,
    })
}

fn inputs(op: &Op, engine: &Engine, server: &mut Server) -> Vec<Input> {
    match op {
        Op::Tell(input) => {
            // Whoever deletes a generated object or its kind takes it from the API server, not from the engine.
            if let Input::Change(Change::Delete(object)) = input {
                server.desired.remove(object);
                server.statuses.remove(object);
            }
            if let Input::Change(Change::Served(kind, false)) = input {
                server.desired.retain(|object, _| object.kind != *kind);
            }
            vec![input.clone()]
        }
        Op::Issue { certificate } => {
            let issues = std::mem::take(&mut server.issues);
            issues.iter().map(|issue| put(Kind::Secret, tls_secret(&issue.metadata, *certificate))).collect()
        }
        Op::Overwrite { object } => {
            let objects = server.desired.iter().nth(object % server.desired.len().max(1));
            objects.and_then(|(object, value)| overwritten(object, value.clone(), engine)).into_iter().collect()
        }
        Op::Write { object, behind, outcome } => {
            let reference = server.written.keys().nth(object % server.written.len().max(1)).cloned();
            let wrote = |reference: Ref| Input::Wrote {
                generation: server.written.get(&reference).copied().unwrap_or_default() - behind,
                reference,
                outcome: outcome.clone(),
            };
            reference.map(wrote).into_iter().collect()
        }
        _ => event(op, engine).map(Input::from).into_iter().collect(),
    }
}

/// A generated object without its labels, and without hostnames if it is a route.
fn overwritten(object: &Ref, mut value: Value, engine: &Engine) -> Option<Input> {
    let known = engine.state().world.metadata(object)?;
    let own = &mut value["metadata"];
    own["uid"] = json!(&*known.uid);
    own["creationTimestamp"] = json!(known.created);
    own["generation"] = json!(known.generation + 1);
    own["labels"] = json!({});
    if object.kind == Kind::GrpcRoute {
        value["spec"]["hostnames"] = json!([]);
    }
    Some(put(object.kind, value))
}

fn hostname() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![1 => Just(None), 3 => prop::sample::select(&HOSTNAMES[..]).prop_map(Some)]
}

fn listener() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(&["x", "y"][..]);
    prop_oneof![
        (name.clone(), hostname()).prop_map(|(name, hostname)| http(name, 80, hostname)),
        (name, hostname(), prop::sample::select(&["cert", "svc-tls"][..]))
            .prop_map(|(name, hostname, secret)| https(name, 443, hostname, secret)),
        Just(json!({"name": "z", "port": 90, "protocol": "TCP"})),
    ]
}

fn listeners() -> impl Strategy<Value = Value> {
    let distinct = |listeners: Vec<Value>| {
        let by_name: std::collections::BTreeMap<String, Value> =
            listeners.into_iter().map(|listener| (listener["name"].to_string(), listener)).collect();
        Value::Array(by_name.into_values().collect())
    };
    prop::collection::vec(listener(), 1..4).prop_map(distinct)
}

fn parent() -> impl Strategy<Value = Value> {
    let section = prop_oneof![Just(Value::Null), Just(json!("x")), Just(json!("y"))];
    prop_oneof![
        (prop::sample::select(&GATEWAYS[..]), section.clone())
            .prop_map(|(name, section)| json!({"namespace": "a", "name": name, "sectionName": section})),
        section.prop_map(
            |section| json!({"kind": "ListenerSet", "namespace": "a", "name": "set", "sectionName": section})
        ),
    ]
}

fn target() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop::sample::select(&[("a", "s"), ("b", "s"), ("a", "t"), ("b", "missing")][..])
}

fn rules() -> impl Strategy<Value = Value> {
    let method = prop::sample::select(&[None, Some("Echo"), Some("EchoV2")][..]);
    let one = (method, target()).prop_map(|(method, (namespace, name))| rule(method, namespace, name));
    prop::collection::vec(one, 1..3).prop_map(Value::Array)
}

fn route() -> impl Strategy<Value = Input> {
    let identity = (prop::sample::select(&["a", "b"][..]), prop::sample::select(&["r", "q", "p"][..]));
    let names = prop::collection::vec(prop::sample::select(&HOSTNAMES[..]), 0..3);
    let kind = prop_oneof![2 => Just(Kind::GrpcRoute), 1 => Just(Kind::HttpRoute)];
    let parents = prop::collection::vec(parent(), 1..3);
    (kind, identity, 1..4_i64, 0..3_i64, names, parents, rules()).prop_map(
        |(kind, (namespace, name), generation, age, names, parents, rules)| {
            let metadata = meta(namespace, name, generation, age);
            if kind == Kind::GrpcRoute {
                return grpc_route(&metadata, &json!(parents), &names, &rules);
            }
            let backends = &rules[0]["backendRefs"];
            let rules =
                json!([{"matches": [{"path": {"type": "PathPrefix", "value": "/web"}}], "backendRefs": backends}]);
            put(
                kind,
                json!({"metadata": metadata, "spec": {"parentRefs": parents, "hostnames": names, "rules": rules}}),
            )
        },
    )
}

fn listener_set() -> impl Strategy<Value = Input> {
    (prop::sample::select(&GATEWAYS[..]), listeners(), 1..4_i64).prop_map(|(gateway, listeners, generation)| {
        let spec = json!({"parentRef": {"name": gateway}, "listeners": listeners});
        put(Kind::ListenerSet, json!({"metadata": meta("a", "set", generation, 3), "spec": spec}))
    })
}

fn grant() -> impl Strategy<Value = Input> {
    let from = prop::sample::select(&["GRPCRoute", "HTTPRoute", "Gateway"][..]);
    let to = prop::sample::select(&[("", "Service"), ("", "Secret"), ("gateway.networking.k8s.io", "Gateway")][..]);
    (from, to, prop::sample::select(&["a", "b"][..])).prop_map(|(from, (group, kind), namespace)| {
        let other = if namespace == "a" { "b" } else { "a" };
        let from = json!([{"group": "gateway.networking.k8s.io", "kind": from, "namespace": other}]);
        let spec = json!({"from": from, "to": [{"group": group, "kind": kind}]});
        put(Kind::ReferenceGrant, json!({"metadata": {"namespace": namespace, "name": "grant"}, "spec": spec}))
    })
}

fn policy() -> impl Strategy<Value = Input> {
    (prop::sample::select(&["r", "q", "svc"][..]), 1..5_u8, prop::sample::select(&["old", "new"][..])).prop_map(
        |(route, seconds, name)| {
            let target = json!([{"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "name": route}]);
            let spec = json!({"targetRefs": target, "timeouts": {"request": format!("{seconds}s")}});
            put(Kind::GrpcPolicy, json!({"metadata": meta("a", name, 1, 2), "spec": spec}))
        },
    )
}

fn backend_tls() -> impl Strategy<Value = Input> {
    let policies = prop::sample::select(&["tls", "younger"][..]);
    let san = prop::sample::select(&[None, Some("spiffe://a")][..]);
    (target(), 1..3_i64, policies, san).prop_map(|((namespace, name), generation, policy, san)| {
        let target = json!([{"group": "", "kind": "Service", "name": name}]);
        let names: Vec<_> = san.iter().map(|uri| json!({"type": "URI", "uri": uri})).collect();
        let authority = json!({"group": "", "kind": "ConfigMap", "name": "ca"});
        let validation = json!({"hostname": "a.io", "caCertificateRefs": [authority], "subjectAltNames": names});
        let spec = json!({"targetRefs": target, "validation": validation});
        put(Kind::BackendTlsPolicy, json!({"metadata": meta(namespace, policy, generation, 2), "spec": spec}))
    })
}

/// Authorities: two certificates, one after the other, or something else.
fn authorities() -> impl Strategy<Value = Input> {
    let texts = prop::sample::select(&[include_str!("world/a.crt"), include_str!("world/b.crt"), "none"][..]);
    (prop::sample::select(&["a", "b"][..]), texts).prop_map(|(namespace, text)| {
        put(Kind::ConfigMap, json!({"metadata": {"namespace": namespace, "name": "ca"}, "data": {"ca.crt": text}}))
    })
}

/// What a Gateway asks of its clients, and shows to backends.
fn gateway_tls() -> impl Strategy<Value = Value> {
    let authority = json!({"group": "", "kind": "ConfigMap", "name": "ca"});
    prop::sample::select(vec![
        json!({}),
        json!({"frontend": {"default": {"validation": {"caCertificateRefs": [authority]}}}}),
        json!({"backend": {"clientCertificateRef": {"name": "cert"}}}),
        json!({"backend": {"clientCertificateRef": {"name": "svc-tls"}}}),
    ])
}

fn profiles() -> impl Strategy<Value = Input> {
    let cleartext = prop::sample::select(&["Reject", "Allow"][..]);
    let shared = prop::sample::select(&["Reject", "ByContentType"][..]);
    let lock = prop::sample::select(&["AllowedRoutes", "AllowedRoutesAndReferenceGrant"][..]);
    (cleartext, shared, lock).prop_map(|(cleartext, shared, lock)| {
        profile(&json!({"cleartext": cleartext, "sharedHostnames": shared, "crossNamespaceAttachment": lock}))
    })
}

fn grpc_service() -> impl Strategy<Value = Input> {
    let names = prop::collection::vec(prop::sample::select(&HOSTNAMES[..2]), 1..3);
    let own = prop_oneof![
        Just(json!({"name": "own", "own": {"gatewayClassName": "sluice"}})),
        Just(json!({"name": "shared", "ref": {"name": "one"}})),
    ];
    (names, own, 1..4_i64, target(), any::<bool>()).prop_map(|(mut names, own, generation, (namespace, backend), reflection)| {
        names.dedup();
        let backends = json!([{"name": "only", "service": {"name": backend, "namespace": namespace, "port": 9000}}]);
        let reflection = reflection.then(|| json!({"backend": "only"}));
        let spec = json!({
            "hostnames": names, "gateways": [own], "tls": {"type": "SelfSigned"}, "backends": backends, "reflection": reflection,
        });
        put(Kind::GrpcService, json!({"metadata": meta("a", "svc", generation, 5), "spec": spec}))
    })
}

fn deletion() -> impl Strategy<Value = Input> {
    let objects = [
        (Kind::GatewayClass, "", "sluice"),
        (Kind::GatewayProfile, "", "p"),
        (Kind::Gateway, "a", "one"),
        (Kind::Gateway, "a", "two"),
        (Kind::Gateway, "a", "svc-own"),
        (Kind::ListenerSet, "a", "set"),
        (Kind::GrpcRoute, "a", "r"),
        (Kind::GrpcRoute, "a", "q"),
        (Kind::GrpcRoute, "b", "r"),
        (Kind::GrpcRoute, "a", "svc"),
        (Kind::HttpRoute, "a", "r"),
        (Kind::HttpRoute, "b", "q"),
        (Kind::ReferenceGrant, "a", "grant"),
        (Kind::ReferenceGrant, "b", "grant"),
        (Kind::GrpcPolicy, "a", "old"),
        (Kind::GrpcPolicy, "a", "new"),
        (Kind::BackendTlsPolicy, "a", "tls"),
        (Kind::ConfigMap, "a", "ca"),
        (Kind::Service, "a", "s"),
        (Kind::Service, "b", "s"),
        (Kind::EndpointSlice, "a", "s-1"),
        (Kind::Secret, "a", "cert"),
        (Kind::Secret, "a", "svc-tls"),
        (Kind::Namespace, "", "b"),
        (Kind::GrpcService, "a", "svc"),
    ];
    prop::sample::select(objects.to_vec()).prop_map(|(kind, namespace, name)| delete(kind, namespace, name))
}

fn namespace() -> impl Strategy<Value = Input> {
    (prop::sample::select(&["a", "b"][..]), prop::sample::select(&["x", "y"][..]))
        .prop_map(|(name, label)| put(Kind::Namespace, json!({"metadata": {"name": name, "labels": {"team": label}}})))
}

fn object() -> impl Strategy<Value = Input> {
    let gateways = (prop::sample::select(&GATEWAYS[..2]), 1..4_i64, listeners(), gateway_tls()).prop_map(
        |(name, generation, listeners, tls)| {
            let spec = json!({
                "gatewayClassName": "sluice", "listeners": listeners, "tls": tls,
                "allowedListeners": {"namespaces": {"from": "All"}},
            });
            put(Kind::Gateway, json!({"metadata": meta("a", name, generation, 9), "spec": spec}))
        },
    );
    let slices = (prop::sample::select(&["a", "b"][..]), prop::collection::vec(1..5_u8, 0..4))
        .prop_map(|(namespace, addresses)| slice(namespace, "s", "s-1", &addresses));
    prop_oneof![
        4 => gateways,
        2 => listener_set(),
        8 => route(),
        2 => grant(),
        2 => policy(),
        2 => backend_tls(),
        1 => authorities(),
        1 => profiles(),
        3 => grpc_service(),
        1 => namespace(),
        2 => slices,
        1 => prop::sample::select(&[Some("p"), None][..]).prop_map(class),
        2 => (prop::sample::select(&["cert", "svc-tls"][..]), 0..2_usize).prop_map(|(name, which)| secret(name, which)),
        2 => (target(), prop::sample::select(&[9000, 9001][..])).prop_map(|((namespace, name), port)| service(namespace, name, port)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let proxy = (0..GATEWAYS.len(), 0..2_usize);
    prop_oneof![
        12 => object().prop_map(Op::Tell),
        4 => deletion().prop_map(Op::Tell),
        1 => (prop::sample::select(&GATEWAYS[..]), prop::sample::select(&[80, 443][..])).prop_map(|(name, port)| Op::Tell(bind(name, port))),
        1 => (0..120_i64).prop_map(|days| Op::Tell(clock(days))),
        1 => proxy.clone().prop_map(|(gateway, proxy)| Op::Connect { gateway, proxy }),
        4 => (proxy.clone(), 0..2_u64).prop_map(|((gateway, proxy), behind)| Op::Sync { gateway, proxy, behind }),
        1 => proxy.clone().prop_map(|(gateway, proxy)| Op::Disconnect { gateway, proxy }),
        2 => (proxy.clone(), prop::sample::select(&[Pod::Ready, Pod::Unready, Pod::Gone][..]))
            .prop_map(|((gateway, proxy), state)| Op::Pod { gateway, proxy, state }),
        3 => (proxy.clone(), 0..200_usize).prop_map(|((gateway, proxy), resource)| Op::Refuse { gateway, proxy, resource }),
        1 => (proxy, 0..200_usize).prop_map(|((gateway, proxy), resource)| Op::Stall { gateway, proxy, resource }),
        2 => (0..2_usize).prop_map(|certificate| Op::Issue { certificate }),
        1 => (0..8_usize).prop_map(|object| Op::Overwrite { object }),
        2 => (0..8_usize, 0..2_i64, outcome()).prop_map(|(object, behind, outcome)| Op::Write { object, behind, outcome }),
        1 => (served(), any::<bool>()).prop_map(|(kind, served)| Op::Tell(Input::Change(Change::Served(kind, served)))),
    ]
}

fn outcome() -> impl Strategy<Value = WriteOutcome> {
    prop_oneof![
        (0..3_i64).prop_map(|stored| WriteOutcome::Done { stored }),
        Just(WriteOutcome::Foreign("kubectl-edit".into())),
        Just(WriteOutcome::Refused("it is forbidden".into())),
    ]
}

fn served() -> impl Strategy<Value = Kind> {
    prop::sample::select(&[Kind::ListenerSet, Kind::GrpcRoute, Kind::BackendTlsPolicy, Kind::GrpcPolicy][..])
}

/// A world in which most of what is drawn has an effect.
fn furnish(engine: &mut Engine, server: &mut Server) {
    let both = json!([http("x", 80, None), https("y", 443, Some("*.example.com"), "cert")]);
    let binds = GATEWAYS.iter().flat_map(|name| [bind(name, 80), bind(name, 443)]);
    let objects = [
        class(Some("p")),
        profile(&json!({"cleartext": "Allow"})),
        gateway("one", 1, &both),
        secret("cert", 0),
        service("a", "s", 9000),
    ];
    let reached =
        GATEWAYS.iter().map(|name| Input::Change(Change::Addresses(NsName::new("a", *name), vec!["10.0.0.1".into()])));
    server.take(&engine.step(binds.chain(objects).chain(reached)));
}

fn check(engine: &Engine, server: &mut Server) {
    let expected = scratch(engine.state());
    // Of what is no longer ours nothing is said; what was said last stays with the object.
    server.statuses.retain(|object, _| expected.statuses.contains_key(object));
    let world = &engine.state().world;
    let keeps = |gateway: &NsName| world.contains(&Ref::new(Kind::Gateway, gateway.clone()));
    for (gateway, runs) in &server.infrastructure {
        let wanted = expected.infrastructure.get(gateway);
        assert!(wanted.map_or_else(|| keeps(gateway), |wanted| wanted == runs), "what runs for {gateway}");
    }
    assert!(expected.infrastructure.keys().all(|gateway| server.infrastructure.contains_key(gateway)), "what runs");
    let remembered = engine.state().quarantine.memory();
    assert!(
        remembered.iter().all(|memory| world.routes().contains_key(memory.route())),
        "refusals of routes that are gone"
    );
    let (expected, mut found) = (essence(expected), essence(server.output(engine)));
    found.desired.retain(|object, _| !expected.leaving.contains(object));
    assert_eq!(found.resources, expected.resources, "resources");
    assert_eq!(
        found.statuses.keys().collect::<Vec<_>>(),
        expected.statuses.keys().collect::<Vec<_>>(),
        "who has a status"
    );
    for (object, status) in &expected.statuses {
        assert_eq!(found.statuses.get(object), Some(status), "status of {object}");
    }
    assert_eq!(found.desired, expected.desired, "desired objects");
    for (gateway, snapshot) in engine.snapshots() {
        assert_eq!(snapshot.closure(), [], "the snapshot of {gateway} is closed");
    }
}

/// `PROPTEST_CASES` histories, by default 2,500: that takes 30 s of CPU without optimisation.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2500);
    ProptestConfig { cases, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn after_any_history_the_engine_holds_what_a_recomputation_gives(batches in prop::collection::vec(prop::collection::vec(op(), 1..4), 1..16)) {
        let (mut engine, mut server) = (engine(), Server::default());
        furnish(&mut engine, &mut server);
        for batch in batches {
            let inputs: Vec<Input> = batch.iter().flat_map(|op| inputs(op, &engine, &mut server)).collect();
            server.take(&engine.step(inputs));
            check(&engine, &mut server);
        }
    }
}
