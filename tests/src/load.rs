//! Open load: calls that start by the clock, whatever became of those before, and streams that are held meanwhile.
//!
//! a [`Target`] and a [`Plan`] → a [`Report`] of every call that failed and every stream that was cut
//!
//! **Invariant:** a call is sent once. Only one that never left this process is sent again over another connection, as every
//! gRPC client does when the gateway has said GOAWAY.
//! **Invariant:** a run in which the machine could not answer 95 % of the intended calls in time proves nothing, and says so.
//!
//! It must not know what runs behind the target, and what is done to it meanwhile.

use std::{
    fmt::{self, Write as _},
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use sluice_echo::proto::{EchoRequest, echo_client::EchoClient, stream_client::StreamClient};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::wire::Connection;

/// A call or message that takes longer counts as lost.
const LOST: Duration = Duration::from_secs(20);
/// How often a call that was never sent looks for another connection.
const ATTEMPTS: usize = 5;

/// Where calls go.
pub trait Target: Send + Sync + 'static {
    /// A new connection; calls of different numbers may use different hostnames.
    fn connect(&self, number: u64) -> impl Future<Output = Result<Connection>> + Send;
}

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Unary calls a second, over all connections.
    pub per_second: u32,
    /// Connections that calls share.
    pub connections: usize,
    /// Every so manieth call shakes hands first, so that new certificates and new proxies are used.
    pub fresh: u64,
    /// Streams that are held, a message a second each.
    pub streams: usize,
}

/// Load that is under way.
#[derive(Debug)]
pub struct Load {
    end: watch::Sender<bool>,
    calls: JoinHandle<Result<Counts>>,
    streams: JoinHandle<Result<Vec<String>>>,
    tally: Arc<Tally>,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Calls that were to be made.
    pub intended: u64,
    /// Calls that were answered before the load was told to end.
    pub in_time: u64,
    /// The calls that failed.
    pub failed: Vec<Failed>,
    /// One line a stream that ended before its client did.
    pub cut: Vec<String>,
    /// Connections that the gateway closed.
    pub closed: u64,
    /// The longest time from the start of a call to its answer.
    pub slowest: Duration,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// When it began, from the beginning of the load on.
    pub started: Duration,
    ended: Duration,
    words: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "started at {:?}, ended at {:?}: {}", self.started, self.ended, self.words)
    }
}

impl Report {
    /// Nothing if no call failed, no stream was cut and the machine kept up.
    ///
    /// # Errors
    /// What went wrong, with the first few lines of it.
    pub fn flawless(&self) -> Result<()> {
        ensure!(self.failed.is_empty(), "{} of {} calls failed{}", self.failed.len(), self.intended, few(&self.failed));
        ensure!(self.cut.is_empty(), "{} streams were cut{}", self.cut.len(), few(&self.cut));
        ensure!(
            self.in_time * 100 >= self.intended * 95,
            "invalid run: only {} of {} calls were answered in time",
            self.in_time,
            self.intended
        );
        Ok(())
    }
}

fn few(lines: &[impl fmt::Display]) -> String {
    lines.iter().take(5).fold(String::from(", such as"), |mut text, line| {
        let _ = write!(text, "\n  {line}");
        text
    })
}

#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    closed: AtomicU64,
    slowest: Mutex<Duration>,
    failed: Mutex<Vec<Failed>>,
}

#[derive(Debug, Default)]
struct Counts {
    intended: u64,
    in_time: u64,
}

impl Tally {
    fn note(&self, outcome: Result<()>, started: Instant, begin: Instant) {
        match outcome {
            Ok(()) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
                *slowest = slowest.max(started.elapsed());
            }
            Err(error) => {
                let failed = Failed { started: started - begin, ended: begin.elapsed(), words: format!("{error:#}") };
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(failed);
            }
        }
    }
}

impl Load {
    /// Opens the connections, then starts.
    ///
    /// # Errors
    /// When the first connections cannot be opened.
    pub async fn start<T: Target>(target: Arc<T>, plan: Plan) -> Result<Self> {
        let begin = Instant::now();
        let (end, ended) = watch::channel(false);
        let tally = Arc::new(Tally::default());
        let pool = Arc::new(Pool::open(target.clone(), plan.connections, tally.clone()).await?);
        let held = Pool::open(target, plan.connections.min(plan.streams), tally.clone()).await?;
        let streams = tokio::spawn(streams(held, plan.streams, ended.clone(), begin));
        let calls = tokio::spawn(calls(pool, plan, tally.clone(), ended));
        Ok(Self { end, calls, streams, tally })
    }

    /// Ends it: no call starts any more, those under way are waited for, streams are ended by their clients.
    ///
    /// # Errors
    /// When the load itself broke; what befell calls and streams is in the report.
    pub async fn stop(self) -> Result<Report> {
        self.end.send_replace(true);
        let (counts, cut) = (self.calls.await??, self.streams.await??);
        Ok(Report {
            intended: counts.intended,
            in_time: counts.in_time,
            failed: self.tally.failed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            cut,
            closed: self.tally.closed.load(Ordering::Relaxed),
            slowest: *self.tally.slowest.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }
}

/// Connections that are opened again once the gateway has ended them.
struct Pool<T> {
    target: Arc<T>,
    open: Vec<tokio::sync::Mutex<Connection>>,
    tally: Arc<Tally>,
}

impl<T: Target> Pool<T> {
    async fn open(target: Arc<T>, count: usize, tally: Arc<Tally>) -> Result<Self> {
        let connections = try_join_all((0..count as u64).map(|number| target.connect(number))).await?;
        Ok(Self { target, open: connections.into_iter().map(tokio::sync::Mutex::new).collect(), tally })
    }

    async fn get(&self, number: u64) -> Result<Connection> {
        let slot = usize::try_from(number)? % self.open.len().max(1);
        let mut connection = self.open.get(slot).context("no connections")?.lock().await;
        if connection.is_closed() {
            self.tally.closed.fetch_add(1, Ordering::Relaxed);
            *connection = self.target.connect(slot as u64).await.context("connecting again")?;
        }
        Ok(connection.clone())
    }

    async fn call(&self, number: u64, fresh: u64) -> Result<()> {
        if number.is_multiple_of(fresh) {
            let connection = self.target.connect(number / fresh).await.context("connecting")?;
            return unary(&connection, number).await.map_err(Failure::into);
        }
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let connection = self.get(number).await?;
            match unary(&connection, number).await {
                Ok(()) => return Ok(()),
                Err(Failure::Unsent(error)) => last = Some(error),
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(last.context("never tried")?)
    }
}

/// How a call fails.
enum Failure {
    /// It never left this process.
    Unsent(anyhow::Error),
    Failed(anyhow::Error),
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsent(error) | Failure::Failed(error) => error,
        }
    }
}

async fn unary(connection: &Connection, number: u64) -> Result<(), Failure> {
    let mut client = EchoClient::with_origin(connection.clone(), connection.origin());
    let text = number.to_string();
    let answer = timeout(LOST, client.echo(EchoRequest { text: text.clone() })).await;
    match answer {
        Err(_) => Err(Failure::Failed(anyhow::anyhow!("no answer in {LOST:?}"))),
        Ok(Err(status)) if is_unsent(&status) => Err(Failure::Unsent(status.into())),
        Ok(Err(status)) => Err(Failure::Failed(status.into())),
        Ok(Ok(answer)) if answer.get_ref().text == text => Ok(()),
        Ok(Ok(_)) => Err(Failure::Failed(anyhow::anyhow!("another call's answer"))),
    }
}

/// hyper calls a request cancelled that it had not begun to send when the connection ended.
fn is_unsent(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Starts calls by the clock until the end.
async fn calls<T: Target>(
    pool: Arc<Pool<T>>,
    plan: Plan,
    tally: Arc<Tally>,
    ended: watch::Receiver<bool>,
) -> Result<Counts> {
    let begin = Instant::now();
    let mut clock = interval(Duration::from_secs(1) / plan.per_second.max(1));
    let mut running = JoinSet::new();
    let mut number = 0;
    while !*ended.borrow() {
        let started = clock.tick().await;
        number += 1;
        let (pool, tally) = (pool.clone(), tally.clone());
        running.spawn(async move { tally.note(pool.call(number, plan.fresh).await, started, begin) });
        while running.try_join_next().is_some() {}
    }
    let in_time = tally.answered.load(Ordering::Relaxed);
    while running.join_next().await.is_some() {}
    Ok(Counts { intended: number, in_time })
}

/// Holds streams until the end, and says which were cut.
async fn streams<T: Target>(
    pool: Pool<T>,
    count: usize,
    ended: watch::Receiver<bool>,
    begin: Instant,
) -> Result<Vec<String>> {
    let mut running = JoinSet::new();
    for number in 0..count as u64 {
        running.spawn(stream(pool.get(number).await?, ended.clone()));
    }
    let mut cut = Vec::new();
    while let Some(outcome) = running.join_next().await {
        if let Err(error) = outcome? {
            cut.push(format!("after {:?}: {error:#}", begin.elapsed()));
        }
    }
    Ok(cut)
}

/// A message a second, each echoed, until the end; then the stream ends when the client does.
async fn stream(connection: Connection, ended: watch::Receiver<bool>) -> Result<()> {
    let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
    let (sender, texts) = mpsc::channel(1);
    sender.send(EchoRequest { text: "first".into() }).await?;
    let mut answers = client.bidi(ReceiverStream::new(texts)).await?.into_inner();
    ensure!(timeout(LOST, answers.message()).await??.context("ended at once")?.text == "first");
    let mut clock = interval(Duration::from_secs(1));
    while !*ended.borrow() {
        clock.tick().await;
        sender.send(EchoRequest { text: "next".into() }).await.context("cut")?;
        ensure!(timeout(LOST, answers.message()).await.context("silent")??.context("ended")?.text == "next");
    }
    drop(sender);
    match timeout(LOST, answers.message()).await.context("never ended")?? {
        None => Ok(()),
        Some(message) => bail!("one more message: {message:?}"),
    }
}
