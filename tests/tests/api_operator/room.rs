//! A namespace with an operator in it.

use std::{
    fmt::Debug,
    net::TcpListener,
    sync::{Arc, OnceLock},
    time::Duration,
};

use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::wait::{Condition, await_condition},
};
use serde_json::{Value, json};
use sluice_tests::{
    api_server::{ApiServer, USERS},
    cluster::{Audit, Write},
    operator::Operator,
};
use tokio::time::timeout;

/// The duration, the deadline and the retry of a lease that is lost soon.
pub(crate) const BRIEF: [&str; 3] = ["3s", "2s", "200ms"];

/// How long anything that is waited for may take: generous, since suites share a machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn server() -> &'static Arc<ApiServer> {
    static SERVER: OnceLock<Arc<ApiServer>> = OnceLock::new();
    SERVER.get_or_init(|| Arc::new(ApiServer::start().unwrap()))
}

/// A namespace of its own.
pub(crate) struct Room {
    server: Arc<ApiServer>,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Where its operators serve proxies, each at an address of the loopback that is its own: the port is in what is deployed, and with
    /// another one nothing would be as it was.
    port: u16,
}

impl Room {
    pub(crate) async fn new(namespace: &str) -> Self {
        Self::on(server(), namespace).await
    }

    /// The same on an API server of its own.
    pub(crate) async fn on(server: &Arc<ApiServer>, namespace: &str) -> Self {
        let config = Kubeconfig::read_from(server.directory().join("kubeconfig")).unwrap();
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let room = Self { server: server.clone(), client, namespace: namespace.to_owned(), port: free_port() };
        let it = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        room.api("Namespace").patch(namespace, &PatchParams::apply("test"), &Patch::Apply(&it)).await.unwrap();
        room
    }

    /// An operator that is a user of the API server, and looks at this namespace alone.
    pub(crate) fn operator(&self, user: &str, environment: &[(&str, &str)]) -> Operator {
        self.operator_for(user, BRIEF, environment)
    }

    /// The same, with a lease of that duration, deadline and retry.
    pub(crate) fn operator_for(&self, user: &str, terms: [&str; 3], environment: &[(&str, &str)]) -> Operator {
        self.start(user, terms, &["--watch-namespaces", &self.namespace], environment)
    }

    /// An operator that looks at everything: on an API server of its own.
    pub(crate) fn operator_everywhere(&self, user: &str) -> Operator {
        self.start(user, BRIEF, &[], &[])
    }

    fn start(&self, user: &str, terms: [&str; 3], scope: &[&str], environment: &[(&str, &str)]) -> Operator {
        let [duration, deadline, retry] = terms;
        let place = USERS.iter().position(|known| *known == user).unwrap() + 1;
        let address = format!("127.0.0.{place}:{}", self.port);
        let own = ["--namespace", &self.namespace, "--xds-address", &address];
        let lease = ["--lease-duration", duration, "--lease-deadline", deadline, "--lease-retry", retry];
        Operator::start(&self.server, user, &[own.as_slice(), scope, &lease].concat(), environment).unwrap()
    }

    /// Where objects of a kind are.
    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        match kind {
            "Namespace" | "GatewayClass" => Api::all_with(self.client.clone(), &resource(kind)),
            _ => Api::namespaced_with(self.client.clone(), &self.namespace, &resource(kind)),
        }
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.api(kind).get_opt(name).await.unwrap().map(|object| serde_json::to_value(object).unwrap())
    }

    /// Applies an object as somebody else than Sluice.
    pub(crate) async fn apply(&self, object: &Value) -> Value {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        let params = PatchParams::apply("somebody").force();
        let applied = self.api(kind).patch(name, &params, &Patch::Apply(object)).await;
        serde_json::to_value(applied.unwrap_or_else(|error| panic!("{kind} {name}: {error}"))).unwrap()
    }

    /// Merges a patch into an object.
    pub(crate) async fn merge(&self, kind: &str, name: &str, patch: &Value) {
        self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Waits until an object is gone.
    pub(crate) async fn until_gone(&self, kind: &str, name: &str) {
        let is_gone = |object: Option<&DynamicObject>| object.is_none();
        let gone = timeout(PATIENCE, await_condition(self.api(kind), name, is_gone)).await;
        assert!(gone.is_ok(), "{kind} {name}: {:#}", self.get(kind, name).await.unwrap_or_default());
    }

    /// Waits until an object is as it is expected to be.
    pub(crate) async fn until(&self, kind: &str, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let holds =
            |object: Option<&DynamicObject>| object.is_some_and(|object| holds(&serde_json::to_value(object).unwrap()));
        let object = self.wait(kind, name, holds).await;
        serde_json::to_value(object.unwrap()).unwrap()
    }

    async fn wait(&self, kind: &str, name: &str, holds: impl Condition<DynamicObject>) -> Option<DynamicObject> {
        let waiting = timeout(PATIENCE, await_condition(self.api(kind), name, holds));
        let Ok(found) = waiting.await else {
            panic!("{kind} {name}: {:#}", self.get(kind, name).await.unwrap_or_default());
        };
        found.unwrap()
    }

    /// Applies one more service and waits until all is said of it. What was to be written before it, has been.
    pub(crate) async fn settle(&self, sentinel: &str) {
        self.apply(&service(&self.namespace, sentinel)).await;
        self.until("GrpcService", sentinel, is_judged).await;
    }

    /// What a user has written here since, apart from leases and events.
    pub(crate) fn written(&self, audit: &Audit, user: &str) -> Vec<Write> {
        let here = format!("{}/", self.namespace);
        audit.written_by(user).unwrap().into_iter().filter(|write| write.name.starts_with(&here)).collect()
    }

    /// The resource versions of the objects with a prefix to their names.
    pub(crate) async fn versions(&self, prefix: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for kind in ["GrpcService", "Gateway", "GRPCRoute", "GrpcPolicy", "ReferenceGrant", "Secret", "ConfigMap"] {
            for object in self.api(kind).list(&kube::api::ListParams::default()).await.unwrap() {
                let (name, version) = (object.metadata.name.unwrap(), object.metadata.resource_version.unwrap());
                if name.starts_with(prefix) {
                    all.push((format!("{kind} {name}"), version));
                }
            }
        }
        all
    }
}

/// A service with everything that one may have.
pub(crate) fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcService",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "hostnames": [format!("{name}.example.com")],
            "gateways": [{"name": "public", "own": {"gatewayClassName": "sluice"}}],
            "tls": {"type": "SelfSigned"},
            "backends": [{"name": "stable", "service": {"name": "echo", "port": 9000}}],
            "rules": [
                {"name": "slow", "matches": [{"method": {"service": "echo.Echo"}}], "timeouts": {"request": "2s"}},
                {"name": "default"},
            ],
            "grants": [{"to": "Service", "namespace": "other"}],
        },
    })
}

/// Whether everything is said of a service that has its certificate.
pub(crate) fn is_judged(service: &Value) -> bool {
    let says = |kind: &str, status: &str| condition(&service["status"], kind)["status"] == status;
    service["status"]["observedGeneration"] == service["metadata"]["generation"]
        && says("Generated", "True")
        && says("CertificateReady", "True")
        && says("Accepted", "True")
}

/// A condition of a status.
pub(crate) fn condition(status: &Value, kind: &str) -> Value {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
}

fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "Namespace" => ("", "v1", "namespaces"),
        "Secret" => ("", "v1", "secrets"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "Service" => ("", "v1", "services"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        "Pod" => ("", "v1", "pods"),
        "Deployment" => ("apps", "v1", "deployments"),
        "DaemonSet" => ("apps", "v1", "daemonsets"),
        "HorizontalPodAutoscaler" => ("autoscaling", "v2", "horizontalpodautoscalers"),
        "PodDisruptionBudget" => ("policy", "v1", "poddisruptionbudgets"),
        "Lease" => ("coordination.k8s.io", "v1", "leases"),
        "EndpointSlice" => ("discovery.k8s.io", "v1", "endpointslices"),
        "GrpcService" => ("sluice.dev", "v1alpha1", "grpcservices"),
        "GrpcPolicy" => ("sluice.dev", "v1alpha1", "grpcpolicies"),
        "GatewayClass" => ("gateway.networking.k8s.io", "v1", "gatewayclasses"),
        "Gateway" => ("gateway.networking.k8s.io", "v1", "gateways"),
        "GRPCRoute" => ("gateway.networking.k8s.io", "v1", "grpcroutes"),
        "ReferenceGrant" => ("gateway.networking.k8s.io", "v1beta1", "referencegrants"),
        _ => panic!("no kind {kind}"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Names what differs, and not all that is the same.
pub(crate) fn assert_same<T: PartialEq + Debug>(before: &[T], after: &[T]) {
    let moved: Vec<&T> = after.iter().filter(|item| !before.contains(item)).collect();
    assert!(moved.is_empty() && before.len() == after.len(), "{moved:#?} of {}, before {}", after.len(), before.len());
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
