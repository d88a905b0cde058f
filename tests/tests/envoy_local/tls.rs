//! Certificates on both sides: what backends have to show and are shown, and what clients have to show.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    manifests::{Certificate, authorities, backend_tls, endpoints, everything_to, gateway, route, service},
    recorder::Recorder,
    stage::Stage,
    wire::Connection,
};
use tonic::Code;

const ECHO: &str = "/echo.Echo/Echo";

fn answered(outcome: &Outcome) -> bool {
    *outcome == Outcome::Answered("secure".to_owned())
}

fn refused(outcome: &Outcome) -> bool {
    outcome.code() == Code::Unavailable
}

/// A backend behind TLS, a route to it on `secure.example.com`, and those who may have signed its certificate.
fn scene(recorder: &Recorder, trusted: &Certificate, policy: Value) -> Vec<Value> {
    vec![
        service("secure"),
        endpoints("secure", recorder.address()),
        route("secure", "secure.example.com", &everything_to("secure")),
        authorities("authorities", &trusted.pem),
        policy,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_shows_a_certificate_of_the_authority_for_the_name_or_gets_no_call() {
    let (own, other) =
        (Certificate::new(&["in.local", "*.pods.local"]).unwrap(), Certificate::new(&["in.local"]).unwrap());
    let recorder = Recorder::start_tls("secure", &own, &other).await.unwrap();
    let named = |name: &str| json!([{"type": "Hostname", "hostname": name}]);
    let policy = |host: &str, names: &Value| backend_tls("secure", host, names);
    let stage = Stage::new(&[], scene(&recorder, &own, policy("in.local", &json!([])))).await.unwrap();
    stage.in_force("secure").await.unwrap();
    stage.until_answer("secure.example.com", ECHO, answered).await.unwrap();
    let seen = recorder.seen().pop().unwrap();
    assert_eq!((seen.sni.as_deref(), &*seen.authority, seen.peer), (Some("in.local"), "secure.example.com", None));
    let said = stage.sluice.condition(("BackendTLSPolicy", "secure"), "Accepted", "True").await.unwrap();
    assert_eq!(said.len(), 1);
    for (host, names, passes) in [
        ("other.local", json!([]), false),
        ("other.local", named("in.local"), true),
        ("in.local", named("other.local"), false),
        ("a.pods.local", json!([]), true),
        (
            "in.local",
            json!([{"type": "URI", "uri": "spiffe://a/b"}, {"type": "Hostname", "hostname": "in.local"}]),
            true,
        ),
        ("in.local", json!([{"type": "URI", "uri": "spiffe://a/b"}]), false),
    ] {
        stage.apply(scene(&recorder, &own, policy(host, &names))).unwrap();
        let expected = if passes { answered } else { refused };
        stage.until_answer("secure.example.com", ECHO, expected).await.unwrap();
    }
    // The authority is exchanged under the policy, and back.
    for (trusted, expected) in [(&other, refused as fn(&Outcome) -> bool), (&own, answered)] {
        stage.apply(scene(&recorder, trusted, policy("in.local", &json!([])))).unwrap();
        stage.until_answer("secure.example.com", ECHO, expected).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_carried_out_lets_no_call_through_in_clear() {
    let own = Certificate::new(&["in.local"]).unwrap();
    let recorder = Recorder::start("secure").await.unwrap();
    let mut documents = scene(&recorder, &own, backend_tls("secure", "in.local", &json!([])));
    let policy = documents.pop().unwrap();
    let stage = Stage::new(&[], &documents).await.unwrap();
    stage.until_answer("secure.example.com", ECHO, answered).await.unwrap();
    documents.pop();
    documents.push(policy);
    stage.apply(&documents).unwrap();
    stage.until_answer("secure.example.com", ECHO, refused).await.unwrap();
    let said = stage.sluice.condition(("BackendTLSPolicy", "secure"), "Accepted", "False").await.unwrap();
    assert_eq!(said[0].reason, "NoValidCACertificate");
    let before = recorder.seen().len();
    stage.call("secure.example.com", ECHO, &[]).await.unwrap();
    assert_eq!(recorder.seen().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_shows_its_certificate_to_backends_that_are_spoken_to_over_tls() {
    let (own, shown) = (Certificate::new(&["in.local"]).unwrap(), Certificate::new(&["edge.local"]).unwrap());
    let recorder = Recorder::start_tls("secure", &own, &shown).await.unwrap();
    let mut documents = scene(&recorder, &own, backend_tls("secure", "in.local", &json!([])));
    documents.push(shown.secret("shown"));
    let stage = Stage::new(&[], documents).await.unwrap();
    stage.until_answer("secure.example.com", ECHO, answered).await.unwrap();
    let mut showing = gateway("gateway", &["*.example.com"], "certificate");
    showing["spec"]["tls"] = json!({"backend": {"clientCertificateRef": {"name": "shown"}}});
    let file = sluice_tests::manifests::file([stage.certificate.secret("certificate"), showing]);
    stage.sluice.apply("gateway.yaml", &file).unwrap();
    let expected = CertificateDer::from_pem_slice(shown.pem.as_bytes()).unwrap();
    let is_told = |outcome: &Outcome| {
        answered(outcome) && recorder.seen().pop().and_then(|seen| seen.peer) == Some(expected.clone())
    };
    stage.until_answer("secure.example.com", ECHO, is_told).await.unwrap();
    let said = stage.sluice.condition(("Gateway", "gateway"), "ResolvedRefs", "True").await.unwrap();
    assert!(!said.is_empty());
}

/// The Gateway of the stage, asking its clients for certificates.
fn asking(stage: &Stage, mode: &str, trusted: &Certificate) -> String {
    let mut asking = gateway("gateway", &["*.example.com"], "certificate");
    let authority = json!({"group": "", "kind": "ConfigMap", "name": "clients"});
    let validation = json!({"caCertificateRefs": [authority], "mode": mode});
    asking["spec"]["tls"] = json!({"frontend": {"default": {"validation": validation}}});
    let clients = authorities("clients", &trusted.pem);
    sluice_tests::manifests::file([stage.certificate.secret("certificate"), clients, asking])
}

/// Whether a call gets through. With TLS 1.3 a client learns only from its first read that it was turned away.
async fn admitted(stage: &Stage, identity: Option<&Certificate>) -> bool {
    let (address, host, pem) = (stage.sluice.https(), "a.example.com", &stage.certificate.pem);
    let connection = match identity {
        Some(identity) => Connection::open_as(address, host, pem, identity).await,
        None => Connection::open(address, host, pem).await,
    };
    let Ok(connection) = connection else { return false };
    matches!(call(&connection, Speech::Grpc, ECHO, &[]).await, Ok(Outcome::Answered(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_a_certificate_of_the_authority_or_are_turned_away_unless_any_is_let_in() {
    let (known, unknown) = (Certificate::new(&["client"]).unwrap(), Certificate::new(&["client"]).unwrap());
    let stage = Stage::new(&["echo"], [route("a", "a.example.com", &everything_to("echo"))]).await.unwrap();
    stage.in_force("a").await.unwrap();
    assert!(admitted(&stage, None).await);
    for (mode, trusted, expected) in [
        ("AllowValidOnly", &known, [true, false, false]),
        ("AllowValidOnly", &unknown, [false, true, false]),
        ("AllowInsecureFallback", &known, [true, true, true]),
    ] {
        stage.sluice.apply("gateway.yaml", &asking(&stage, mode, trusted)).unwrap();
        let deadline = std::time::Instant::now() + sluice_tests::local::PATIENCE;
        loop {
            let identities = [Some(&known), Some(&unknown), None];
            let mut found = [false; 3];
            for (slot, identity) in found.iter_mut().zip(identities) {
                *slot = admitted(&stage, identity).await;
            }
            if found == expected {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{mode}: {found:?}\n{}", stage.sluice.said());
        }
    }
    let said = stage.sluice.condition(("Gateway", "gateway"), "InsecureFrontendValidationMode", "True").await.unwrap();
    assert_eq!(said[0].reason, "ConfigurationChanged");
}
