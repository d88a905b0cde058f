//! Every reason of every condition: what brings it about, and that its message says what to do.

use super::{authored, echo, object, observe, profile, put, service, world};
use crate::{
    author::{Progress, ServiceStatus, WriteOutcome, status},
    key::{Kind, NsName, Ref},
    world::{Change, Reader, Surfaces, World},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn of(world: &World) -> ServiceStatus {
    after(world, &BTreeMap::new())
}

fn after(world: &World, outcomes: &BTreeMap<Ref, WriteOutcome>) -> ServiceStatus {
    let authored = authored(world);
    status(&echo(), &authored, Progress { outcomes, served: Some(4) }, &Reader::new(world, &Surfaces::new())).unwrap()
}

fn said(status: &ServiceStatus, kind: &str) -> (String, String, String) {
    let condition = status.conditions().iter().find(|condition| condition.kind == kind).unwrap();
    (condition.status.as_str().to_owned(), condition.reason.to_owned(), condition.message.clone())
}

/// Asserts what one condition says.
#[track_caller]
fn assert_says(world: &World, kind: &str, (truth, reason, words): (&str, &str, &str)) {
    let (status, found, message) = said(&of(world), kind);
    assert_eq!((status.as_str(), found.as_str()), (truth, reason), "{message}");
    assert!(message.contains(words), "{reason}: {message:?} says {words:?}");
}

fn condition(kind: &str, truth: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": truth, "reason": reason, "message": message, "observedGeneration": 1})
}

fn parent_ref(kind: &str, name: &str) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": kind, "namespace": "shop", "name": name})
}

fn answer(world: &mut World, conditions: &[Value]) {
    let parent =
        json!({"parentRef": parent_ref("Gateway", "echo-public"), "controllerName": "c", "conditions": conditions});
    observe(world, &Ref::new(Kind::GrpcRoute, echo()), &json!({"parents": [parent]}));
}

/// What a route's parents say when all is well.
fn good() -> [Value; 3] {
    ["Accepted", "ResolvedRefs", "sluice.dev/Programmed"]
        .map(|kind| condition(kind, "True", kind.trim_start_matches("sluice.dev/"), ""))
}

/// A world in which the objects of a service are written, and its Gateway has an address.
fn written(spec: &Value) -> World {
    let mut world = world(&[service(spec)]);
    for desired in authored(&world).objects {
        let mut value = desired.value;
        value["metadata"]["generation"] = 1.into();
        put(&mut world, &value);
    }
    observe(&mut world, &gateway(), &json!({"addresses": [{"value": "10.0.0.1"}]}));
    world
}

fn gateway() -> Ref {
    Ref::new(Kind::Gateway, NsName::new("shop", "echo-public"))
}

/// A service that brings its own Secret, so that its certificate needs nobody.
fn with_secret(changes: &Value) -> Value {
    let mut spec = json!({"tls": {"type": "Secret", "certificateRefs": [{"name": "mine"}]}});
    spec.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    spec
}

fn ready() -> World {
    let mut world = written(&with_secret(&json!({})));
    put(&mut world, &object(Kind::Secret, "mine", json!({"data": {}})));
    answer(&mut world, &good());
    world
}

#[test]
fn a_service_whose_parents_all_agree_is_ready_and_serves_its_generation() {
    let status = of(&ready());
    assert_eq!(status.served_generation(), Some(1));
    let value = serde_json::to_value(&status).unwrap();
    let reasons: Vec<_> =
        value["conditions"].as_array().unwrap().iter().map(|condition| condition["reason"].as_str().unwrap()).collect();
    assert_eq!(
        reasons,
        ["Ready", "Generated", "Provided", "Accepted", "ResolvedRefs", "NotNeeded", "Programmed", "InOrder"]
    );
    assert_eq!(
        value["endpoints"],
        json!([{"gateway": "public", "hostname": "grpc.example.com", "address": "10.0.0.1", "port": 443}])
    );
    assert_eq!(value["gateways"][0]["name"], "public");
}

#[test]
fn where_a_gateway_is_reached_at_other_ports_than_its_listeners_the_endpoints_have_these() {
    let mut world = ready();
    let port = |world: &World| serde_json::to_value(of(world)).unwrap()["endpoints"][0]["port"].clone();
    for (ports, expected) in [(vec![(443, 30443), (80, 30080)], 30443), (vec![(80, 30080)], 443), (vec![], 443)] {
        world.apply(Change::Ports(gateway().key, ports.into_iter().collect()));
        assert_eq!(port(&world), expected);
    }
}

#[test]
fn every_condition_is_there_from_the_first_write() {
    let status = of(&world(&[service(&json!({}))]));
    let kinds: Vec<_> = status.conditions().iter().map(|condition| condition.kind).collect();
    let expected = [
        "Ready",
        "Generated",
        "CertificateReady",
        "Accepted",
        "ResolvedRefs",
        "PolicyAccepted",
        "Programmed",
        "RulesInOrder",
    ];
    assert_eq!(kinds, expected);
    assert!(status.conditions().iter().all(|condition| condition.observed_generation == 1));
    assert_eq!(status.served_generation(), Some(4), "what was served before stays");
}

#[test]
fn generated_says_what_stands_in_the_way_of_writing() {
    let route = Ref::new(Kind::GrpcRoute, echo());
    let refused = WriteOutcome::Refused("spec.rules[0].name: field not declared in schema".into());
    let table = [
        (None, "True", "Generated", "2 objects", "Applied"),
        (Some(WriteOutcome::Done { stored: 1 }), "True", "Generated", "2 objects", "Applied"),
        (Some(refused), "False", "ApplyFailed", "the API server refused GRPCRoute echo: spec.rules[0].name", "Failed"),
        (
            Some(WriteOutcome::Foreign("kubectl-edit".into())),
            "False",
            "FieldConflict",
            "GRPCRoute echo has fields that are managed by kubectl-edit: take them out there",
            "Foreign",
        ),
    ];
    for (outcome, truth, reason, words, state) in table {
        let outcomes = outcome.into_iter().map(|outcome| (route.clone(), outcome)).collect();
        let status = after(&ready(), &outcomes);
        let (found_truth, found, message) = said(&status, "Generated");
        assert_eq!((found_truth.as_str(), found.as_str()), (truth, reason));
        assert!(message.contains(words), "{message}");
        let entries = serde_json::to_value(&status).unwrap()["resources"].clone();
        assert_eq!(entries[1]["state"], state, "{entries}");
    }
    let mut foreign = world(&[service(&json!({}))]);
    put(&mut foreign, &object(Kind::GrpcRoute, "echo", json!({"spec": {}})));
    assert_says(
        &foreign,
        "Generated",
        (
            "False",
            "ForeignObject",
            "GRPCRoute echo exists and is owned by nobody: delete it, or annotate it with sluice.dev/adopt=echo",
        ),
    );
    let mut secret = world(&[service(&json!({}))]);
    put(&mut secret, &object(Kind::Secret, "echo-tls", json!({"data": {}})));
    assert_says(
        &secret,
        "Generated",
        ("False", "ForeignObject", "Secret echo-tls exists and is owned by nobody: delete it"),
    );
}

#[test]
fn nothing_is_said_of_a_generation_whose_objects_are_still_to_come() {
    let mut world = ready();
    let changed = with_secret(&json!({"backends": [{"name": "stable", "service": {"name": "other", "port": 9000}}]}));
    put(&mut world, &service(&changed));
    let pending = ("Unknown", "Pending", "GRPCRoute echo is being written");
    assert_says(&world, "Generated", pending);
    let route = Ref::new(Kind::GrpcRoute, echo());
    let done = |stored| BTreeMap::from([(route.clone(), WriteOutcome::Done { stored })]);
    assert_eq!(said(&after(&world, &done(2)), "Generated").1, "Pending", "written, and not yet seen");
    assert_eq!(said(&after(&world, &done(1)), "Generated").1, "Generated", "seen, with fields of others");
}

#[test]
fn a_secret_that_cannot_be_made_is_said_to_be() {
    let refused = WriteOutcome::Refused("secrets is forbidden".into());
    let outcomes = BTreeMap::from([(Ref::new(Kind::Secret, NsName::new("shop", "echo-ca")), refused)]);
    let status = after(&written(&json!({})), &outcomes);
    for (kind, expected) in [("Generated", "ApplyFailed"), ("CertificateReady", "IssuerFailed")] {
        let (truth, reason, message) = said(&status, kind);
        assert_eq!((truth.as_str(), reason.as_str()), ("False", expected));
        assert!(message.contains("Secret echo-ca cannot be made: secrets is forbidden"), "{message}");
    }
}

#[test]
fn what_needs_a_kind_that_is_not_served_says_what_to_install() {
    let shared = json!({"gateways": [{"name": "shared", "ref": {"name": "edge"}}]});
    let issuer = json!({"tls": {"type": "CertManager", "issuerRef": {"name": "acme"}}});
    let slow = json!({"rules": [{"name": "slow", "timeouts": {"request": "2s"}}]});
    let table = [
        (Kind::ListenerSet, shared, "install the CRDs of Gateway API v1.5 or later, or give the service a Gateway"),
        (Kind::GrpcRoute, json!({}), "install the CRDs of Gateway API v1.1 or later"),
        (Kind::GrpcPolicy, slow, "install the CRDs of this release of Sluice, or remove timeouts and retry"),
        (Kind::Certificate, issuer, "install cert-manager, or set tls.type to SelfSigned or Secret"),
    ];
    for (kind, spec, words) in table {
        let mut world = world(&[service(&spec)]);
        world.apply(Change::Served(kind, false));
        assert_says(&world, "Generated", ("False", "KindNotServed", words));
        assert_says(&world, "Ready", ("False", "KindNotServed", words));
        assert!(authored(&world).objects.iter().all(|it| it.is_writable() == (it.reference.kind != kind)), "{kind}");
    }
}

#[test]
fn guard_rails_name_the_rule_and_the_way_out() {
    let nobody = json!({"from": "None"});
    let grants = json!({"grants": [{"to": "Service", "namespace": "app-b"}]});
    let claim = json!({"hostnames": [{"suffix": "example.com", "namespaces": nobody}]});
    let table = [
        (
            json!({}),
            json!({"ownGateways": nobody}),
            "Generated",
            "OwnGatewayNotAllowed",
            "refer to a shared one with ref",
        ),
        (
            grants,
            json!({"grants": nobody}),
            "Generated",
            "GrantNotAllowed",
            "remove spec.grants or ask the platform team",
        ),
        (json!({}), claim.clone(), "Accepted", "HostnameNotAllowed", "grpc.example.com: example.com is claimed"),
        (json!({"gateways": null}), json!({}), "Accepted", "NoDefaultGateway", "add a gateway (own or ref)"),
        (
            json!({"gateways": [{"name": "edge", "ref": {"name": "edge"}}], "tls": null, "hostnames": null}),
            claim.clone(),
            "Accepted",
            "HostnameNotAllowed",
            "example.com is claimed for other namespaces by the platform's GatewayProfile: write hostnames",
        ),
    ];
    for (spec, rails, kind, reason, words) in table {
        let [rails, class] = profile(&rails);
        assert_says(&world(&[service(&spec), rails, class]), kind, ("False", reason, words));
    }
}

#[test]
fn nothing_is_said_of_a_secret_of_another_namespace_before_it_is_granted() {
    let spec = json!({"tls": {"type": "Secret", "certificateRefs": [{"name": "web", "namespace": "certs"}]}});
    let of_others = |kind: Kind, fields: Value| {
        let mut value = object(kind, "web", fields);
        value["metadata"]["namespace"] = "certs".into();
        value
    };
    let from = |kind: &str| json!([{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": "shop"}]);
    let grant = |kind: &str| {
        let to = json!([{"group": "", "kind": "Secret"}]);
        of_others(Kind::ReferenceGrant, json!({"spec": {"from": from(kind), "to": to}}))
    };
    let secret = of_others(Kind::Secret, json!({"data": {}}));
    let service = service(&spec);
    let certificate = |objects: &[Value]| said(&of(&world(objects)), "CertificateReady");
    let without = certificate(std::slice::from_ref(&service));
    assert_eq!(without.1, "RefNotPermitted");
    assert!(without.2.contains("create in namespace certs a ReferenceGrant"), "{}", without.2);
    assert_eq!(certificate(&[service.clone(), secret.clone()]), without, "whether it exists or not");
    assert_eq!(certificate(&[service.clone(), secret.clone(), grant("ListenerSet")]), without, "granted to others");
    assert_eq!(certificate(&[service.clone(), grant("Gateway")]).1, "SecretNotFound");
    assert_eq!(certificate(&[service, secret, grant("Gateway")]).1, "Provided");
}

#[test]
fn a_gateway_that_nobody_reaches_keeps_a_service_from_being_programmed() {
    let table = [
        (1, "AddressNotAssigned", "False", "AddressNotAssigned"),
        (1, "AddressNotUsable", "False", "RefusedByGateway"),
        (2, "AddressNotAssigned", "True", "Programmed"),
    ];
    for (generation, reason, truth, expected) in table {
        let mut world = ready();
        let mut own = authored(&world).objects.into_iter().find(|it| it.reference.kind == Kind::Gateway).unwrap().value;
        own["metadata"]["generation"] = generation.into();
        put(&mut world, &own);
        let condition = condition("Programmed", "False", reason, "no address");
        observe(&mut world, &gateway(), &json!({"conditions": [condition]}));
        let words = if truth == "True" { "every proxy" } else { "no address" };
        assert_says(&world, "Programmed", (truth, expected, words));
    }
}

#[test]
fn a_profile_that_is_named_and_absent_is_said_to_be() {
    let [_, class] = profile(&json!({}));
    assert_says(
        &world(&[service(&json!({})), class]),
        "Generated",
        ("False", "ProfileInvalid", "GatewayProfile rails does not exist: create it"),
    );
}

#[test]
fn certificate_ready_follows_the_secrets() {
    let issuer = json!({"tls": {"type": "CertManager", "issuerRef": {"name": "acme"}}});
    let listener = json!({"gateways": [{"name": "edge", "ref": {"name": "edge"}}], "tls": null});
    let table = [
        (json!({}), "Unknown", "Issuing", "Secret shop/echo-tls is being made"),
        (issuer, "Unknown", "Issuing", "cert-manager has not filled Secret shop/echo-tls"),
        (listener, "True", "ListenerCertificate", "bring their own"),
        (
            with_secret(&json!({})),
            "False",
            "SecretNotFound",
            "Secret shop/mine does not exist: create it with type kubernetes.io/tls",
        ),
    ];
    for (spec, truth, reason, words) in table {
        assert_says(&world(&[service(&spec)]), "CertificateReady", (truth, reason, words));
    }
    for reason in ["InvalidCertificateRef", "RefNotPermitted"] {
        let mut world = ready();
        let refused = condition("ResolvedRefs", "False", reason, "in the listener's words");
        observe(&mut world, &gateway(), &json!({"listeners": [{"name": "grpc-example-com", "conditions": [refused]}]}));
        let expected = if reason == "RefNotPermitted" { reason } else { "InvalidCertificate" };
        assert_says(&world, "CertificateReady", ("False", expected, "in the listener's words"));
    }
}

#[test]
fn accepted_and_resolved_refs_repeat_what_the_gateway_says() {
    let table = [
        ("Accepted", "NotAllowedByListeners", "NotAllowedByListeners"),
        ("Accepted", "NoMatchingListenerHostname", "NoMatchingListenerHostname"),
        ("Accepted", "NoMatchingParent", "NoMatchingParent"),
        ("Accepted", "UnsupportedValue", "UnsupportedValue"),
        ("Accepted", "IncompatibleFilters", "IncompatibleFilters"),
        ("Accepted", "SomethingElse", "RefusedByGateway"),
        ("ResolvedRefs", "BackendNotFound", "BackendNotFound"),
        ("ResolvedRefs", "RefNotPermitted", "RefNotPermitted"),
        ("ResolvedRefs", "InvalidKind", "InvalidKind"),
        ("ResolvedRefs", "UnsupportedProtocol", "UnsupportedProtocol"),
        ("ResolvedRefs", "SomethingElse", "RefusedByGateway"),
    ];
    for (kind, theirs, ours) in table {
        let mut world = ready();
        let conditions =
            good().map(|good| if good["type"] == kind { condition(kind, "False", theirs, "mend it") } else { good });
        answer(&mut world, &conditions);
        assert_says(&world, kind, ("False", ours, "mend it"));
        assert_says(&world, "Ready", ("False", ours, "mend it"));
    }
}

#[test]
fn a_gateway_that_is_absent_or_silent_is_named() {
    let mut silent = written(&with_secret(&json!({})));
    for kind in ["Accepted", "ResolvedRefs", "Programmed"] {
        assert_says(&silent, kind, ("Unknown", "Pending", "gateway public"));
    }
    silent.apply(Change::Delete(gateway()));
    assert_says(&silent, "Accepted", ("False", "ParentNotFound", "Gateway shop/echo-public does not exist"));
}

#[test]
fn an_answer_about_an_older_generation_is_no_answer() {
    let mut world = ready();
    let route = authored(&world).objects.into_iter().find(|desired| desired.reference.kind == Kind::GrpcRoute);
    let mut route = route.unwrap().value;
    route["metadata"]["generation"] = 2.into();
    put(&mut world, &route);
    assert_says(&world, "Accepted", ("Unknown", "Pending", "has not answered yet"));
}

#[test]
fn a_listener_set_that_is_refused_explains_the_route() {
    let gateways = json!([{"name": "shared", "ref": {"name": "edge"}}]);
    let mut world = written(&json!({"gateways": gateways}));
    put(&mut world, &object(Kind::Gateway, "edge", json!({"spec": {"gatewayClassName": "sluice", "listeners": []}})));
    let refused = condition("Accepted", "False", "NotAllowed", "allowedListeners");
    observe(
        &mut world,
        &Ref::new(Kind::ListenerSet, NsName::new("shop", "echo-shared")),
        &json!({"conditions": [refused]}),
    );
    assert_says(
        &world,
        "Accepted",
        ("False", "RefusedByGateway", "its ListenerSet is not accepted: NotAllowed: allowedListeners"),
    );
}

#[test]
fn programmed_repeats_what_the_proxies_say_and_only_then_is_the_generation_served() {
    for reason in ["Rejected", "NoReadyProxy", "AddressNotAssigned", "Invalid", "SomethingElse"] {
        let mut world = ready();
        let [accepted, resolved, _] = good();
        answer(
            &mut world,
            &[accepted, resolved, condition("sluice.dev/Programmed", "False", reason, "proxies' words")],
        );
        let expected = if reason == "SomethingElse" { "RefusedByGateway" } else { reason };
        assert_says(&world, "Programmed", ("False", expected, "proxies' words"));
        assert_eq!(of(&world).served_generation(), Some(4));
    }
}

#[test]
fn under_another_controller_the_gateways_own_condition_counts() {
    let mut world = ready();
    let [accepted, resolved, _] = good();
    answer(&mut world, &[accepted, resolved]);
    assert_says(&world, "Programmed", ("Unknown", "Pending", "waiting for its proxies"));
    observe(&mut world, &gateway(), &json!({"conditions": [condition("Programmed", "True", "Programmed", "")]}));
    assert_says(&world, "Programmed", ("True", "Programmed", ""));
}

#[test]
fn policies_are_judged_by_whoever_knows_them() {
    let rules = json!([{"name": "slow", "timeouts": {"request": "2s"}}]);
    let mut world = written(&with_secret(&json!({"rules": rules})));
    put(&mut world, &object(Kind::Secret, "mine", json!({"data": {}})));
    answer(&mut world, &good());
    assert_says(&world, "PolicyAccepted", ("Unknown", "Pending", "GrpcPolicy echo-slow has not been judged"));
    let policy = Ref::new(Kind::GrpcPolicy, NsName::new("shop", "echo-slow"));
    let table = [
        ("True", "Accepted", "in force"),
        ("False", "Conflicted", "mend it"),
        ("False", "Invalid", "mend it"),
        ("False", "TargetNotFound", "mend it"),
    ];
    for (truth, reason, words) in table {
        let conditions = [condition("Accepted", truth, reason, "mend it")];
        let ancestor = json!({
            "ancestorRef": parent_ref("Gateway", "echo-public"), "controllerName": "c", "conditions": conditions,
        });
        observe(&mut world, &policy, &json!({"ancestors": [ancestor]}));
        assert_says(&world, "PolicyAccepted", (truth, reason, words));
    }
    world.apply(Change::Served(Kind::BackendTlsPolicy, false));
    assert_says(&world, "PolicyAccepted", ("False", "Unsupported", "rules have names from v1.4 of the Gateway API on"));
    world.apply(Change::Served(Kind::BackendTlsPolicy, true));
    observe(&mut world, &policy, &json!({}));
    let [accepted, resolved, _] = good();
    answer(&mut world, &[accepted, resolved]);
    assert_says(&world, "PolicyAccepted", ("False", "Unsupported", "belongs to another controller"));
}

#[test]
fn rules_in_order_tells_where_reading_and_matching_differ() {
    let method = |service: &str, method: &str| json!([{"method": {"service": service, "method": method}}]);
    let header = json!([{"headers": [{"name": "env", "value": "canary"}]}]);
    let other = json!([{"headers": [{"name": "env", "value": "stable"}], "method": {"service": "echo.Echo"}}]);
    let expression = json!([{"method": {"type": "RegularExpression", "service": "echo.*"}}]);
    let table = [
        ("as written", json!([{"name": "a", "matches": method("echo.Echo", "X")}, {"name": "b"}]), "InOrder", "as"),
        ("no call for both", json!([{"name": "a", "matches": header}, {"name": "b", "matches": other}]), "InOrder", ""),
        (
            "longer service",
            json!([{"name": "a", "matches": header}, {"name": "b", "matches": method("echo.Echo", "X")}]),
            "SpecificityWins",
            "rules[1] b is tried before rules[0] a (longer service name)",
        ),
        ("more headers", json!([{"name": "a"}, {"name": "b", "matches": header}]), "SpecificityWins", "more headers"),
        (
            "an expression",
            json!([{"name": "a", "matches": expression}, {"name": "b", "matches": method("echo.Echo", "X")}]),
            "SpecificityWins",
            "an exact name goes before an expression",
        ),
        (
            "the same",
            json!([{"name": "a", "matches": header}, {"name": "b", "matches": header}]),
            "NeverMatches",
            "rules[1] b never matches: rules[0] a takes the same calls",
        ),
    ];
    for (name, rules, reason, words) in table {
        let (_, found, message) = said(&of(&world(&[service(&json!({"rules": rules}))])), "RulesInOrder");
        assert_eq!(found, reason, "{name}: {message}");
        assert!(reason == "InOrder" || message.contains(words), "{name}: {message}");
    }
}

#[test]
fn ready_names_a_failure_before_something_that_only_waits() {
    let mut world = written(&json!({}));
    answer(&mut world, &[condition("Accepted", "False", "NoMatchingParent", "no listener")]);
    assert_says(&world, "CertificateReady", ("Unknown", "Issuing", ""));
    assert_says(&world, "Ready", ("False", "NoMatchingParent", "no listener"));
}

#[test]
fn listeners_that_wait_for_a_certificate_that_is_being_made_have_not_failed() {
    let lacks = condition("ResolvedRefs", "False", "InvalidCertificateRef", "Secret shop/echo-tls does not exist");
    let listeners = json!({"listeners": [{"name": "grpc-example-com", "conditions": [lacks]}]});
    let refuse = |world: &mut World| {
        answer(world, &[condition("Accepted", "False", "NoMatchingParent", "no listener")]);
        observe(world, &gateway(), &listeners);
    };
    let mut issuing = written(&json!({}));
    refuse(&mut issuing);
    assert_says(&issuing, "Accepted", ("Unknown", "Pending", "its listeners wait for their certificate"));
    assert_says(&issuing, "Programmed", ("Unknown", "Pending", "its listeners wait for their certificate"));
    assert_says(&issuing, "Ready", ("False", "Issuing", "Secret shop/echo-tls is being made"));
    let mut provided = ready();
    refuse(&mut provided);
    assert_says(&provided, "Ready", ("False", "InvalidCertificate", "Secret shop/echo-tls does not exist"));
}

#[test]
fn backends_with_pods_in_common_are_told_whoever_serves_them() {
    let backends = json!([
        {"name": "stable", "service": {"name": "v1", "port": 9000}}, {"name": "canary", "service": {"name": "v2", "port": 9000}},
    ]);
    let mut world = written(&with_secret(&json!({"backends": backends})));
    put(&mut world, &object(Kind::Service, "v1", json!({"spec": {"selector": {"app": "echo"}}})));
    put(&mut world, &object(Kind::Service, "v2", json!({"spec": {"selector": {"app": "echo", "version": "v2"}}})));
    answer(&mut world, &good());
    let words =
        "every reference is resolved; Service shop/v1 selects app=echo and so reaches the pods of Service shop/v2";
    assert_says(&world, "ResolvedRefs", ("True", "ResolvedRefs", words));
}

/// A service on a Gateway of a class of another controller, whose only mark on the cluster is the statuses that it writes.
fn under_istio(spec: &Value) -> World {
    let own = json!([{"name": "public", "own": {"gatewayClassName": "istio"}}]);
    let mut fields = json!({"gateways": own});
    fields.as_object_mut().unwrap().append(&mut spec.as_object().unwrap().clone());
    let mut world = written(&with_secret(&fields));
    let class = json!({"spec": {"controllerName": ISTIO}});
    put(&mut world, &object(Kind::GatewayClass, "istio", class));
    put(&mut world, &object(Kind::Secret, "mine", json!({"data": {}})));
    world
}

const ISTIO: &str = "istio.io/gateway-controller";

/// An entry of the route's status; `truths` are those of Accepted and ResolvedRefs.
fn entry(controller: &str, generation: Option<i64>, truths: [&str; 2]) -> Value {
    let conditions = ["Accepted", "ResolvedRefs"].into_iter().zip(truths).map(|(kind, truth)| {
        let mut said = condition(kind, truth, kind, "in its words");
        match generation {
            Some(generation) => said["observedGeneration"] = generation.into(),
            None => drop(said.as_object_mut().unwrap().remove("observedGeneration")),
        }
        said
    });
    let conditions: Vec<Value> = conditions.collect();
    json!({"parentRef": parent_ref("Gateway", "echo-public"), "controllerName": controller, "conditions": conditions})
}

#[test]
fn under_another_controller_its_words_alone_count_and_only_those_about_what_is_there() {
    let good = ["True", "True"];
    let table = [
        ("says nothing yet", vec![], "Unknown", "Pending"),
        ("agrees", vec![entry(ISTIO, Some(1), good)], "True", "Accepted"),
        ("does not say of which generation", vec![entry(ISTIO, None, good)], "True", "Accepted"),
        ("refuses", vec![entry(ISTIO, Some(1), ["False", "True"])], "False", "RefusedByGateway"),
        (
            "follows another's answer",
            vec![entry(OURS, Some(1), ["False", "True"]), entry(ISTIO, Some(1), good)],
            "True",
            "Accepted",
        ),
        ("is silent where another answered", vec![entry(OURS, Some(1), good)], "Unknown", "Pending"),
    ];
    for (name, parents, truth, reason) in table {
        let mut world = under_istio(&json!({}));
        observe(&mut world, &Ref::new(Kind::GrpcRoute, echo()), &json!({"parents": parents}));
        let (status, found, message) = said(&of(&world), "Accepted");
        assert_eq!((status.as_str(), found.as_str()), (truth, reason), "the controller {name}: {message}");
    }
}

const OURS: &str = "sluice.dev/gateway-controller";

#[test]
fn an_answer_of_another_controller_about_an_older_generation_is_none() {
    let mut world = under_istio(&json!({}));
    let mut route = authored(&world).objects.into_iter().find(|it| it.reference.kind == Kind::GrpcRoute).unwrap().value;
    route["metadata"]["generation"] = 2.into();
    put(&mut world, &route);
    for (generation, reason) in [(1, "Pending"), (2, "Accepted")] {
        let parents = json!([entry(ISTIO, Some(generation), ["True", "True"])]);
        observe(&mut world, &Ref::new(Kind::GrpcRoute, echo()), &json!({"parents": parents}));
        assert_eq!(said(&of(&world), "Accepted").1, reason);
    }
}

#[test]
fn a_whole_answer_of_another_controller_makes_a_service_ready() {
    let mut world = under_istio(&json!({}));
    observe(
        &mut world,
        &Ref::new(Kind::GrpcRoute, echo()),
        &json!({"parents": [entry(ISTIO, Some(1), ["True", "True"])]}),
    );
    assert_says(&world, "Programmed", ("Unknown", "Pending", "waiting for its proxies"));
    observe(&mut world, &gateway(), &json!({"conditions": [condition("Programmed", "True", "Programmed", "")]}));
    assert_says(&world, "Ready", ("True", "Ready", ""));
    let programmed = condition("Programmed", "False", "NoResources", "out of addresses");
    observe(&mut world, &gateway(), &json!({"conditions": [programmed]}));
    assert_says(&world, "Programmed", ("False", "RefusedByGateway", "NoResources: out of addresses"));
}

#[test]
fn timeouts_under_another_controller_are_said_to_have_no_effect_before_it_answers() {
    let world = under_istio(&json!({"rules": [{"name": "slow", "timeouts": {"request": "2s"}}]}));
    assert_says(&world, "PolicyAccepted", ("False", "Unsupported", "belongs to another controller"));
}
