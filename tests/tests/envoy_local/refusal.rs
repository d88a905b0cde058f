//! What Envoy refuses although Sluice took it: a private key without its public half, of another certificate. Only arithmetic
//! with the key tells, and that is Envoy's.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sluice_tests::{
    calls::Outcome,
    manifests::{Certificate, everything_to, file, gateway, route},
    stage::Stage,
};

const ECHO: &str = "/echo.Echo/Echo";
const OTHERS: usize = 200;

/// Source: RFC 5915: version 1, 32 octets of key, the curve P-256, and no public key.
fn strangers_key() -> String {
    let mut der = vec![0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    der.extend([0x07; 32]);
    der.extend([0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
    format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n", STANDARD.encode(der))
}

fn named(index: usize) -> String {
    format!("r{index}")
}

fn others() -> impl Iterator<Item = Value> {
    (0..OTHERS).map(|index| route(&named(index), &format!("r{index}.example.com"), &everything_to("echo")))
}

fn answered() -> Outcome {
    Outcome::Answered("echo".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_resource_among_200_is_named_in_status_and_harms_no_other_and_recovers_once_mended() {
    let stage = Stage::new(&["echo"], others()).await.unwrap();
    for index in [0, OTHERS - 1] {
        stage.in_force(&named(index)).await.unwrap();
    }
    let good = Certificate::new(&["bad.example.org"]).unwrap();
    let bad = Certificate { pem: good.pem.clone(), key: strangers_key() };
    let second = gateway("gateway", &["*.example.com", "bad.example.org"], "certificate");
    let mut second = second;
    second["spec"]["listeners"][1]["tls"]["certificateRefs"][0]["name"] = "stranger".into();
    let manifest = |stranger: &Certificate| {
        let own = stage.certificate.secret("certificate");
        file([own, second.clone(), stranger.secret("stranger")])
    };
    stage.sluice.apply("gateway.yaml", &manifest(&bad)).unwrap();
    stage.sluice.apply("later.yaml", &file([route("later", "later.example.com", &everything_to("echo"))])).unwrap();
    stage.in_force("later").await.unwrap();
    let refused = stage.sluice.condition(("Gateway", "gateway"), "Programmed", "False").await.unwrap();
    assert!(refused.iter().all(|said| said.message.contains("stranger")), "the culprit is not named: {refused:?}");
    for host in ["r0.example.com", "r100.example.com", "r199.example.com", "later.example.com"] {
        assert_eq!(stage.call(host, ECHO, &[]).await.unwrap(), answered(), "{host}");
    }
    stage.sluice.apply("gateway.yaml", &manifest(&good)).unwrap();
    let mended = || {
        let gateway = stage.sluice.object("Gateway", "gateway")?;
        let listeners = gateway["status"]["listeners"].as_array()?;
        let programmed = |listener: &Value| {
            let conditions = listener["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|condition| condition["type"] == "Programmed" && condition["status"] == "True")
        };
        (listeners.len() == 2 && listeners.iter().all(programmed)).then_some(())
    };
    stage.sluice.until("recovery", mended).await.unwrap();
}
