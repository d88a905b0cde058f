//! Calls through the gateway, with gRPC and with gRPC-Web.
//!
//! connection, path, headers → who answered, or the status
//!
//! **Invariant:** both protocols are read from the wire, so that what is not a gRPC answer is not taken for one.
//!
//! It must not know which answer is right.

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use sluice_echo::proto::EchoResponse;
use tonic::Code;

use crate::wire::{Answer, Connection};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web, binary.
    Web,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With status OK, by the instance of this name.
    Answered(String),
    /// With another status.
    Refused(Code, String),
}

impl Outcome {
    /// The status code.
    pub fn code(&self) -> Code {
        match self {
            Self::Answered(_) => Code::Ok,
            Self::Refused(code, _) => *code,
        }
    }
}

/// The flag of a frame that holds trailers (gRPC-Web).
const TRAILERS: u8 = 0x80;

/// Calls a unary method with an empty message: every unary method of the echo server takes it, and answers with its name.
pub async fn call(connection: &Connection, speech: Speech, path: &str, headers: &[(&str, &str)]) -> Result<Outcome> {
    let mut all = HeaderMap::new();
    let kind = match speech {
        Speech::Grpc => "application/grpc",
        Speech::Web => "application/grpc-web+proto",
    };
    all.insert("content-type", HeaderValue::from_static(kind));
    if speech == Speech::Grpc {
        all.insert("te", HeaderValue::from_static("trailers"));
    }
    for (name, value) in headers {
        all.append(name.parse::<HeaderName>()?, value.parse()?);
    }
    let answer = connection.post(path, all, Bytes::from_static(&[0; 5])).await?;
    match speech {
        Speech::Grpc => outcome(&answer, &answer.data, &answer.trailers),
        Speech::Web => {
            let (data, trailers) = split(answer.data.clone())?;
            outcome(&answer, &data, &trailers)
        }
    }
}

/// The headers alone may hold the status (trailers-only).
fn outcome(answer: &Answer, data: &Bytes, trailers: &HeaderMap) -> Result<Outcome> {
    let field = |name: &str| trailers.get(name).or_else(|| answer.headers.get(name));
    let code = field("grpc-status").with_context(|| format!("no grpc-status in {answer:?}"))?;
    let code = Code::from_bytes(code.as_bytes());
    if code != Code::Ok {
        let message = field("grpc-message").map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        return Ok(Outcome::Refused(code, message.unwrap_or_default()));
    }
    ensure!(answer.status == 200 && data.len() >= 5, "OK without a message: {answer:?}");
    Ok(Outcome::Answered(EchoResponse::decode(data.slice(5..))?.source))
}

/// Messages and trailers of a body of gRPC-Web.
fn split(mut body: Bytes) -> Result<(Bytes, HeaderMap)> {
    let (mut data, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while body.has_remaining() {
        ensure!(body.remaining() >= 5, "not a frame: {body:?}");
        let (flag, length) = (body.get_u8(), body.get_u32());
        ensure!(body.remaining() >= length as usize, "a frame of {length} bytes is cut");
        let frame = body.split_to(length as usize);
        if flag & TRAILERS == 0 {
            data.put_u8(flag);
            data.put_u32(length);
            data.put(frame);
        } else {
            trailers = fields(std::str::from_utf8(&frame)?)?;
        }
    }
    Ok((data.freeze(), trailers))
}

fn fields(text: &str) -> Result<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').with_context(|| format!("not a field: {line:?}"))?;
        fields.append(name.parse::<HeaderName>()?, value.trim().parse()?);
    }
    Ok(fields)
}
