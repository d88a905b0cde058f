//! The service's messages on the wire, and back.
//!
//! [`Response`]s → the body of an answer; the body of a request → [`DeltaDiscoveryRequest`]s
//!
//! tonic's codec keeps a buffer as large as the largest message for the life of a stream. A stream lives for days, and what is said
//! first on it is everything: a megabyte for each proxy of 1,000 hosts.
//!
//! **Invariant:** between messages a stream holds no buffer.
//! **Invariant:** of a message on its way out, one piece at most is encoded: the rest are resources that all streams share.
//!
//! Must not know: what a message means.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use futures::{Stream, StreamExt as _, stream};
use http::HeaderMap;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use prost::Message as _;
use sluice_xds::{Resource, Response};
use std::{future::ready, iter, mem, sync::Arc, vec};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, body::Body};

/// The longest request, in bytes: gRPC's usual limit.
const LONGEST: usize = 4 << 20;
/// What longer ones of a stream may be together. Envoy claims all that it has on the first request of each type after a reconnect: at
/// 100,000 names that is tens of megabytes, and without them it is left without updates for ever. Nothing that it says later is long.
const CLAIMS: usize = 128 << 20;
/// What is encoded ahead of the transport, in bytes; with the resource that crosses it, a little more.
const PIECE: usize = 64 << 10;
/// Before each message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// What a stream says: a response, or why it ends.
pub(super) type Word = Result<Response, Status>;

/// An answer that says what `words` yields, and then ends.
pub(super) fn answer(words: mpsc::Receiver<Word>) -> http::Response<Body> {
    let frames = ReceiverStream::new(words).flat_map(|word| {
        let (pieces, end) = match word {
            Ok(response) => (Some(Pieces::of(response)), None),
            Err(status) => (None, Some(trailers(&status))),
        };
        stream::iter(pieces.into_iter().flatten().map(Frame::data).chain(end))
    });
    // The transport takes nothing after the first trailers.
    let end = stream::once(ready(())).map(|()| trailers(&Status::ok("")));
    let mut answer = http::Response::new(Body::new(StreamBody::new(frames.chain(end).map(Ok::<_, Status>))));
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
    answer
}

fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // It fails for details that are no header's; there are none.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}

/// What a client says, until it says no more or nothing that is understood.
pub(super) fn requests(body: Body) -> impl Stream<Item = Result<DeltaDiscoveryRequest, Status>> + Send + Unpin {
    let incoming = Incoming { body, buffer: BytesMut::new(), claims: CLAIMS };
    let next = |mut incoming: Incoming| async move { Ok(incoming.next().await?.map(|request| (request, incoming))) };
    Box::pin(stream::try_unfold(incoming, next))
}

struct Incoming {
    body: Body,
    buffer: BytesMut,
    /// What is left for long requests.
    claims: usize,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<DeltaDiscoveryRequest>, Status> {
        loop {
            if let Some(request) = self.take()? {
                return Ok(Some(request));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// The next message, if it is there whole.
    fn take(&mut self) -> Result<Option<DeltaDiscoveryRequest>, Status> {
        let Some(([compressed, length @ ..], rest)) = self.buffer.split_first_chunk::<HEAD>() else { return Ok(None) };
        if *compressed != 0 {
            return Err(Status::unimplemented("compressed requests are not understood"));
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let most = self.claims.max(LONGEST);
        if length > most {
            return Err(Status::resource_exhausted(format!("a request of {length} bytes: at most {most}")));
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let request = DeltaDiscoveryRequest::decode(message).map_err(|error| Status::internal(error.to_string()))?;
        self.buffer.advance(HEAD + length);
        if length > LONGEST {
            self.claims -= length;
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(request))
    }
}

/// A response with one resource and nothing else: protobuf joins the parts of a message that are written one after another.
#[derive(Clone, PartialEq, prost::Message)]
struct Part {
    #[prost(message, optional, tag = "2")]
    resource: Option<Shared>,
}

/// `envoy.service.discovery.v3.Resource` around bytes that are not copied for it.
#[derive(Clone, PartialEq, prost::Message)]
struct Shared {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(message, optional, tag = "2")]
    resource: Option<Any>,
    #[prost(string, tag = "3")]
    name: String,
}

/// `google.protobuf.Any`, likewise.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

impl Part {
    fn of(resource: &Resource) -> Self {
        let any = Any { type_url: resource.id.kind.type_url().to_owned(), value: resource.bytes.clone() };
        let (version, name) = (resource.version.to_string(), resource.id.name.to_string());
        Self { resource: Some(Shared { version, resource: Some(any), name }) }
    }
}

/// One message in pieces, each an allocation of its own that goes with its bytes.
struct Pieces {
    /// What goes before the resources, until it has gone.
    head: BytesMut,
    resources: vec::IntoIter<Arc<Resource>>,
    /// How many bytes the resources are, from here on.
    left: usize,
}

impl Pieces {
    fn of(response: Response) -> Self {
        let shell = DeltaDiscoveryResponse {
            type_url: response.kind.type_url().to_owned(),
            removed_resources: response.removed.iter().map(ToString::to_string).collect(),
            nonce: response.nonce.to_string(),
            ..DeltaDiscoveryResponse::default()
        };
        let left: usize = response.resources.iter().map(|resource| Part::of(resource).encoded_len()).sum();
        let length = shell.encoded_len() + left;
        let mut head = BytesMut::with_capacity((HEAD + length).min(HEAD + shell.encoded_len() + PIECE));
        head.put_u8(0);
        // More than 4 GiB never is one message: a proxy would not have the memory for it either.
        head.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        head.put(shell.encode_to_vec().as_slice());
        Self { head, resources: response.resources.into_iter(), left }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = mem::take(&mut self.head);
        piece.reserve(self.left.min(PIECE));
        let full = |piece: &BytesMut| piece.len() >= PIECE;
        for resource in iter::from_fn(|| self.resources.next()) {
            let part = Part::of(&resource).encode_to_vec();
            self.left = self.left.saturating_sub(part.len());
            piece.put(part.as_slice());
            if full(&piece) {
                break;
            }
        }
        (!piece.is_empty()).then(|| piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_xds::{Id, Name, ResourceType, Version};

    fn response(count: usize, size: usize) -> Response {
        let resource = |number: usize| {
            let id = Id::new(ResourceType::VirtualHost, format!("host-{number}"));
            Resource { id, version: Version(7), bytes: vec![b'x'; size].into(), requires: Box::default() }
        };
        let resources = (0..count).map(|number| Arc::new(resource(number))).collect();
        let removed = vec![Name::from("gone")];
        Response { kind: ResourceType::VirtualHost, nonce: 3, resources, removed }
    }

    /// The message that the pieces are, as anybody else reads it.
    fn read(pieces: &[Bytes]) -> DeltaDiscoveryResponse {
        let mut all = Bytes::from(pieces.concat());
        assert_eq!(all.get_u8(), 0, "not compressed");
        assert_eq!(all.get_u32() as usize, all.len());
        DeltaDiscoveryResponse::decode(all).unwrap()
    }

    #[test]
    fn pieces_are_one_message_whatever_its_size() {
        for (count, size) in [(0, 0), (1, 10), (3, 0), (200, 1_000), (2, 3 * PIECE)] {
            let pieces: Vec<Bytes> = Pieces::of(response(count, size)).collect();
            assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE + size), "{count} of {size}");
            assert!(pieces.len() <= 1 + count * size / PIECE + count, "{count} of {size}: {} pieces", pieces.len());
            let read = read(&pieces);
            assert_eq!((read.nonce.as_str(), read.removed_resources.as_slice()), ("3", ["gone".to_owned()].as_slice()));
            assert_eq!((read.type_url.as_str(), read.resources.len()), (ResourceType::VirtualHost.type_url(), count));
            for (number, resource) in read.resources.iter().enumerate() {
                let any = resource.resource.clone().unwrap();
                assert_eq!((&resource.name, &resource.version), (&format!("host-{number}"), &Version(7).to_string()));
                assert_eq!((any.type_url.as_str(), any.value.len()), (ResourceType::VirtualHost.type_url(), size));
            }
        }
    }

    #[tokio::test]
    async fn requests_are_read_however_they_are_cut_and_leave_no_buffer() {
        let request = |nonce: &str| DeltaDiscoveryRequest { response_nonce: nonce.to_owned(), ..Default::default() };
        let mut bytes = Vec::new();
        for nonce in ["1", "2"] {
            let message = request(nonce).encode_to_vec();
            bytes.push(0);
            bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend(message);
        }
        for size in 1..=bytes.len() {
            let cut: Vec<_> = bytes.chunks(size).map(|cut| Ok::<_, Status>(Frame::data(cut.to_vec().into()))).collect();
            let body = Body::new(StreamBody::new(stream::iter(cut)));
            let mut incoming = Incoming { body, buffer: BytesMut::new(), claims: 0 };
            for nonce in ["1", "2"] {
                assert_eq!(incoming.next().await.unwrap(), Some(request(nonce)), "cut by {size}");
            }
            assert_eq!(incoming.next().await.unwrap(), None);
            assert_eq!(incoming.buffer.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn long_requests_are_bounded_together_and_usual_ones_go_on() {
        let of = |length: usize| DeltaDiscoveryRequest { type_url: "x".repeat(length), ..Default::default() };
        let mut bytes = Vec::new();
        for length in [LONGEST + 1, 1, LONGEST + 1] {
            let message = of(length).encode_to_vec();
            bytes.push(0);
            bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend(message);
        }
        let body = Body::new(StreamBody::new(stream::iter([Ok::<_, Status>(Frame::data(bytes.into()))])));
        let mut incoming = Incoming { body, buffer: BytesMut::new(), claims: 2 * LONGEST };
        assert_eq!(incoming.next().await.unwrap(), Some(of(LONGEST + 1)));
        assert_eq!(incoming.next().await.unwrap(), Some(of(1)));
        assert_eq!(incoming.next().await.unwrap_err().code(), tonic::Code::ResourceExhausted);
    }

    #[tokio::test]
    async fn what_is_compressed_or_too_long_is_refused() {
        for (head, code) in
            [([1, 0, 0, 0, 0], tonic::Code::Unimplemented), ([0, 255, 0, 0, 0], tonic::Code::ResourceExhausted)]
        {
            let body =
                Body::new(StreamBody::new(stream::iter([Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(&head)))])));
            let refused = requests(body).next().await.unwrap().unwrap_err();
            assert_eq!(refused.code(), code);
        }
    }
}
