//! Certificates that change while the gateway serves.

use std::time::Instant;

use sluice_tests::{
    calls::Outcome,
    local::PATIENCE,
    manifests::{Certificate, everything_to, file, gateway, route},
    stage::Stage,
    wire::Connection,
};

const HOST: &str = "r.example.com";
const ECHO: &str = "/echo.Echo/Echo";

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_new_certificate_keeps_the_old_one_in_service_and_says_so() {
    let stage = Stage::new(&["echo"], [route("r", HOST, &everything_to("echo"))]).await.unwrap();
    stage.in_force("r").await.unwrap();
    let new = Certificate::new(&["*.example.com"]).unwrap();
    let bad = Certificate { pem: new.pem.clone(), key: stage.certificate.key.clone() };
    let manifest = |certificate: &Certificate| {
        file([certificate.secret("certificate"), gateway("gateway", &["*.example.com"], "certificate")])
    };
    stage.sluice.apply("gateway.yaml", &manifest(&bad)).unwrap();
    stage.sluice.condition(("Gateway", "gateway"), "ResolvedRefs", "False").await.unwrap();
    let status = stage.sluice.object("Gateway", "gateway").unwrap()["status"]["listeners"].to_string();
    assert!(status.contains("does not fit the first certificate"), "{status}");
    assert!(status.contains("the certificate that was there before stays in service"), "{status}");
    for _ in 0..5 {
        // A connection of its own each time, which trusts the old certificate alone.
        assert_eq!(stage.call(HOST, ECHO, &[]).await.unwrap(), Outcome::Answered("echo".to_owned()));
    }
    stage.sluice.apply("gateway.yaml", &manifest(&new)).unwrap();
    stage.sluice.condition(("Gateway", "gateway"), "ResolvedRefs", "True").await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = Connection::open(stage.sluice.https(), HOST, &new.pem).await {
        assert!(Instant::now() < deadline, "the mended certificate is not served: {error:#}");
    }
}
