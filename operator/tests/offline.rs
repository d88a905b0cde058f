//! The offline commands as a user runs them: what is printed, where, and with which exit status.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test that called it")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

const SERVICE: &str = "apiVersion: sluice.dev/v1alpha1
kind: GrpcService
metadata: {name: NAME}
spec:
  hostnames: [NAME.example.com]
  gateways: [{name: public, own: {gatewayClassName: sluice}}]
  tls: {type: SelfSigned}
  backends:
  - {name: stable, service: {name: echo, port: 9000}}
";

const BACKENDS: &str = "apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {selector: {app: echo}, ports: [{port: 9000}]}
";

fn service(name: &str) -> String {
    SERVICE.replace("NAME", name)
}

fn manifests(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn sluice(command: &str, directory: &Path, more: &[&str]) -> Output {
    let mut sluice = Command::new(env!("CARGO_BIN_EXE_sluice"));
    sluice.arg(command).arg("-f").arg(directory).args(["--endpoints", "default/echo=127.0.0.1:9000"]).args(more);
    sluice.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn translate_prints_the_objects_that_a_service_becomes() {
    let directory = manifests(&[("a.yaml", &service("good")), ("b.yaml", BACKENDS)]);
    let output = sluice("translate", directory.path(), &[]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for line in ["kind: Gateway", "kind: GRPCRoute", "name: good-public", "- good.example.com"] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert!(!printed.contains("PRIVATE KEY"), "{printed}");
}

#[test]
fn translate_to_xds_prints_every_kind_of_resource_and_no_key() {
    let directory = manifests(&[("a.yaml", &service("good")), ("b.yaml", BACKENDS)]);
    let output = sluice("translate", directory.path(), &["-o", "xds"]);
    let printed = text(&output.stdout);
    for name in ["default/echo/9000/h2", "https-443/good.example.com", "default/good-tls"] {
        assert!(printed.contains(&format!("\"name\": \"{name}\"")), "{name}: {printed}");
    }
    assert!(printed.contains("127.0.0.1") && !printed.contains("PRIVATE KEY"), "{printed}");
}

#[test]
fn a_mistake_is_said_with_its_line_and_the_rest_is_translated() {
    let cases = [
        ("unknown field", service("bad").replace("hostnames", "hostname"), "bad.yaml:5: spec.hostname: unknown field"),
        (
            "rule of the schema",
            service("bad").replace("  tls: {type: SelfSigned}\n", ""),
            "bad.yaml:4: spec: tls is required",
        ),
        ("broken YAML", service("bad").replace("{name: bad}", "{name: bad"), "bad.yaml:"),
    ];
    for (case, bad, expected) in cases {
        let directory = manifests(&[("bad.yaml", &bad), ("good.yaml", &service("good")), ("b.yaml", BACKENDS)]);
        let output = sluice("translate", directory.path(), &[]);
        assert_eq!(output.status.code(), Some(1), "{case}");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{case}: {said}");
        let printed = text(&output.stdout);
        assert!(printed.contains("name: good-public") && !printed.contains("bad-public"), "{case}: {printed}");
    }
}

#[test]
fn lint_is_silent_about_what_is_right_and_exits_1_at_a_trap() {
    let right = manifests(&[("a.yaml", &service("good")), ("b.yaml", BACKENDS)]);
    let output = sluice("lint", right.path(), &[]);
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("", Some(0)));
    let canary = BACKENDS.replace("name: echo", "name: canary").replace("app: echo", "app: echo, version: v2");
    let both = service("good")
        .replace("port: 9000}}\n", "port: 9000}}\n  - {name: canary, service: {name: canary, port: 9000}}\n");
    let trap = manifests(&[("a.yaml", &both), ("b.yaml", BACKENDS), ("c.yaml", &canary)]);
    let output = sluice("lint", trap.path(), &["--endpoints", "default/canary=127.0.0.1:9001"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("b.yaml:4: Service default/echo: ") && said.contains("default/canary"), "{said}");
}
