//! The guide's manifests, each with the status that it documents and the answers that callers get.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sluice_tests::{
    api_server::repository,
    calls::{Outcome, Speech, call},
    echoes::Echo,
    local::{Condition, Sluice},
    manifests::{Certificate, file},
    wire::Connection,
};
use tonic::Code;

const HOST: &str = "grpc.example.com";
const ECHO: &str = "/echo.Echo/Echo";

/// Kind, name, type of condition, status, reason, and a word of the message; an empty one is not looked at.
type Said = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);
/// The file, what is said, and how `echo.Echo/Echo` ends.
type Sample = (&'static str, &'static [Said], Option<Code>);

const ACCEPTED: Said = ("GRPCRoute", "echo-route", "Accepted", "True", "Accepted", "");
const RESOLVED: Said = ("GRPCRoute", "echo-route", "ResolvedRefs", "True", "ResolvedRefs", "");
const PROGRAMMED: Said = ("GRPCRoute", "echo-route", "sluice.dev/Programmed", "True", "", "");
const GATEWAY: Said = ("Gateway", "grpc-gateway", "Programmed", "True", "Programmed", "");
const READY: Said = ("GrpcService", "echo", "Ready", "True", "", "");

const SAMPLES: &[Sample] = &[
    ("01-hostname/gateway-api.yaml", &[ACCEPTED, RESOLVED, PROGRAMMED, GATEWAY], Some(Code::Ok)),
    ("02-content/gateway-api.yaml", &[ACCEPTED, RESOLVED, PROGRAMMED, GATEWAY], Some(Code::Ok)),
    ("03-reflection/gateway-api.yaml", &[ACCEPTED, RESOLVED, PROGRAMMED, GATEWAY], Some(Code::Ok)),
    ("05-weights/gateway-api.yaml", &[ACCEPTED, RESOLVED, PROGRAMMED, GATEWAY], Some(Code::Ok)),
    (
        "04-cross-namespace/gateway-api.yaml",
        &[
            ("GRPCRoute", "app-namespace/echo-route", "Accepted", "True", "Accepted", ""),
            ("GRPCRoute", "app-namespace/echo-route", "sluice.dev/Programmed", "True", "", ""),
        ],
        Some(Code::Ok),
    ),
    (
        "04-cross-namespace/grpcservice.yaml",
        &[("GrpcService", "app-namespace/echo", "Ready", "True", "", "")],
        Some(Code::Ok),
    ),
    ("01-hostname/grpcservice.yaml", &[READY], Some(Code::Ok)),
    ("02-content/grpcservice.yaml", &[READY], Some(Code::Ok)),
    ("03-reflection/grpcservice.yaml", &[READY], Some(Code::Ok)),
    ("05-weights/grpcservice.yaml", &[READY], Some(Code::Ok)),
    (
        "pitfalls/listener-protocol-mismatch.yaml",
        &[("GRPCRoute", "echo-route", "Accepted", "False", "NotAllowedByListeners", "HTTP")],
        None,
    ),
    (
        "pitfalls/hostname-conflict.yaml",
        &[
            ("GRPCRoute", "echo-route", "Accepted", "False", "", "echo-http"),
            ("HTTPRoute", "echo-http", "Accepted", "True", "Accepted", ""),
        ],
        None,
    ),
    (
        "pitfalls/certificate-missing.yaml",
        &[
            ("Gateway", "grpc-gateway", "ResolvedRefs", "False", "InvalidCertificateRef", "no-such-secret"),
            ("Gateway", "grpc-gateway", "Programmed", "False", "", ""),
        ],
        None,
    ),
    (
        "pitfalls/certificate-invalid.yaml",
        &[("Gateway", "grpc-gateway", "ResolvedRefs", "False", "InvalidCertificateRef", "PEM")],
        None,
    ),
    (
        "pitfalls/certificate-in-another-namespace.yaml",
        &[("Gateway", "grpc-gateway", "ResolvedRefs", "False", "RefNotPermitted", "ReferenceGrant")],
        None,
    ),
    (
        "pitfalls/backend-not-found.yaml",
        &[
            GATEWAY,
            PROGRAMMED,
            ACCEPTED,
            ("GRPCRoute", "echo-route", "ResolvedRefs", "False", "BackendNotFound", "grpc-ecko"),
        ],
        Some(Code::Unavailable),
    ),
    (
        "pitfalls/backend-port-not-found.yaml",
        &[
            GATEWAY,
            PROGRAMMED,
            ACCEPTED,
            ("GRPCRoute", "echo-route", "ResolvedRefs", "False", "BackendNotFound", "9000"),
        ],
        Some(Code::Unavailable),
    ),
    (
        "pitfalls/backend-in-another-namespace.yaml",
        &[
            GATEWAY,
            PROGRAMMED,
            ACCEPTED,
            ("GRPCRoute", "echo-route", "ResolvedRefs", "False", "RefNotPermitted", "ReferenceGrant"),
        ],
        Some(Code::Unavailable),
    ),
    ("pitfalls/no-default-rule.yaml", &[ACCEPTED, RESOLVED, PROGRAMMED], Some(Code::Unimplemented)),
    ("pitfalls/no-default-rule-grpcservice.yaml", &[READY], Some(Code::Unimplemented)),
    ("pitfalls/selectors-overlap.yaml", &[ACCEPTED, RESOLVED, PROGRAMMED], Some(Code::Ok)),
];

/// The guide's certificate, in the namespace of each of its Gateways, except where the sample brings it or lacks it.
fn certificates(certificate: &Certificate, sample: &str) -> String {
    let secret = certificate.secret("grpc-example-com-cert");
    let mut platform = secret.clone();
    platform["metadata"]["namespace"] = json!("sluice-system");
    if sample.contains("name: grpc-example-com-cert\ntype:") { file([platform]) } else { file([secret, platform]) }
}

/// What a client has to trust: the guide's certificate, or the authority that Sluice publishes.
fn authority(sluice: &Sluice, certificate: &Certificate) -> String {
    let published = sluice.object("ConfigMap", "echo-ca");
    let published = published.and_then(|map| map["data"]["ca.crt"].as_str().map(str::to_owned));
    published.unwrap_or_else(|| certificate.pem.clone())
}

async fn applied(sluice: &Sluice, certificate: &Certificate, sample: &str) {
    let text = fs::read_to_string(repository().join("samples/guide").join(sample)).unwrap();
    // The objects of one sample carry the names of the next: nothing of it may be left.
    for name in ["sample.yaml", "certificate.yaml"] {
        let _not_there_at_first = sluice.delete(name);
    }
    let alone = || {
        let status = sluice.status().ok()?;
        let kinds = ["Gateway", "GRPCRoute", "HTTPRoute", "GrpcService"];
        let left = |object: &Value| kinds.contains(&object["kind"].as_str().unwrap_or_default());
        let gone = !status["objects"].as_array()?.iter().any(left);
        // An Envoy that still drains holds its port, and the next Gateway would be given another one.
        (gone && sluice.envoys().is_empty()).then_some(())
    };
    sluice.until("end of the sample before", alone).await.unwrap();
    sluice.apply("certificate.yaml", &certificates(certificate, &text)).unwrap();
    sluice.apply("sample.yaml", &text).unwrap();
}

async fn holds(sluice: &Sluice, sample: &str, said: &Said) {
    let (kind, name, condition, status, reason, word) = *said;
    let found = sluice.condition((kind, name), condition, status).await;
    let found = found.unwrap_or_else(|error| panic!("{sample}: {error:#}"));
    let fits = |condition: &Condition| reason.is_empty() || condition.reason == reason;
    let fits = found.iter().any(|condition| fits(condition) && condition.message.contains(word));
    assert!(fits, "{sample}: {kind} {name}: {found:?}, not {reason} with {word}");
}

async fn answers(sluice: &Sluice, certificate: &Certificate, sample: &str, expected: Code) {
    let authority = authority(sluice, certificate);
    let connection = Connection::open(sluice.https(), HOST, &authority)
        .await
        .unwrap_or_else(|error| panic!("{sample}: {error:#}\n{}", sluice.said()));
    let outcome = call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap();
    assert_eq!(outcome.code(), expected, "{sample}: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_has_the_status_and_the_answers_that_it_documents() {
    let (v1, v2) = (Echo::start("v1").await.unwrap(), Echo::start("v2").await.unwrap());
    let certificate = Certificate::new(&[HOST]).unwrap();
    let application = ["v1", "v2"].map(|version| {
        fs::read_to_string(repository().join(format!("samples/guide/00-application/{version}.yaml"))).unwrap()
    });
    let given = |service: &str, echo: &Echo| ["--endpoints".to_owned(), format!("{service}={}", echo.address())];
    let arguments =
        [given("default/grpc-echo", &v1), given("app-namespace/grpc-echo", &v1), given("default/grpc-echo-v2", &v2)]
            .concat();
    let sluice = Sluice::start_with(&[("application.yaml", application.join("---\n"))], &arguments).await.unwrap();
    for (sample, said, answer) in SAMPLES {
        applied(&sluice, &certificate, sample).await;
        for said in *said {
            holds(&sluice, sample, said).await;
        }
        if let Some(expected) = answer {
            answers(&sluice, &certificate, sample, *expected).await;
        }
    }
}

#[test]
fn no_sample_is_forgotten() {
    let root = repository().join("samples/guide");
    let mut files = Vec::new();
    for directory in fs::read_dir(&root).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        files.extend(fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.path()));
    }
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    let untested = files.iter().map(|path| name(path)).filter(|name| !name.starts_with("00-application/"));
    let untested: Vec<_> = untested.filter(|name| !SAMPLES.iter().any(|sample| sample.0 == name)).collect();
    assert!(untested.is_empty(), "{untested:?} stand in no row");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_2_answers_by_header_by_method_and_by_default() {
    let (v1, v2) = (Echo::start("v1").await.unwrap(), Echo::start("v2").await.unwrap());
    let read = |sample: &str| fs::read_to_string(repository().join("samples/guide").join(sample)).unwrap();
    let manifests = [
        ("v1.yaml", read("00-application/v1.yaml")),
        ("v2.yaml", read("00-application/v2.yaml")),
        ("echo.yaml", read("02-content/grpcservice.yaml")),
    ];
    let arguments = [
        "--endpoints".to_owned(),
        format!("default/grpc-echo={}", v1.address()),
        "--endpoints".to_owned(),
        format!("default/grpc-echo-v2={}", v2.address()),
    ];
    let sluice = Sluice::start_with(&manifests, &arguments).await.unwrap();
    sluice.condition(("GrpcService", "echo"), "Ready", "True").await.unwrap();
    let authority = sluice.object("ConfigMap", "echo-ca").unwrap()["data"]["ca.crt"].as_str().unwrap().to_owned();
    let connection = Connection::open(sluice.https(), HOST, &authority).await.unwrap();
    let canary: &[(&str, &str)] = &[("env", "canary")];
    for (path, headers, expected) in [(ECHO, canary, "v2"), ("/echo.Echo/EchoV2", &[], "v2"), (ECHO, &[], "v1")] {
        for _ in 0..20 {
            let outcome = call(&connection, Speech::Grpc, path, headers).await.unwrap();
            assert_eq!(outcome, Outcome::Answered(expected.to_owned()), "{path} {headers:?}");
        }
    }
}
