//! The services themselves.
//!
//! `request -> answer that names the instance`
//!
//! **Invariant:** an answer depends on its request and the instance's name alone.
//!
//! It must not know connections, ports or signals.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::time;
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{KeyAndValueRef, MetadataMap},
    service::Routes,
};
use tonic_health::ServingStatus;
use tonic_reflection::server::Builder;

use crate::{
    Listing, Options,
    proto::{
        DESCRIPTORS, EchoRequest, EchoResponse, Ending, Entry, MetadataResponse, ServerRequest, StatusRequest,
        echo_server::{Echo, EchoServer},
        stream_server::{self, StreamServer},
    },
};

/// What the guide's `grpcurl list` prints, in its order.
const GUIDE: [&str; 2] = ["echo.Echo", "grpc.reflection.v1alpha.ServerReflection"];

const ALL: [&str; 5] = [
    "echo.Echo",
    "echo.Stream",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[derive(Clone)]
struct Instance {
    source: String,
}

pub(crate) async fn routes(options: &Options) -> Result<Routes, tonic_reflection::server::Error> {
    let instance = Instance { source: options.source.clone() };
    let (health, health_service) = tonic_health::server::health_reporter();
    for service in ALL {
        health.set_service_status(service, ServingStatus::Serving).await;
    }
    Ok(Routes::new(EchoServer::new(instance.clone()))
        .add_service(StreamServer::new(instance))
        .add_service(health_service)
        .add_service(reflection(options.listing).build_v1()?)
        .add_service(reflection(options.listing).build_v1alpha()?)
        .prepare())
}

fn reflection(listing: Listing) -> Builder<'static> {
    let names: &[&str] = match listing {
        Listing::Guide => &GUIDE,
        Listing::All => &ALL,
    };
    let described = Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET);
    names.iter().fold(described, |builder, name| builder.with_service_name(*name))
}

impl Instance {
    fn say(&self, text: String) -> EchoResponse {
        EchoResponse { text, source: self.source.clone() }
    }
}

#[tonic::async_trait]
impl Echo for Instance {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        Ok(Response::new(self.say(request.into_inner().text)))
    }

    async fn echo_v2(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        self.echo(request).await
    }
}

#[tonic::async_trait]
impl stream_server::Stream for Instance {
    type ServerStream = Answers;
    type BidiStream = Answers;

    async fn server(&self, request: Request<ServerRequest>) -> Result<Response<Answers>, Status> {
        let wanted = request.into_inner();
        let pause = Duration::from_millis(wanted.interval_ms.into());
        let held = wanted.ending() == Ending::Hold;
        let answer = self.say(wanted.text);
        let answers = stream::iter(0..wanted.count).then(move |sent| paced(sent, pause, answer.clone()));
        if held {
            return Ok(Response::new(answers.chain(stream::pending()).boxed()));
        }
        Ok(Response::new(answers.boxed()))
    }

    async fn client(&self, request: Request<Streaming<EchoRequest>>) -> Result<Response<EchoResponse>, Status> {
        let texts: Vec<String> = request.into_inner().map_ok(|message| message.text).try_collect().await?;
        Ok(Response::new(self.say(texts.join(" "))))
    }

    async fn bidi(&self, request: Request<Streaming<EchoRequest>>) -> Result<Response<Answers>, Status> {
        let instance = self.clone();
        let answers = request.into_inner().map_ok(move |message| instance.say(message.text));
        Ok(Response::new(answers.boxed()))
    }

    async fn hang(&self, _: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        std::future::pending().await
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<EchoResponse>, Status> {
        let wanted = request.into_inner();
        match i32::try_from(wanted.code).map_or(Code::Unknown, Code::from_i32) {
            Code::Ok => Ok(Response::new(self.say(wanted.message))),
            code => Err(Status::new(code, wanted.message)),
        }
    }

    async fn metadata(&self, request: Request<EchoRequest>) -> Result<Response<MetadataResponse>, Status> {
        let entries = entries(request.metadata());
        Ok(Response::new(MetadataResponse { entries, source: self.source.clone() }))
    }
}

async fn paced(sent: u32, pause: Duration, answer: EchoResponse) -> Result<EchoResponse, Status> {
    if sent > 0 {
        time::sleep(pause).await;
    }
    Ok(answer)
}

fn entries(metadata: &MetadataMap) -> Vec<Entry> {
    let mut entries: Vec<Entry> = metadata.iter().map(|pair| entry(&pair)).collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

fn entry(pair: &KeyAndValueRef<'_>) -> Entry {
    let (key, value) = match pair {
        KeyAndValueRef::Ascii(key, value) => (key.as_str(), value.as_encoded_bytes()),
        KeyAndValueRef::Binary(key, value) => (key.as_str(), value.as_encoded_bytes()),
    };
    Entry { key: key.to_owned(), value: String::from_utf8_lossy(value).into_owned() }
}
