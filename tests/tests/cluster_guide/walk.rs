//! What the guide does at each step: apply, ask for the address, call.

use std::{
    fs,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use sluice_tests::{
    api_server::repository,
    cluster::{Cluster, Release, says},
};

/// Where the guide works.
pub(crate) const NAMESPACE: &str = "default";
/// Its hostname.
pub(crate) const HOST: &str = "grpc.example.com";

/// One walk at a time, in an installed cluster with nothing of the walk before.
pub(crate) struct Walk {
    pub(crate) cluster: Cluster,
    _turn: MutexGuard<'static, ()>,
}

impl Walk {
    /// Installs Sluice as the guide does, unless it is; verifies the pods; deploys the sample application.
    pub(crate) fn begin() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = Cluster::from_environment().unwrap();
        Release::ensure(&cluster).unwrap();
        let walk = Self { cluster, _turn: turn };
        walk.clean_up();
        walk.verify_the_installation();
        walk.sample("00-application/v1.yaml");
        walk.rolled_out("grpc-echo-v1");
        walk
    }

    fn verify_the_installation(&self) {
        let pods = Release::pods(&self.cluster).unwrap();
        assert!(!pods.is_empty(), "no operator's pod");
        for pod in pods {
            let ready = pod["status"]["conditions"]
                .as_array()
                .unwrap()
                .iter()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            assert!(ready, "{} is not Ready", pod["metadata"]["name"]);
        }
        let class = self.cluster.get("", "gatewayclass/sluice").unwrap();
        assert!(says(&class, "Accepted", "True"), "{class}");
    }

    /// Step 1 of scenario 1.
    pub(crate) fn create_the_certificate(&self) {
        let made = Command::new(repository().join("samples/guide/certificate")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.cluster.apply(NAMESPACE, &String::from_utf8(made.stdout).unwrap()).unwrap();
    }

    /// Step 1 of scenario 2.
    pub(crate) fn deploy_the_canary(&self) {
        self.sample("00-application/v2.yaml");
        self.rolled_out("grpc-echo-v2");
    }

    /// Applies a file below `samples/guide`.
    pub(crate) fn sample(&self, file: &str) {
        self.cluster.apply_file(NAMESPACE, &format!("samples/guide/{file}")).unwrap();
    }

    fn rolled_out(&self, deployment: &str) {
        let what = format!("deployment/{deployment}");
        self.cluster.kubectl(&["rollout", "status", "--namespace", NAMESPACE, &what, "--timeout=60s"]).unwrap();
    }

    /// The object once a condition of it holds at its generation.
    pub(crate) fn once(&self, what: &str, condition: &str, status: &str) -> Value {
        self.cluster.until(NAMESPACE, what, |object| says(object, condition, status)).unwrap()
    }

    /// `kubectl get gateway NAME -o jsonpath='{.status.addresses[0].value}'`, with the port.
    pub(crate) fn address_of(&self, gateway: &str) -> String {
        self.once(&format!("gateway/{gateway}"), "Programmed", "True");
        let path = "jsonpath={.status.addresses[0].value}";
        let address = self.cluster.kubectl(&["get", "gateway", "--namespace", NAMESPACE, gateway, "--output", path]);
        let address = address.unwrap();
        assert!(!address.is_empty(), "Gateway {gateway} is Programmed without an address");
        format!("{address}:443")
    }

    /// Calls as the guide does, and returns grpcurl's stdout and stderr.
    pub(crate) fn grpcurl(&self, address: &str, flags: &[&str], words: &[&str]) -> (String, String) {
        let all = [&["-insecure", "-authority", HOST], flags, &[address], words].concat();
        let output = self.cluster.grpcurl(&all).unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Who answers a call of a unary method; `headers` are grpcurl's `-H`.
    pub(crate) fn source(&self, address: &str, headers: &[&str], method: &str) -> String {
        let mut flags = vec!["-d", r#"{"text": "hello"}"#];
        flags.extend(headers.iter().flat_map(|header| ["-H", header]));
        let (answer, complaint) = self.grpcurl(address, &flags, &[method]);
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{method}: {answer}{complaint}"));
        assert_eq!(answer["text"], "hello");
        answer["source"].as_str().unwrap().to_owned()
    }

    /// The guide's last section, and waits until all of it is gone.
    pub(crate) fn clean_up(&self) {
        let kubectl =
            |arguments: &[&str]| self.cluster.kubectl(&[arguments, &["--namespace", NAMESPACE]].concat()).unwrap();
        let script = fs::read_to_string(repository().join("samples/guide/cleanup")).unwrap();
        for line in script.lines().filter_map(|line| line.strip_prefix("kubectl ")) {
            kubectl(&line.split_whitespace().chain(["--timeout=60s"]).collect::<Vec<_>>());
        }
        kubectl(&["delete", "--ignore-not-found", "httproute", "echo-http"]);
        // The platform's part of the cross-namespace pattern; its namespace is the installation's, and stays.
        let ours = [
            "gateway/grpc-gateway",
            "referencegrant/allow-grpcroutes-from-app-namespace",
            "secret/grpc-example-com-cert",
        ];
        let delete =
            [&["delete", "--ignore-not-found", "--namespace", Release::NAMESPACE, "--timeout=60s"], &ours[..]].concat();
        self.cluster.kubectl(&delete).unwrap();
        for namespace in ["app-namespace", "team-b"] {
            kubectl(&["delete", "--ignore-not-found", "namespace", namespace, "--timeout=60s"]);
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        // A walk that failed is looked at as it stands; the next one cleans up.
        if !std::thread::panicking() {
            self.clean_up();
        }
    }
}
