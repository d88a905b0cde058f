use std::{net::SocketAddr, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tonic::{Code, Request, transport::Channel};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use crate::{
    Listing, Options,
    proto::{EchoRequest, Ending, ServerRequest, StatusRequest, echo_client::EchoClient, stream_client::StreamClient},
    serve, serve_until,
};

struct Served {
    address: SocketAddr,
    channel: Channel,
    task: JoinHandle<std::io::Result<()>>,
}

async fn served(listing: Listing) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(serve(listener, Options { source: "grpc-echo-v1".into(), listing }));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    Served { address, channel, task }
}

fn say(text: &str) -> EchoRequest {
    EchoRequest { text: text.into() }
}

async fn listed(channel: Channel) -> Vec<String> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    match answers.next().await.unwrap().unwrap().message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|service| service.name).collect(),
        other => panic!("not a list: {other:?}"),
    }
}

#[tokio::test]
async fn both_methods_of_the_guide_echo_the_text_and_name_the_instance() {
    let mut client = EchoClient::new(served(Listing::Guide).await.channel);
    let first = client.echo(say("hello world")).await.unwrap().into_inner();
    let second = client.echo_v2(say("hello method")).await.unwrap().into_inner();
    assert_eq!((first.text.as_str(), first.source.as_str()), ("hello world", "grpc-echo-v1"));
    assert_eq!((second.text.as_str(), second.source.as_str()), ("hello method", "grpc-echo-v1"));
}

#[tokio::test]
async fn the_guide_listing_is_the_guides_and_the_full_listing_names_every_service() {
    let guide = listed(served(Listing::Guide).await.channel).await;
    assert_eq!(guide, ["echo.Echo", "grpc.reflection.v1alpha.ServerReflection"]);
    let all = listed(served(Listing::All).await.channel).await;
    assert_eq!(all.len(), 5, "{all:?}");
    assert!(all.contains(&"echo.Stream".to_owned()), "{all:?}");
}

#[tokio::test]
async fn reflection_answers_v1alpha_for_older_clients() {
    use v1alpha::{
        server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
    };
    let symbol = MessageRequest::FileContainingSymbol("echo.EchoRequest".into());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let mut client = ServerReflectionClient::new(served(Listing::Guide).await.channel);
    let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{answer:?}");
}

#[tokio::test]
async fn a_server_stream_sends_as_many_messages_as_were_asked_for_and_ends() {
    let mut client = StreamClient::new(served(Listing::All).await.channel);
    let wanted = ServerRequest { text: "a".into(), count: 3, interval_ms: 1, ending: Ending::Ok.into() };
    let answers: Vec<_> = client.server(wanted).await.unwrap().into_inner().try_collect().await.unwrap();
    assert_eq!(answers.len(), 3);
}

#[tokio::test]
async fn a_held_server_stream_stays_open_after_its_last_message() {
    let mut client = StreamClient::new(served(Listing::All).await.channel);
    let wanted = ServerRequest { text: "a".into(), count: 1, interval_ms: 0, ending: Ending::Hold.into() };
    let mut answers = client.server(wanted).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
    assert!(timeout(Duration::from_millis(100), answers.next()).await.is_err());
}

#[tokio::test]
async fn a_client_stream_is_answered_once_with_all_its_texts() {
    let mut client = StreamClient::new(served(Listing::All).await.channel);
    let answer = client.client(stream::iter([say("a"), say("b")])).await.unwrap().into_inner();
    assert_eq!(answer.text, "a b");
}

#[tokio::test]
async fn a_bidirectional_stream_answers_before_the_client_has_ended() {
    let mut client = StreamClient::new(served(Listing::All).await.channel);
    let open = stream::iter([say("a")]).chain(stream::pending());
    let mut answers = client.bidi(open).await.unwrap().into_inner();
    assert_eq!(answers.next().await.unwrap().unwrap().text, "a");
}

#[tokio::test]
async fn a_hang_outlives_the_deadline_that_its_request_carries() {
    let address = served(Listing::All).await.address;
    // Without tonic's channel, which would end the call itself.
    let connection = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), connection).await.unwrap();
    tokio::spawn(driver);
    let transport = tower::service_fn(move |request| sender.clone().send_request(request));
    let mut client = StreamClient::with_origin(transport, format!("http://{address}").parse().unwrap());
    let mut request = Request::new(say("a"));
    request.set_timeout(Duration::from_millis(10));
    assert!(timeout(Duration::from_millis(200), client.hang(request)).await.is_err());
}

#[tokio::test]
async fn a_status_is_the_one_that_was_asked_for() {
    let mut client = StreamClient::new(served(Listing::All).await.channel);
    for (code, expected) in
        [(5, Code::NotFound), (8, Code::ResourceExhausted), (16, Code::Unauthenticated), (99, Code::Unknown)]
    {
        let refused = client.status(StatusRequest { code, message: "because".into() }).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (expected, "because"));
    }
    let fine = client.status(StatusRequest { code: 0, message: "fine".into() }).await.unwrap().into_inner();
    assert_eq!(fine.text, "fine");
}

#[tokio::test]
async fn metadata_comes_back_sorted_by_key_with_repeated_values_in_order() {
    let mut client = StreamClient::new(served(Listing::All).await.channel);
    let mut request = Request::new(say("a"));
    for (key, value) in [("x-b", "1"), ("x-a", "2"), ("x-b", "3")] {
        request.metadata_mut().append(key, value.parse().unwrap());
    }
    let entries = client.metadata(request).await.unwrap().into_inner().entries;
    let own: Vec<_> = entries
        .iter()
        .filter(|entry| entry.key.starts_with("x-"))
        .map(|entry| (entry.key.as_str(), entry.value.as_str()))
        .collect();
    assert_eq!(own, [("x-a", "2"), ("x-b", "1"), ("x-b", "3")]);
}

#[tokio::test]
async fn dropping_the_server_closes_its_connections() {
    let Served { address, channel, task } = served(Listing::All).await;
    let mut client = StreamClient::new(channel);
    let wanted = ServerRequest { text: "a".into(), count: 1, interval_ms: 0, ending: Ending::Hold.into() };
    let mut answers = client.server(wanted).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
    task.abort();
    assert!(answers.next().await.unwrap().is_err());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_graceful_end_lets_a_running_call_finish() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let options = Options { source: "grpc-echo-v1".into(), listing: Listing::All };
    let server = tokio::spawn(serve_until(listener, options, async move { drop(stopped.await) }));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = StreamClient::new(channel);
    let (say_more, more) = futures::channel::mpsc::unbounded();
    let mut answers = client.bidi(more).await.unwrap().into_inner();
    stop.send(()).unwrap();
    say_more.unbounded_send(say("late")).unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().text, "late");
    drop(say_more);
    assert!(answers.next().await.is_none());
    server.await.unwrap().unwrap();
}
