//! Who gets what, over real sockets.

use super::*;
use crate::{
    cluster::{leadership::Leadership, seats::Seats},
    serve::{Ads, Directory, News, Report},
};
use bytes::Bytes;
use chrono::TimeDelta;
use envoy_types::pb::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use sluice_core::key::NsName;
use sluice_xds::{Id, Resource, ResourceType, Snapshot, Version};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

const PATIENCE: Duration = Duration::from_secs(20);
const HOST: &str = "sluice-xds.sluice-system.svc";
const LIVES: Lifetimes = Lifetimes { authority: Duration::from_hours(1200), leaf: Duration::from_hours(100) };

type Client = AggregatedDiscoveryServiceClient<Channel>;

/// Streams that each Gateway may have.
const SEATS: usize = 8;

/// A control plane that leads.
struct Plane {
    address: SocketAddr,
    directory: Directory,
    leadership: Leadership,
    credentials: watch::Sender<Option<Arc<Credentials>>>,
    reports: mpsc::Receiver<Report>,
}

/// A stream of a proxy.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

fn edge() -> NsName {
    NsName::new("shop", "edge")
}

fn request(gateway: &str, nonce: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: "one".to_owned(), cluster: gateway.to_owned(), ..Node::default() }),
        type_url: ResourceType::Listener.type_url().to_owned(),
        response_nonce: nonce.to_owned(),
        ..DeltaDiscoveryRequest::default()
    }
}

async fn plane() -> Plane {
    let authority = Authority::new(Utc::now(), LIVES).unwrap();
    let credentials = Credentials::renewed(None, authority, HOST, Utc::now(), LIVES).unwrap();
    let (credentials, current) = watch::channel(Some(credentials));
    let (sender, reports) = mpsc::channel(1024);
    let (directory, leadership) = (Directory::default(), Leadership::default());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Ads::new(Guard::new(leadership.clone(), Seats::new(SEATS)), directory.clone(), sender).router();
    tokio::spawn(router.serve_with_incoming(listen(listener, current)));
    leadership.elect(Instant::now() + Duration::from_hours(1));
    leadership.confirm();
    directory.publish(&edge(), snapshot(&Snapshot::empty(), 1));
    directory.publish(&NsName::new("shop", "other"), snapshot(&Snapshot::empty(), 1));
    Plane { address, directory, leadership, credentials, reports }
}

fn snapshot(before: &Arc<Snapshot>, version: u64) -> Arc<Snapshot> {
    let mut edit = before.edit();
    edit.set(Arc::new(Resource {
        id: Id::new(ResourceType::Listener, "http-80"),
        version: Version(version),
        bytes: Bytes::from_static(b"x"),
        requires: Box::default(),
    }));
    edit.publish().unwrap()
}

impl Plane {
    fn authority(&self) -> Authority {
        self.credentials.borrow().as_ref().unwrap().authority().clone()
    }

    fn leaf(&self) -> Leaf {
        self.authority().issue(&Subject::Gateway(edge()), Utc::now(), LIVES).unwrap()
    }

    async fn connect(&self, leaf: Option<&Leaf>) -> Result<Client, tonic::transport::Error> {
        let tls = ClientTlsConfig::new().domain_name(HOST);
        let tls = tls.ca_certificate(Certificate::from_pem(self.authority().trusted()));
        let tls = match leaf {
            Some(leaf) => tls.identity(Identity::from_pem(&leaf.certificate, &leaf.key)),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap().tls_config(tls).unwrap();
        endpoint.connect().await.map(Client::new)
    }

    async fn open(&self, leaf: &Leaf, gateway: &str) -> Result<Proxy, Status> {
        stream(&mut self.connect(Some(leaf)).await.unwrap(), gateway).await
    }

    /// Whether nobody was told of a proxy.
    fn has_heard_nothing(&mut self) -> bool {
        self.reports.try_recv().is_err()
    }

    async fn heard(&mut self) -> News {
        timeout(PATIENCE, self.reports.recv()).await.unwrap().unwrap().news
    }
}

async fn stream(client: &mut Client, gateway: &str) -> Result<Proxy, Status> {
    let (requests, outgoing) = mpsc::channel(16);
    requests.send(request(gateway, "")).await.unwrap();
    let responses = client.delta_aggregated_resources(ReceiverStream::new(outgoing)).await?.into_inner();
    Ok(Proxy { requests, responses })
}

impl Proxy {
    async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        timeout(PATIENCE, self.responses.message()).await.unwrap().map(|response| response.expect("an answer"))
    }

    /// The version of the listener that comes next, acknowledged.
    async fn served(&mut self) -> String {
        let response = self.next().await.unwrap();
        self.requests.send(request("shop/edge", &response.nonce)).await.unwrap();
        response.resources.into_iter().next().unwrap().version
    }
}

/// Whatever a client without a right to it tries, on both methods.
async fn is_refused(client: Result<Client, tonic::transport::Error>) -> bool {
    // In TLS 1.3 a client has connected before the server has judged its certificate.
    let Ok(mut client) = client else { return true };
    let delta = match stream(&mut client, "shop/edge").await {
        Ok(mut proxy) => proxy.next().await.is_err(),
        Err(_) => true,
    };
    let whole = client.stream_aggregated_resources(tokio_stream::once(DiscoveryRequest::default())).await;
    delta && whole.is_err()
}

#[tokio::test]
async fn a_proxy_with_a_certificate_gets_the_configuration_of_its_gateway() {
    let mut plane = plane().await;
    let mut proxy = plane.open(&plane.leaf(), "shop/edge").await.unwrap();
    assert_eq!(proxy.served().await, Version(1).to_string());
    assert!(matches!(plane.heard().await, News::Connected));
}

#[tokio::test]
async fn nobody_gets_anything_by_no_certificate_a_foreign_one_or_one_that_has_expired() {
    let mut plane = plane().await;
    let past = Utc::now() - TimeDelta::hours(200);
    let foreign = Authority::new(Utc::now(), LIVES).unwrap();
    let subject = Subject::Gateway(edge());
    let refused = [
        None,
        Some(foreign.issue(&subject, Utc::now(), LIVES).unwrap()),
        Some(plane.authority().issue(&subject, past, LIVES).unwrap()),
        Some(plane.authority().issue(&Subject::ControlPlane(HOST.to_owned()), Utc::now(), LIVES).unwrap()),
    ];
    for (case, leaf) in refused.iter().enumerate() {
        assert!(is_refused(plane.connect(leaf.as_ref()).await).await, "case {case}");
    }
    assert!(plane.has_heard_nothing());
}

#[tokio::test]
async fn a_certificate_is_good_for_its_own_gateway_alone_on_every_stream_and_at_any_time() {
    let mut plane = plane().await;
    let mut client = plane.connect(Some(&plane.leaf())).await.unwrap();
    for _ in 0..2 {
        let mut proxy = stream(&mut client, "shop/other").await.unwrap();
        let refusal = proxy.next().await.unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal}");
    }
    assert!(plane.has_heard_nothing());
    let mut proxy = stream(&mut client, "shop/edge").await.unwrap();
    proxy.served().await;
    proxy.requests.send(request("shop/other", "")).await.unwrap();
    assert_eq!(proxy.next().await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_replica_that_does_not_lead_serves_nobody_and_one_that_no_longer_does_ends_its_streams() {
    let plane = plane().await;
    let mut client = plane.connect(Some(&plane.leaf())).await.unwrap();
    let mut proxy = stream(&mut client, "shop/edge").await.unwrap();
    proxy.served().await;
    plane.leadership.end();
    assert_eq!(proxy.next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(stream(&mut client, "shop/edge").await.err().map(|status| status.code()), Some(Code::Unavailable));
    let whole = client.stream_aggregated_resources(tokio_stream::once(DiscoveryRequest::default())).await;
    assert_eq!(whole.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_identity_has_a_number_of_streams_over_all_its_connections_and_takes_none_from_others() {
    let mut plane = plane().await;
    let leaf = plane.leaf();
    let mut open = Vec::new();
    for _ in 0..SEATS {
        let mut proxy = plane.open(&leaf, "shop/edge").await.unwrap();
        proxy.served().await;
        open.push(proxy);
    }
    let refused = plane.open(&leaf, "shop/edge").await.err().map(|status| status.code());
    assert_eq!(refused, Some(Code::ResourceExhausted));
    let other = Subject::Gateway(NsName::new("shop", "other"));
    let other = plane.authority().issue(&other, Utc::now(), LIVES).unwrap();
    plane.open(&other, "shop/other").await.unwrap().served().await;
    open.pop();
    while !matches!(plane.heard().await, News::Disconnected) {}
    while !matches!(plane.heard().await, News::Disconnected) {}
    plane.open(&leaf, "shop/edge").await.unwrap().served().await;
}

#[tokio::test]
async fn a_whole_change_of_ca_cuts_no_stream_and_refuses_no_proxy_that_has_yet_to_learn_of_it() {
    let plane = plane().await;
    let old = plane.leaf();
    let mut proxy = plane.open(&old, "shop/edge").await.unwrap();
    proxy.served().await;
    let (mut version, mut published) = (1, snapshot(&Snapshot::empty(), 1));
    for hours in [800, 900] {
        let renewed = plane.authority().renewed(Utc::now() + TimeDelta::hours(hours), LIVES).unwrap().unwrap();
        let current = plane.credentials.borrow().clone();
        let next = Credentials::renewed(current.as_ref(), renewed, HOST, Utc::now(), LIVES).unwrap();
        plane.credentials.send_replace(Some(next));
        version += 1;
        published = snapshot(&published, version);
        plane.directory.publish(&edge(), published.clone());
        assert_eq!(proxy.served().await, Version(version).to_string(), "the stream goes on");
        for leaf in [&old, &plane.leaf()] {
            let mut proxy = plane.open(leaf, "shop/edge").await.unwrap();
            assert_eq!(proxy.served().await, Version(version).to_string());
        }
    }
}

#[tokio::test]
async fn a_stream_ends_when_the_certificate_that_opened_it_does() {
    let plane = plane().await;
    let lives = Lifetimes { leaf: Duration::from_secs(3), ..LIVES };
    let brief = plane.authority().issue(&Subject::Gateway(edge()), Utc::now(), lives).unwrap();
    let mut proxy = plane.open(&brief, "shop/edge").await.unwrap();
    proxy.served().await;
    assert_eq!(proxy.next().await.unwrap_err().code(), Code::Unauthenticated);
}
