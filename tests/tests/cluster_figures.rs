//! How long people wait: from `helm install`, and from `kubectl apply`, to the first call that is answered.
//!
//! The figures go to the file that `SLUICE_FIGURES` names, if it does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an integration test is all test, but clippy knows only the functions marked so"
)]

use std::{
    fs::File,
    io::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    cluster::{Cluster, Release, Scene, grpc_service, says},
    manifests::Certificate,
    wire::Connection,
};
use tokio::sync::Mutex;

/// Services that are applied one after the other.
const SERVICES: usize = 60;
/// An answer that takes longer does not count as an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts to call.
const PACE: Duration = Duration::from_millis(5);

/// One takes its time after the other.
static TURN: Mutex<()> = Mutex::const_new(());

fn note(what: &str, figure: &str) {
    let Some(path) = std::env::var_os("SLUICE_FIGURES") else { return };
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    writeln!(file, "{what}: {figure}").unwrap();
}

/// Calls until one is answered.
async fn answered(address: SocketAddr, hostname: &str, authority: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let outcome = match Connection::open(address, hostname, authority).await {
            Ok(connection) => call(&connection, Speech::Grpc, "/echo.Echo/Echo", &[]).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Outcome::Answered(_)) => return,
            last => assert!(Instant::now() < deadline, "{hostname} does not answer within {PATIENCE:?}: {last:?}"),
        }
        // house(sleep): the pace of a poll with a deadline.
        tokio::time::sleep(PACE).await;
    }
}

/// The address of the default Gateway, once it has one.
fn default_address(cluster: &Cluster) -> SocketAddr {
    let profile = cluster.until("", "gatewayprofile/sluice", |_| true).unwrap();
    let name = profile["spec"]["defaultGateway"]["name"].as_str().unwrap();
    let programmed = |gateway: &Value| says(gateway, "Programmed", "True");
    let gateway = cluster.until(Release::NAMESPACE, &format!("gateway/{name}"), programmed).unwrap();
    SocketAddr::new(gateway["status"]["addresses"][0]["value"].as_str().unwrap().parse().unwrap(), 443)
}

/// An installed cluster with the echo application, and the certificate of the domain's names.
fn stage(name: &str, domain: &str) -> (Cluster, Scene, Certificate) {
    let cluster = Cluster::from_environment().unwrap();
    Release::ensure(&cluster).unwrap();
    let scene = Scene::set(&cluster, name).unwrap();
    let certificate = Certificate::new(&[&format!("*.{domain}")]).unwrap();
    let mut secret = certificate.secret("wildcard");
    secret["metadata"] = json!({"name": "wildcard", "namespace": scene.namespace.name});
    scene.apply(&secret).unwrap();
    (cluster, scene, certificate)
}

/// On the default Gateway, with a listener and the certificate of its own.
fn service(name: &str, domain: &str) -> Value {
    let mut service = grpc_service(name, &format!("{name}.{domain}"));
    service["spec"]["tls"] = json!({"type": "Secret", "certificateRefs": [{"name": "wildcard"}]});
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn from_install_to_the_first_answer_it_takes_15_seconds_at_most() {
    let _turn = TURN.lock().await;
    let domain = "install.example.com";
    let (cluster, scene, certificate) = stage("figures-install", domain);
    let gone = ["uninstall", Release::NAME, "--namespace", Release::NAMESPACE, "--wait", "--timeout", "120s"];
    cluster.helm(&gone).unwrap();
    let pods = ["wait", "--for=delete", "--namespace", Release::NAMESPACE, "pods", "--all", "--timeout=120s"];
    cluster.kubectl(&pods).unwrap();
    let arguments = Release::upgrade(&[]).unwrap();
    let begin = Instant::now();
    cluster.helm(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let installed = begin.elapsed();
    scene.apply(&service("first", domain)).unwrap();
    answered(default_address(&cluster), &format!("first.{domain}"), &certificate.pem).await;
    let took = begin.elapsed();
    note("helm install --wait", &format!("{:.1} s", installed.as_secs_f64()));
    note("helm install to the first good call", &format!("{:.1} s", took.as_secs_f64()));
    assert!(took <= Duration::from_secs(15), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_apply_to_the_first_answer_it_takes_2_seconds_at_most() {
    let _turn = TURN.lock().await;
    let domain = "apply.example.com";
    let (cluster, scene, certificate) = stage("figures-apply", domain);
    let address = default_address(&cluster);
    let mut took = Vec::new();
    for index in 0..SERVICES {
        let name = format!("service-{index}");
        let begin = Instant::now();
        scene.apply(&service(&name, domain)).unwrap();
        answered(address, &format!("{name}.{domain}"), &certificate.pem).await;
        took.push(begin.elapsed());
    }
    took.sort();
    // Of 60, the 99th percentile is the worst.
    let (median, worst) = (took[SERVICES / 2].as_secs_f64(), took[SERVICES - 1].as_secs_f64());
    note(
        "kubectl apply of a GrpcService to the first good call, shared Gateway, 60 in turn",
        &format!("median {median:.2} s, worst {worst:.2} s"),
    );
    assert!(worst <= 2.0, "{took:?}");
}
