//! Following one source, for as long as the process lives.
//!
//! the API server's lists and events → [`News`]
//!
//! kube's own watcher holds whole pages of decoded objects, and fails a page for one of them. This one decodes each object by
//! itself, from the page's text into what the world keeps, so that the peak of memory is one page of text.
//!
//! **Invariant:** nothing ends it: whatever fails is said once, counted, and tried again, later each time.
//! **Invariant:** a failure takes nothing away: what was told stays told until a complete list says otherwise.
//!
//! Must not know: what becomes of the news, and how other sources are doing.

use super::{
    backoff::Backoff,
    known::{Head, Known, Listing, Undecodable},
    metrics::Gauges,
    seen::Seen,
    source::Source,
    sync::{News, Voice},
};
use futures::{Stream, StreamExt, TryStreamExt};
use http::Request;
use http_body_util::BodyExt as _;
use kube::{Client, client::Body, core::request};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{io, time::Duration};
use tokio::time::{Instant, error::Elapsed, sleep, timeout};
use tokio_util::{
    codec::{FramedRead, LinesCodec, LinesCodecError},
    io::StreamReader,
};

/// How long a page of a list may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bookmarks come every minute or so: a connection that is silent for much longer is dead.
const SILENCE: Duration = Duration::from_secs(150);
/// The first wait after a failure.
const SOON: Duration = Duration::from_millis(100);
/// The longest wait for an API server that does not answer: it is back for as long at most before it is noticed.
const OUTAGE: Duration = Duration::from_secs(3);
/// The longest wait for somebody to install a CRD or to grant a permission.
const REFUSAL: Duration = Duration::from_secs(15);
/// A watch that lasted so long worked. Less than a second: where whatever is on the way cuts each of them every second, none is waited
/// for longer than after the first.
const LASTED: Duration = Duration::from_millis(500);
/// So many refusals to go on from a version, and it is not gone on from: the API server may have been restored from a backup.
const STUBBORN: u32 = 3;
/// A kind that had objects is gone once the API server has said so for so long: while it starts, it may not know its CRDs yet.
const GONE: Duration = Duration::from_mins(1);

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the request cannot be made: {0}")]
    Request(#[from] request::Error),
    #[error("the API server cannot be reached: {}", chain(.0))]
    Unreachable(#[from] kube::Error),
    #[error("the API server does not answer")]
    Slow(#[from] Elapsed),
    #[error("the answer broke off: {0}")]
    Cut(#[from] io::Error),
    #[error("the answer is not understood: {0}")]
    Garbled(#[from] serde_json::Error),
    #[error("the API server says {code}: {message}")]
    Refused { code: u16, message: String },
    #[error("the process ends")]
    Unheard,
}

impl From<LinesCodecError> for Broken {
    fn from(error: LinesCodecError) -> Self {
        match error {
            LinesCodecError::Io(error) => Self::Cut(error),
            LinesCodecError::MaxLineLengthExceeded => Self::Cut(io::Error::other("a line without an end")),
        }
    }
}

/// An error with its causes: that of a connection says nothing by itself.
fn chain(error: &kube::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// What `metav1.Status` says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

#[derive(Deserialize)]
struct Page<'a> {
    metadata: PageMeta,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: LineKind,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum LineKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

/// One source and what is known of it.
pub(super) struct Watch {
    client: Client,
    source: Source,
    known: Known,
    voice: Voice,
    gauges: Gauges,
    /// For those who write statuses.
    seen: Seen,
    backoff: Backoff,
    /// How often in a row the API server had something against a request itself.
    refusals: u32,
    /// The version to go on from; a list comes first if absent.
    resume: Option<String>,
    /// Since when the last watch was open.
    opened: Option<Instant>,
    /// What was said last of a failure.
    said: Option<String>,
    /// Since when the API server does not serve the kind.
    absent: Option<Instant>,
}

impl Watch {
    /// A watch that has not started.
    pub(super) fn new(client: Client, source: Source, voice: Voice, gauges: Gauges, seen: Seen) -> Self {
        Self {
            client,
            seen,
            known: Known::new(source.kind),
            source,
            voice,
            gauges,
            backoff: Backoff::new(SOON),
            refusals: 0,
            resume: None,
            opened: None,
            said: None,
            absent: None,
        }
    }

    /// Follows until nobody listens.
    pub(super) async fn run(mut self) {
        loop {
            let outcome = self.turn().await;
            let lasted = self.opened.take().is_some_and(|opened| opened.elapsed() >= LASTED);
            if lasted {
                self.backoff.reset();
                self.refusals = 0;
            }
            let wait = match outcome {
                // The API server ends watches as it likes; one that it ends at once is not asked for at once.
                Ok(()) if lasted => Ok(Duration::ZERO),
                Ok(()) => Ok(self.backoff.next(OUTAGE)),
                Err(broken) => self.fail(&broken).await,
            };
            let Ok(wait) = wait else { return };
            sleep(wait).await;
        }
    }

    /// A list if there is none yet, and a watch until it ends.
    async fn turn(&mut self) -> Result<(), Broken> {
        let version = match self.resume.clone() {
            Some(version) => version,
            None => self.list().await?,
        };
        self.follow(&version).await
    }

    async fn list(&mut self) -> Result<String, Broken> {
        let mut listing = Listing::default();
        let mut next = None;
        let version = loop {
            let text = timeout(PATIENCE, self.read(self.source.list(next.as_deref())?)).await??;
            let page: Page<'_> = serde_json::from_str(&text)?;
            for item in page.items.into_iter().flatten() {
                let head = Head::of(item.get())?;
                self.known.note(&mut listing, &head, item.get()).unwrap_or_else(|error| self.complain(&error));
            }
            match page.metadata.next {
                token if token.is_empty() => break page.metadata.resource_version,
                token => next = Some(token),
            }
        };
        let changes = self.known.replace(listing);
        self.gauges.listed();
        self.absent = None;
        self.resume = Some(version.clone());
        self.tell(News::Listed(changes)).await?;
        Ok(version)
    }

    async fn follow(&mut self, version: &str) -> Result<(), Broken> {
        let answer = timeout(PATIENCE, self.ask(self.source.watch(version)?)).await??;
        let mut lines = lines(answer);
        self.works();
        loop {
            match timeout(SILENCE, lines.next()).await? {
                Some(line) => self.hear(&line?).await?,
                None => return Ok(()),
            }
        }
    }

    async fn hear(&mut self, line: &str) -> Result<(), Broken> {
        let line: Line<'_> = serde_json::from_str(line)?;
        let text = line.object.get();
        if matches!(line.kind, LineKind::Error) {
            let Status { code, message } = serde_json::from_str(text)?;
            return Err(Broken::Refused { code, message });
        }
        let head = Head::of(text)?;
        let changes = match line.kind {
            LineKind::Added | LineKind::Modified => {
                self.seen.note(self.source.kind, &head);
                self.known.upsert(&head, text).unwrap_or_else(|error| {
                    self.complain(&error);
                    Vec::new()
                })
            }
            LineKind::Deleted => vec![self.known.remove(&head)],
            LineKind::Bookmark | LineKind::Error => Vec::new(),
        };
        self.resume = Some(head.version().to_owned());
        if changes.is_empty() { Ok(()) } else { self.tell(News::Changed(changes)).await }
    }

    async fn tell(&mut self, news: News) -> Result<(), Broken> {
        self.gauges.objects(self.known.len(), self.known.undecodable());
        self.voice.say(news).await.map_err(|_| Broken::Unheard)
    }

    fn complain(&self, error: &Undecodable) {
        tracing::error!("{} {error}", self.source.kind);
    }

    /// Takes a failure in, and says how long to wait.
    async fn fail(&mut self, broken: &Broken) -> Result<Duration, Broken> {
        let code = match broken {
            Broken::Unheard => return Err(Broken::Unheard),
            Broken::Refused { code, .. } => Some(*code),
            _ => None,
        };
        // 410: the version is too old to go on from. That is no failure as long as the list succeeds.
        if code == Some(410) {
            self.resume = None;
            return Ok(self.backoff.next(OUTAGE));
        }
        self.gauges.down();
        // Neither one that is starting or busy, nor one that forbids, has anything against the version.
        self.refusals += u32::from(code.is_some_and(|code| !matches!(code, 403 | 429 | 503)));
        if self.refusals >= STUBBORN {
            self.resume = None;
        }
        if code == Some(404) {
            self.resume = None;
            self.miss(broken).await?;
        } else {
            self.say(broken);
            self.tell(News::Failed(broken.to_string())).await?;
        }
        Ok(self.backoff.next(if matches!(code, Some(403 | 404)) { REFUSAL } else { OUTAGE }))
    }

    async fn miss(&mut self, broken: &Broken) -> Result<(), Broken> {
        let since = *self.absent.get_or_insert_with(Instant::now);
        if self.known.len() > 0 && since.elapsed() < GONE {
            self.say(broken);
            return self.tell(News::Failed(broken.to_string())).await;
        }
        if self.said.is_none() {
            tracing::info!("{}: the API server does not serve it; it is looked for again and again", self.source);
            self.said = Some(String::new());
        }
        let changes = self.known.replace(Listing::default());
        self.tell(News::NotServed(changes)).await
    }

    /// One line for each new reason; the rest is in the metric.
    fn say(&mut self, broken: &Broken) {
        let reason = broken.to_string();
        if self.said.as_ref() != Some(&reason) {
            tracing::warn!("watch of {}: {reason}; what is known stays in force, and it is tried again", self.source);
            self.said = Some(reason);
        }
    }

    fn works(&mut self) {
        self.gauges.up();
        self.opened = Some(Instant::now());
        if self.said.take().is_some() {
            tracing::info!("watch of {}: it works", self.source);
        }
    }

    async fn read(&self, request: Request<Vec<u8>>) -> Result<String, Broken> {
        text(self.ask(request).await?).await
    }

    async fn ask(&self, request: Request<Vec<u8>>) -> Result<Body, Broken> {
        let answer = self.client.send(request.map(Body::from)).await?;
        let code = answer.status();
        if code.is_success() {
            return Ok(answer.into_body());
        }
        let text = text(answer.into_body()).await?;
        let said = serde_json::from_str::<Status>(&text).map_or(text, |status| status.message);
        Err(Broken::Refused { code: code.as_u16(), message: said.trim().to_owned() })
    }
}

async fn text(body: Body) -> Result<String, Broken> {
    let bytes = body.collect().await?.to_bytes();
    String::from_utf8(bytes.into()).map_err(|error| Broken::Cut(io::Error::other(error)))
}

fn lines(body: Body) -> impl Stream<Item = Result<String, LinesCodecError>> + Unpin {
    let bytes = body.into_data_stream().map_err(io::Error::other);
    FramedRead::new(StreamReader::new(bytes), LinesCodec::new())
}

#[cfg(test)]
mod tests;
