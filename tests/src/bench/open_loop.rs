//! Calls by the clock: an open loop, so that a slow answer delays no later call.
//!
//! connections, rate → latencies from the intended start, and what failed
//!
//! **Invariant:** the latency of a call begins when it should have begun (no coordinated omission).
//! **Invariant:** an answer counts only with grpc-status 0.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use tokio::{task::JoinSet, time::sleep_until};

use super::sample::Samples;
use crate::wire::Connection;

/// How often calls that are due are started.
const PACE: Duration = Duration::from_millis(1);

/// What a call says.
#[derive(Clone, Debug)]
pub struct Request {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// A unary call with a message of so many bytes of text.
    pub fn unary(path: &str, text: usize) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        Self { path: path.to_owned(), headers, body: message(text) }
    }

    /// The same with a further header.
    pub fn with(mut self, name: &'static str, value: &str) -> Result<Self> {
        self.headers.insert(name, value.parse()?);
        Ok(self)
    }
}

/// `EchoRequest{text}` with the head of a gRPC message.
fn message(text: usize) -> Bytes {
    let mut field = BytesMut::new();
    if text > 0 {
        prost::encoding::string::encode(1, &"x".repeat(text), &mut field);
    }
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(field.len()).unwrap_or(u32::MAX));
    message.put(field);
    message.freeze()
}

/// What became of the calls.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Milliseconds.
    pub latencies: Samples,
    /// What was said against those that failed.
    pub failed: Vec<String>,
}

#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    failed: Vec<String>,
}

/// Calls at a rate for a time, on the connections in turn.
pub async fn open_loop(connections: &[Connection], request: &Request, rate: u32, span: Duration) -> Outcome {
    let tally = Arc::<Mutex<Tally>>::default();
    let (begun, mut running) = (Instant::now(), JoinSet::new());
    for (number, connection) in (0_u32..).zip(connections.iter().cycle()) {
        let due = begun + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        if due >= begun + span {
            break;
        }
        if due > Instant::now() + PACE {
            // house(sleep): the clock of the load.
            sleep_until((Instant::now() + PACE).min(due).into()).await;
            while running.try_join_next().is_some() {}
        }
        let (connection, request, tally) = (connection.clone(), request.clone(), Arc::clone(&tally));
        running.spawn(async move {
            let outcome = once(&connection, request).await;
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(()) => tally.latencies.push(due.elapsed()),
                Err(error) => tally.failed.push(format!("{error:#}")),
            }
        });
    }
    running.join_all().await;
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    Outcome { latencies: Samples::milliseconds(tally.latencies.drain(..)), failed: std::mem::take(&mut tally.failed) }
}

async fn once(connection: &Connection, request: Request) -> Result<()> {
    let answer = connection.post(&request.path, request.headers, request.body).await?;
    let status = answer.trailers.get("grpc-status").or_else(|| answer.headers.get("grpc-status"));
    ensure!(status.is_some_and(|status| status == "0"), "HTTP {}, grpc-status {status:?}", answer.status);
    Ok(())
}
