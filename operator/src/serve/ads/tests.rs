use super::{super::gate::Open, *};
use bytes::Bytes;
use envoy_types::pb::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryResponse, DiscoveryRequest, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use sluice_core::key::NsName;
use sluice_xds::{Id, Resource, ResourceType, Snapshot, Version};
use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::Streaming;

const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy that speaks the protocol over a real socket.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Proxy {
    async fn next(&mut self) -> DeltaDiscoveryResponse {
        timeout(PATIENCE, self.responses.message()).await.unwrap().unwrap().unwrap()
    }

    async fn ask(&self, kind: ResourceType, names: &[&str], nonce: &str) {
        self.requests.send(request(kind, names, nonce)).await.unwrap();
    }
}

fn request(kind: ResourceType, names: &[&str], nonce: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: "one".to_owned(), cluster: "default/edge".to_owned(), ..Node::default() }),
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        response_nonce: nonce.to_owned(),
        ..DeltaDiscoveryRequest::default()
    }
}

struct Fixture {
    directory: Directory,
    reports: mpsc::Receiver<Report>,
    client: AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
}

async fn fixture() -> Fixture {
    let directory = Directory::default();
    let (sender, reports) = mpsc::channel(16);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Ads::new(Open, directory.clone(), sender).router();
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let client = AggregatedDiscoveryServiceClient::connect(format!("http://{address}")).await.unwrap();
    Fixture { directory, reports, client }
}

impl Fixture {
    async fn open(&mut self) -> Proxy {
        let (requests, outgoing) = mpsc::channel(16);
        let first = request(ResourceType::Listener, &[], "");
        let stream = tokio_stream::once(first).chain(ReceiverStream::new(outgoing));
        let responses = self.client.delta_aggregated_resources(stream).await.unwrap().into_inner();
        Proxy { requests, responses }
    }

    async fn heard(&mut self) -> News {
        timeout(PATIENCE, self.reports.recv()).await.unwrap().unwrap().news
    }
}

fn snapshot(version: u64) -> Arc<Snapshot> {
    let id = Id::new(ResourceType::Listener, "http-80");
    let mut edit = Snapshot::empty().edit();
    edit.set(Arc::new(Resource {
        id,
        version: Version(version),
        bytes: Bytes::from_static(b"x"),
        requires: Box::default(),
    }));
    edit.publish().unwrap()
}

#[tokio::test]
async fn a_proxy_gets_what_is_published_for_its_gateway_and_its_answer_is_reported() {
    let mut fixture = fixture().await;
    fixture.directory.publish(&NsName::new("default", "other"), snapshot(1));
    let mut proxy = fixture.open().await;
    assert!(matches!(fixture.heard().await, News::Connected));
    fixture.directory.publish(&NsName::new("default", "edge"), snapshot(7));
    proxy.ask(ResourceType::Cluster, &[], "").await;
    // There are no clusters, and the proxy is told so: it waits for that word as for any other.
    let mut answers = BTreeMap::new();
    while answers.len() < 2 {
        let response = proxy.next().await;
        let kind = ResourceType::from_type_url(&response.type_url).unwrap();
        proxy.ask(kind, &[], &response.nonce).await;
        answers.insert(kind, response.resources);
    }
    assert!(answers[&ResourceType::Cluster].is_empty());
    let listeners = &answers[&ResourceType::Listener];
    let [listener] = listeners.as_slice() else { panic!("{listeners:?}") };
    assert_eq!((listener.name.as_str(), listener.version.clone()), ("http-80", Version(7).to_string()));
    assert!(matches!(fixture.heard().await, News::Session(Event::Synced { revision: 1 })));
    drop(proxy);
    assert!(matches!(fixture.heard().await, News::Disconnected));
}

#[tokio::test]
async fn a_proxy_without_a_gateway_and_the_other_form_of_the_protocol_are_refused_with_the_remedy() {
    let mut fixture = fixture().await;
    let anonymous = tokio_stream::once(DeltaDiscoveryRequest::default());
    let mut responses = fixture.client.delta_aggregated_resources(anonymous).await.unwrap().into_inner();
    let refusal = timeout(PATIENCE, responses.message()).await.unwrap().unwrap_err();
    assert!(refusal.message().contains("node.cluster"), "{refusal}");
    let whole = tokio_stream::once(DiscoveryRequest::default());
    let refusal = fixture.client.stream_aggregated_resources(whole).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::Unimplemented);
    assert!(refusal.message().contains("DELTA_GRPC"), "{refusal}");
}
