//! What the guide warns of: each sample has the status that it documents, and calls end as it says.

use sluice_tests::cluster::condition;

use crate::walk::{NAMESPACE, Walk};

/// Object, condition, status, reason, and a word of the message.
type Said = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// The sample, what is said, and what grpcurl prints of a call where the Gateway answers at all.
const PITFALLS: &[(&str, &[Said], Option<&str>)] = &[
    (
        "listener-protocol-mismatch",
        &[("grpcroute/echo-route", "Accepted", "False", "NotAllowedByListeners", "HTTP")],
        None,
    ),
    (
        "hostname-conflict",
        &[
            ("httproute/echo-http", "Accepted", "True", "Accepted", ""),
            ("grpcroute/echo-route", "Accepted", "False", "", "echo-http"),
        ],
        None,
    ),
    (
        "certificate-missing",
        &[
            ("gateway/grpc-gateway", "ResolvedRefs", "False", "", ""),
            ("gateway/grpc-gateway", "Programmed", "False", "Invalid", ""),
        ],
        None,
    ),
    ("certificate-invalid", &[("gateway/grpc-gateway", "Programmed", "False", "Invalid", "")], None),
    ("certificate-in-another-namespace", &[("gateway/grpc-gateway", "ResolvedRefs", "False", "", "")], None),
    (
        "backend-not-found",
        &[
            ("grpcroute/echo-route", "Accepted", "True", "Accepted", ""),
            ("grpcroute/echo-route", "ResolvedRefs", "False", "BackendNotFound", "grpc-ecko"),
        ],
        Some("Unavailable"),
    ),
    (
        "backend-port-not-found",
        &[("grpcroute/echo-route", "ResolvedRefs", "False", "BackendNotFound", "9000")],
        Some("Unavailable"),
    ),
];

#[test]
fn every_pitfall_of_the_guide_says_what_is_wrong() {
    for (sample, said, answer) in PITFALLS {
        let walk = Walk::begin();
        if *sample != "certificate-invalid" {
            walk.create_the_certificate();
        }
        walk.sample(&format!("pitfalls/{sample}.yaml"));
        for (what, kind, status, reason, word) in *said {
            let holds = |object: &serde_json::Value| {
                condition(object, kind).is_some_and(|(found, why, message)| {
                    found == *status && (reason.is_empty() || why == *reason) && message.contains(word)
                })
            };
            walk.cluster.until(NAMESPACE, what, holds).unwrap_or_else(|error| panic!("{sample}: {error:#}"));
        }
        if let Some(expected) = answer {
            let address = walk.address_of("grpc-gateway");
            walk.once("grpcroute/echo-route", "sluice.dev/Programmed", "True");
            let (_, complaint) = walk.grpcurl(&address, &["-d", "{}"], &["echo.Echo/Echo"]);
            // grpcurl asks for the descriptors first: that call ends like any other.
            assert!(complaint.contains(expected), "{sample}: {complaint}");
        }
    }
}

#[test]
fn the_overlap_of_the_guides_services_is_reported() {
    let walk = Walk::begin();
    walk.create_the_certificate();
    walk.deploy_the_canary();
    walk.sample("pitfalls/selectors-overlap.yaml");
    let told = |route: &serde_json::Value| {
        condition(route, "ResolvedRefs").is_some_and(|(status, _, message)| {
            status == "True" && message.contains("grpc-echo-v2") && message.contains("pods")
        })
    };
    walk.cluster.until(NAMESPACE, "grpcroute/echo-route", told).unwrap();
}
