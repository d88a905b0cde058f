//! A proxy that comes back with what it has is sent nothing, also by a Sluice that was started again meanwhile.

use std::{collections::BTreeMap, path::PathBuf};

use envoy_types::pb::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use sluice_tests::{
    local::PATIENCE,
    manifests::{everything_to, file, route},
    stage::Stage,
};
use sluice_xds::ResourceType;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Versions by type and name.
type Held = BTreeMap<ResourceType, BTreeMap<String, String>>;

const ROUTES: &str = "https-443/*.example.com";

/// A proxy's stream: acknowledges everything, remembers what it was sent.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    sent: Held,
}

impl Proxy {
    /// Connects with what it has. Subscribes as Envoy does: wildcards for clusters, listeners and hosts, names for the rest.
    async fn connect(socket: PathBuf, held: &Held) -> Self {
        let (requests, queue) = mpsc::channel(16);
        for (kind, names) in [
            (ResourceType::Cluster, &[][..]),
            (ResourceType::Assignment, &["default/echo/9000/h2"]),
            (ResourceType::Listener, &[]),
            (ResourceType::Secret, &["default/certificate"]),
            (ResourceType::RouteConfiguration, &[ROUTES]),
            (ResourceType::VirtualHost, &[]),
        ] {
            requests.send(subscription(kind, names, held)).await.unwrap();
        }
        let mut client =
            AggregatedDiscoveryServiceClient::connect(format!("unix://{}", socket.display())).await.unwrap();
        let responses = client.delta_aggregated_resources(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { requests, responses, sent: Held::new() }
    }

    /// Reads and acknowledges until it was sent this.
    async fn until_sent(&mut self, kind: ResourceType, name: &str) {
        while !self.sent.get(&kind).is_some_and(|names| names.contains_key(name)) {
            let response = timeout(PATIENCE, self.responses.message()).await;
            let response =
                response.unwrap_or_else(|_| panic!("never sent {name}, only {:?}", self.sent)).unwrap().unwrap();
            let kind = ResourceType::from_type_url(&response.type_url).unwrap();
            let versions = response.resources.into_iter().map(|resource| (resource.name, resource.version));
            self.sent.entry(kind).or_default().extend(versions);
            let removed = response.removed_resources.into_iter().map(|name| (name, "removed".to_owned()));
            self.sent.entry(kind).or_default().extend(removed);
            let acknowledgement = DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                ..Default::default()
            };
            self.requests.send(acknowledgement).await.unwrap();
        }
    }
}

fn subscription(kind: ResourceType, names: &[&str], held: &Held) -> DeltaDiscoveryRequest {
    let node = Node { id: "returning".into(), cluster: "default/gateway".into(), ..Default::default() };
    let versions = held.get(&kind).into_iter().flatten().map(|(name, version)| (name.clone(), version.clone()));
    DeltaDiscoveryRequest {
        node: Some(node),
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        initial_resource_versions: versions.collect(),
        ..Default::default()
    }
}

fn served(name: &str) -> serde_json::Value {
    route(name, &format!("{name}.example.com"), &everything_to("echo"))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_sluice_a_proxy_is_sent_nothing_but_what_changed() {
    let mut stage = Stage::new(&["echo"], [served("one"), served("two")]).await.unwrap();
    stage.in_force("one").await.unwrap();
    stage.in_force("two").await.unwrap();
    let mut first = Proxy::connect(stage.sluice.ads("gateway").unwrap(), &Held::new()).await;
    for (kind, name) in [
        (ResourceType::Cluster, "default/echo/9000/h2".to_owned()),
        (ResourceType::Assignment, "default/echo/9000/h2".to_owned()),
        (ResourceType::Listener, "https-443".to_owned()),
        (ResourceType::Secret, "default/certificate".to_owned()),
        (ResourceType::RouteConfiguration, ROUTES.to_owned()),
        (ResourceType::VirtualHost, format!("{ROUTES}/*")),
        (ResourceType::VirtualHost, format!("{ROUTES}/one.example.com")),
        (ResourceType::VirtualHost, format!("{ROUTES}/two.example.com")),
    ] {
        first.until_sent(kind, &name).await;
    }
    let held = first.sent;
    stage.sluice.stop();
    stage.sluice.run().await.unwrap();
    stage.in_force("two").await.unwrap();

    let mut returning = Proxy::connect(stage.sluice.ads("gateway").unwrap(), &held).await;
    // What is sent after this was written is all that is sent: one stream keeps its order.
    stage.sluice.apply("late.yaml", &file([served("late")])).unwrap();
    let late = format!("{ROUTES}/late.example.com");
    returning.until_sent(ResourceType::VirtualHost, &late).await;
    let names: Vec<_> = returning.sent.into_values().flatten().map(|(name, _)| name).collect();
    assert_eq!(names, [late]);
}
