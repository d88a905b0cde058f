use super::*;
use k8s_openapi::serde::de::DeserializeOwned;
use serde::Serialize;
use sluice_api::profile::Proxies;
use sluice_core::key::{NsName, Text};
use std::collections::BTreeMap;

fn settings() -> Settings {
    Settings {
        image: "registry.example/sluice-proxy:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        host: "sluice-xds.sluice-system.svc".to_owned(),
        port: 18000,
        families: Families::Four,
    }
}

fn infrastructure(proxies: Value) -> Infrastructure {
    let pair = |name: &str, value: &str| BTreeMap::from([(Text::from(name), Text::from(value))]);
    Infrastructure {
        gateway: NsName::new("shop", "edge"),
        uid: "0c1f".into(),
        class: "sluice".into(),
        ports: [80, 443].into(),
        labels: pair("team", "shop"),
        annotations: pair("example.com/lb", "internal"),
        requested: Vec::new(),
        proxies: serde_json::from_value::<Proxies>(proxies).unwrap(),
    }
}

fn wanted(of: &Infrastructure, piece: Piece) -> Want {
    render(of, &settings()).into_iter().find(|(found, _)| *found == piece).unwrap().1
}

fn present(of: &Infrastructure, piece: Piece) -> Value {
    match wanted(of, piece) {
        Want::Present(value) => value,
        other => panic!("{piece:?}: {other:?}"),
    }
}

/// Everything as YAML; what is in the bootstrap is written down elsewhere.
fn documents(of: &Infrastructure) -> Vec<Value> {
    let rendered = render(of, &settings()).into_iter().filter_map(|(_, want)| match want {
        Want::Present(mut value) => {
            let files = value.get_mut("data").and_then(Value::as_object_mut);
            files.into_iter().flatten().for_each(|(_, file)| *file = "…".into());
            Some(value)
        }
        Want::Absent | Want::AsIs | Want::Identity => None,
    });
    rendered.collect()
}

/// Whether the API server's own types know every field.
fn is_known<K: DeserializeOwned + Serialize>(value: &Value) -> bool {
    let typed: K = serde_json::from_value(value.clone()).unwrap();
    serde_json::to_value(typed).unwrap() == *value
}

#[test]
fn by_default_two_proxies_stand_behind_a_load_balancer() {
    insta::assert_yaml_snapshot!(documents(&infrastructure(json!({}))));
}

#[test]
fn everything_that_a_profile_can_say_is_said() {
    let mut of = infrastructure(json!({
        "autoscaling": {"maxReplicas": 10},
        "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"memory": "2Gi"}},
        "nodeSelector": {"pool": "edge"},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
        "service": {"loadBalancerClass": "example.com/nlb", "externalTrafficPolicy": "Local"},
        "drain": {"timeout": "10m", "delay": "20s"},
    }));
    of.requested = vec!["name.example.com".into(), "10.86.0.9".into()];
    insta::assert_yaml_snapshot!(documents(&of));
}

#[test]
fn every_field_is_one_that_the_api_server_knows() {
    for proxies in [json!({}), json!({"kind": "DaemonSet"}), json!({"autoscaling": {"maxReplicas": 3}})] {
        for (piece, want) in render(&infrastructure(proxies), &settings()) {
            let Want::Present(value) = want else { continue };
            let known = match piece {
                Piece::ServiceAccount => is_known::<ServiceAccount>(&value),
                Piece::ConfigMap => is_known::<ConfigMap>(&value),
                Piece::Secret => is_known::<Secret>(&value),
                Piece::Deployment => is_known::<Deployment>(&value),
                Piece::DaemonSet => is_known::<DaemonSet>(&value),
                Piece::HorizontalPodAutoscaler => is_known::<HorizontalPodAutoscaler>(&value),
                Piece::PodDisruptionBudget => is_known::<PodDisruptionBudget>(&value),
                Piece::Service => is_known::<Service>(&value),
            };
            assert!(known, "{piece:?}");
        }
    }
}

#[test]
fn ports_and_addresses_replace_no_proxy_and_an_infrastructure_label_does() {
    let before = infrastructure(json!({}));
    let template = |of: &Infrastructure| present(of, Piece::Deployment)["spec"]["template"].clone();
    let mut after = before.clone();
    (after.ports, after.requested) = ([8443].into(), vec!["10.0.0.1".into()]);
    assert_eq!(template(&after), template(&before));
    after.labels.insert("team".into(), "other".into());
    assert_ne!(template(&after), template(&before));
}

#[test]
fn a_daemon_set_takes_the_place_of_a_deployment_with_all_that_goes_with_it() {
    let of = infrastructure(json!({"kind": "DaemonSet"}));
    present(&of, Piece::DaemonSet);
    for piece in [Piece::Deployment, Piece::HorizontalPodAutoscaler, Piece::PodDisruptionBudget] {
        assert_eq!(wanted(&of, piece), Want::Absent);
    }
}

#[test]
fn a_gateway_without_ports_keeps_the_service_that_it_has() {
    let mut of = infrastructure(json!({}));
    of.ports.clear();
    assert_eq!(wanted(&of, Piece::Service), Want::AsIs);
}

#[test]
fn a_requested_address_is_asked_for_as_the_service_can() {
    let spec = |kind: &str| {
        let mut of = infrastructure(json!({"service": {"type": kind}}));
        of.requested = vec!["10.86.0.9".into(), "10.86.0.10".into()];
        present(&of, Piece::Service)["spec"].clone()
    };
    assert_eq!(spec("LoadBalancer")["loadBalancerIP"], "10.86.0.9");
    assert_eq!(spec("ClusterIP")["externalIPs"], json!(["10.86.0.9", "10.86.0.10"]));
    assert_eq!(spec("ClusterIP")["externalTrafficPolicy"], Value::Null);
}

#[test]
fn our_labels_are_never_overwritten_by_the_gateways() {
    let mut of = infrastructure(json!({}));
    of.labels.insert("app.kubernetes.io/component".into(), "mine".into());
    let labels = present(&of, Piece::Service)["metadata"]["labels"].clone();
    assert_eq!(labels["app.kubernetes.io/component"], "proxy");
}

#[test]
fn where_pods_have_addresses_of_both_families_proxies_are_reached_by_both() {
    let of = infrastructure(json!({}));
    let both = Settings { families: Families::Both, ..settings() };
    let found = |settings: &Settings, piece: Piece| match render(&of, settings)
        .into_iter()
        .find(|(found, _)| *found == piece)
    {
        Some((_, Want::Present(value))) => value,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(&both, Piece::Service)["spec"]["ipFamilyPolicy"], "PreferDualStack");
    assert_eq!(found(&settings(), Piece::Service)["spec"].get("ipFamilyPolicy"), None);
    let bootstrap = found(&both, Piece::ConfigMap)["data"]["envoy.json"].as_str().unwrap().to_owned();
    let bootstrap: Value = serde_json::from_str(&bootstrap).unwrap();
    let address = &bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"];
    assert_eq!(*address, json!({"address": "::", "port_value": READINESS, "ipv4_compat": true}));
}
