//! Scenarios 1 to 3 and the cross-namespace pattern.

use serde_json::{Value, json};
use sluice_tests::cluster::{condition, says};

use crate::walk::{HOST, NAMESPACE, Walk};

const ECHO: &str = "echo.Echo/Echo";
const V1: &str = "grpc-echo-v1-";
const V2: &str = "grpc-echo-v2-";

/// The status that the guide shows, word for word, apart from times and the controller's name. Where Services select the same
/// pods, that is said behind these words.
fn shows_the_guides_status(route: &Value) {
    let parent = &route["status"]["parents"][0];
    assert_eq!(parent["controllerName"], "sluice.dev/gateway-controller");
    assert_eq!(parent["parentRef"]["name"], "grpc-gateway");
    for (kind, message) in [("Accepted", "Route is accepted"), ("ResolvedRefs", "All references are resolved")] {
        let (status, reason, said) = condition(route, kind).unwrap();
        assert_eq!((status.as_str(), reason.as_str()), ("True", kind));
        assert!(said.starts_with(message), "{said}");
    }
}

fn routes_by_content(walk: &Walk, address: &str) {
    let canary = walk.source(address, &["env: canary"], ECHO);
    assert!(canary.starts_with(V2), "{canary}");
    let method = walk.source(address, &[], "echo.Echo/EchoV2");
    assert!(method.starts_with(V2), "{method}");
}

fn default_calls_are_answered_by_v1(walk: &Walk, address: &str) {
    for _ in 0..50 {
        let source = walk.source(address, &[], ECHO);
        assert!(source.starts_with(V1), "{source}");
    }
}

fn explores_by_reflection(walk: &Walk, address: &str) {
    let (services, _) = walk.grpcurl(address, &[], &["list"]);
    assert_eq!(services, "echo.Echo\ngrpc.reflection.v1alpha.ServerReflection\n");
    let (service, _) = walk.grpcurl(address, &[], &["describe", "echo.Echo"]);
    for method in ["rpc Echo ( .echo.EchoRequest )", "rpc EchoV2 ( .echo.EchoRequest )"] {
        assert!(service.contains(method), "{service}");
    }
    let (message, _) = walk.grpcurl(address, &[], &["describe", "echo.EchoRequest"]);
    assert!(message.contains("string text = 1;"), "{message}");
}

/// The three scenarios with the guide's own objects; `default` says who must answer calls that no rule is about.
fn gateway_api_form(walk: &Walk, default: impl Fn(&Walk, &str)) {
    walk.create_the_certificate();
    walk.sample("01-hostname/gateway-api.yaml");
    let address = walk.address_of("grpc-gateway");
    shows_the_guides_status(&walk.once("grpcroute/echo-route", "sluice.dev/Programmed", "True"));
    default_calls_are_answered_by_v1(walk, &address);

    walk.deploy_the_canary();
    walk.sample("02-content/gateway-api.yaml");
    shows_the_guides_status(&walk.once("grpcroute/echo-route", "sluice.dev/Programmed", "True"));
    routes_by_content(walk, &address);
    default(walk, &address);

    walk.sample("03-reflection/gateway-api.yaml");
    shows_the_guides_status(&walk.once("grpcroute/echo-route", "sluice.dev/Programmed", "True"));
    explores_by_reflection(walk, &address);
    routes_by_content(walk, &address);
}

/// With the guide's own Service, which selects the pods of both versions.
fn as_the_guide_has_it(walk: &Walk) {
    let selector = json!([{"op": "remove", "path": "/spec/selector/version"}]).to_string();
    let patch = ["patch", "service", "grpc-echo", "--namespace", NAMESPACE, "--type", "json", "--patch", &selector];
    walk.cluster.kubectl(&patch).unwrap();
}

#[test]
fn as_written_either_version_answers_default_calls() {
    let walk = Walk::begin();
    as_the_guide_has_it(&walk);
    gateway_api_form(&walk, |walk, address| {
        for _ in 0..10 {
            let source = walk.source(address, &[], ECHO);
            assert!(source.starts_with(V1) || source.starts_with(V2), "{source}");
        }
    });
}

#[test]
fn mended_v1_answers_every_default_call() {
    let walk = Walk::begin();
    gateway_api_form(&walk, default_calls_are_answered_by_v1);
}

#[test]
fn the_same_with_grpcservices_alone() {
    let walk = Walk::begin();
    walk.deploy_the_canary();
    for (scenario, reflects) in [("01-hostname", false), ("02-content", false), ("03-reflection", true)] {
        walk.sample(&format!("{scenario}/grpcservice.yaml"));
        let service = walk.once("grpcservice/echo", "Ready", "True");
        let endpoint = &service["status"]["endpoints"][0];
        assert_eq!(endpoint["hostname"], HOST);
        let address = walk.address_of("echo-public");
        assert_eq!(address, format!("{}:{}", endpoint["address"].as_str().unwrap(), endpoint["port"]));
        default_calls_are_answered_by_v1(&walk, &address);
        if scenario != "01-hostname" {
            routes_by_content(&walk, &address);
        }
        if reflects {
            explores_by_reflection(&walk, &address);
        }
    }
    walk.cluster.kubectl(&["delete", "grpcservice", "echo", "--namespace", NAMESPACE, "--timeout=60s"]).unwrap();
    // What it generated goes with it, the garbage collector permitting.
    for kind in ["gateway/echo-public", "grpcroute/echo", "secret/echo-tls"] {
        walk.cluster.kubectl(&["wait", "--for=delete", kind, "--namespace", NAMESPACE, "--timeout=60s"]).unwrap();
    }
}

/// Applies the cross-namespace pattern in one of its forms, and calls through it.
fn across_namespaces(form: &str, route: &str, kind: &str) {
    let walk = Walk::begin();
    walk.cluster.kubectl(&["create", "namespace", "app-namespace"]).unwrap();
    let certificate = repository_command("samples/guide/certificate", &[HOST, "sluice-system"]);
    walk.cluster.apply("sluice-system", &certificate).unwrap();
    let file = format!("samples/guide/04-cross-namespace/{form}");
    walk.cluster.kubectl(&["apply", "--filename", &repository_path(&file)]).unwrap();
    let deployed = repository_text("samples/guide/00-application/v1.yaml");
    walk.cluster.apply("app-namespace", &deployed).unwrap();
    walk.cluster
        .kubectl(&["rollout", "status", "--namespace", "app-namespace", "deployment/grpc-echo-v1", "--timeout=60s"])
        .unwrap();
    walk.cluster.until("app-namespace", route, |object| says(object, kind, "True")).unwrap();
    let gateway = walk
        .cluster
        .until("sluice-system", "gateway/grpc-gateway", |object| says(object, "Programmed", "True"))
        .unwrap();
    let address = format!("{}:443", gateway["status"]["addresses"][0]["value"].as_str().unwrap());
    let source = walk.source(&address, &[], ECHO);
    assert!(source.starts_with(V1), "{source}");
}

fn repository_path(file: &str) -> String {
    sluice_tests::api_server::repository().join(file).to_string_lossy().into_owned()
}

fn repository_text(file: &str) -> String {
    std::fs::read_to_string(repository_path(file)).unwrap()
}

fn repository_command(file: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(repository_path(file)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_route_reaches_the_platforms_gateway_from_its_own_namespace() {
    across_namespaces("gateway-api.yaml", "grpcroute/echo-route", "sluice.dev/Programmed");
}

#[test]
fn a_grpcservice_reaches_the_platforms_gateway_from_its_own_namespace() {
    across_namespaces("grpcservice.yaml", "grpcservice/echo", "Ready");
}
