//! From many sources to one world: the engine begins with all of it, and hears what differs from then on.
//!
//! [`News`] of every source → batches of inputs, readiness
//!
//! **Invariant:** the first batch holds the whole world: what a proxy serves is never taken away because a list was not there yet.
//! **Invariant:** a difference stays one batch.
//! **Invariant:** a kind that what is served depends on is waited for as long as it takes, and [`Progress`] names it and the reason.
//! Any other kind is waited for [`PATIENCE`]; then it is left out, loudly, and joins when it can be read.
//!
//! Must not know: how sources are followed.

use super::source::Source;
use sluice_core::{key::Kind, world::Change};
use sluice_engine::Input;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// How long a kind that nothing served depends on may keep everybody else waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// News that wait to be taken; who says more waits.
const QUEUE: usize = 256;

/// What a source says.
#[derive(Debug)]
pub(super) enum News {
    /// A complete list was read: this is what is different.
    Listed(Vec<Change>),
    /// Something happened after the list.
    Changed(Vec<Change>),
    /// The API server does not serve the kind; this is what goes with it.
    NotServed(Vec<Change>),
    /// It cannot be read now, for this reason.
    Failed(String),
}

/// The end of a source that speaks.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    source: usize,
    sender: mpsc::Sender<(usize, News)>,
}

impl Voice {
    /// Waits until it is heard.
    pub(super) async fn say(&self, news: News) -> Result<(), mpsc::error::SendError<(usize, News)>> {
        self.sender.send((self.source, news)).await
    }
}

/// What the first batch still waits for, by source, with the reason where there is one. Empty: the engine has the world.
pub(super) type Progress = BTreeMap<Source, Option<String>>;

/// Takes what sources say, and passes it on to the engine.
#[derive(Debug)]
pub(super) struct Sync {
    gate: Gate,
    news: mpsc::Receiver<(usize, News)>,
    inputs: mpsc::Sender<Vec<Input>>,
    progress: watch::Sender<Progress>,
}

impl Sync {
    /// Waits for all `sources`; what the engine begins with is `first` and their objects. There is a voice for each source.
    pub(super) fn new(sources: Vec<Source>, first: Vec<Input>, inputs: mpsc::Sender<Vec<Input>>) -> (Self, Vec<Voice>) {
        let (sender, news) = mpsc::channel(QUEUE);
        let voices = (0..sources.len()).map(|source| Voice { source, sender: sender.clone() }).collect();
        let gate = Gate::new(sources, first);
        let progress = watch::Sender::new(gate.pending.clone());
        (Self { gate, news, inputs, progress }, voices)
    }

    /// How far it is.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Passes on what is said until nobody listens.
    pub(super) async fn run(mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let batch = tokio::select! {
                said = self.news.recv() => match said {
                    Some((source, news)) => self.gate.hear(source, news),
                    None => return,
                },
                () = sleep_until(deadline), if self.gate.is_patient() => self.gate.lose_patience(),
            };
            if !batch.is_empty() && self.inputs.send(batch).await.is_err() {
                return;
            }
            self.progress.send_if_modified(|told| {
                let moved = *told != self.gate.pending;
                told.clone_from(&self.gate.pending);
                moved
            });
        }
    }
}

/// What is kept back, and until when.
#[derive(Debug)]
struct Gate {
    sources: Vec<Source>,
    pending: Progress,
    /// The kinds that the engine was told cannot be read.
    absent: BTreeSet<Kind>,
    /// What the engine begins with, until it has it.
    world: Option<Vec<Input>>,
    /// Whether kinds that nothing served depends on are still waited for.
    patience: Patience,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    Held,
    Lost,
}

impl Gate {
    fn new(sources: Vec<Source>, first: Vec<Input>) -> Self {
        let pending = sources.iter().map(|source| (source.clone(), None)).collect();
        Self { sources, pending, absent: BTreeSet::new(), world: Some(first), patience: Patience::Held }
    }

    fn is_patient(&self) -> bool {
        self.world.is_some() && self.patience == Patience::Held
    }

    /// Takes news in, and returns what the engine is told now.
    fn hear(&mut self, source: usize, news: News) -> Vec<Input> {
        let Some(source) = self.sources.get(source).cloned() else { return Vec::new() };
        let inputs = match news {
            News::Listed(changes) => {
                self.pending.remove(&source);
                self.served(source.kind).chain(changes).map(Input::from).collect()
            }
            News::Changed(changes) => changes.into_iter().map(Input::from).collect(),
            News::NotServed(changes) => {
                self.miss(&source);
                self.not_served(source.kind).chain(changes).map(Input::from).collect()
            }
            News::Failed(reason) => {
                if let Some(known) = self.pending.get_mut(&source) {
                    *known = Some(reason);
                }
                Vec::new()
            }
        };
        self.pass(inputs)
    }

    /// Leaves out what can be left out.
    fn lose_patience(&mut self) -> Vec<Input> {
        self.patience = Patience::Lost;
        let mut inputs = Vec::new();
        for (source, reason) in std::mem::take(&mut self.pending) {
            let why = reason.as_deref().unwrap_or("its list takes long");
            if is_vital(source.kind) {
                tracing::error!("nothing is served before {source} can be read: {why}");
                self.pending.insert(source, reason);
            } else {
                tracing::error!("{source} is left out until it can be read: {why}");
                inputs.extend(self.not_served(source.kind).map(Input::from));
            }
        }
        self.pass(inputs)
    }

    fn miss(&mut self, source: &Source) {
        if !is_essential(source.kind) {
            self.pending.remove(source);
        } else if let Some(reason) = self.pending.get_mut(source) {
            *reason = Some("the API server does not serve it: install the CRDs of the Gateway API".to_owned());
        }
    }

    fn served(&mut self, kind: Kind) -> impl Iterator<Item = Change> + use<> {
        self.absent.remove(&kind).then_some(Change::Served(kind, true)).into_iter()
    }

    fn not_served(&mut self, kind: Kind) -> impl Iterator<Item = Change> + use<> {
        self.absent.insert(kind).then_some(Change::Served(kind, false)).into_iter()
    }

    fn pass(&mut self, inputs: Vec<Input>) -> Vec<Input> {
        let Some(world) = &mut self.world else { return inputs };
        world.extend(inputs);
        if !self.pending.is_empty() {
            return Vec::new();
        }
        tracing::info!("the world is read: {} objects", world.len());
        self.world.take().unwrap_or_default()
    }
}

/// Whether its absence would take away what is served: routes that are served, what they refer to, what says that they may, and
/// how it is to be done: without policies of TLS, backends would be spoken to in the clear. Without the GrpcServices, what was
/// generated for them would look abandoned.
const fn is_vital(kind: Kind) -> bool {
    !matches!(kind, Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute | Kind::GrpcPolicy | Kind::Certificate)
}

/// Without it there is nothing to do at all.
const fn is_essential(kind: Kind) -> bool {
    matches!(kind, Kind::GatewayClass | Kind::Gateway)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::key::{NsName, Ref};

    const GATEWAYS: usize = 0;
    const LISTENER_SETS: usize = 1;
    const TLS_ROUTES: usize = 2;

    fn gate() -> Gate {
        let sources = [Kind::Gateway, Kind::ListenerSet, Kind::TlsRoute];
        Gate::new(sources.map(|kind| Source { kind, namespace: None }).into(), vec![Input::Leader(false)])
    }

    fn gone(name: &str) -> Vec<Change> {
        vec![Change::Delete(Ref::new(Kind::Gateway, NsName::new("a", name)))]
    }

    fn waits_for(gate: &Gate) -> Vec<String> {
        gate.pending.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn the_engine_begins_with_everything_at_once() {
        let mut gate = gate();
        assert!(gate.hear(GATEWAYS, News::Listed(gone("x"))).is_empty());
        assert!(gate.hear(GATEWAYS, News::Changed(gone("y"))).is_empty());
        assert!(gate.hear(LISTENER_SETS, News::Listed(Vec::new())).is_empty());
        assert_eq!(gate.hear(TLS_ROUTES, News::Listed(gone("z"))).len(), 4, "what it begins with, and three changes");
        assert_eq!(gate.hear(GATEWAYS, News::Changed(gone("x"))).len(), 1);
        assert!(!gate.is_patient());
    }

    #[test]
    fn a_kind_that_is_not_served_is_said_so_once_and_again_when_it_comes() {
        let mut gate = gate();
        gate.hear(GATEWAYS, News::Listed(Vec::new()));
        gate.hear(TLS_ROUTES, News::Listed(Vec::new()));
        let first = gate.hear(LISTENER_SETS, News::NotServed(Vec::new()));
        let said = Input::Change(Change::Served(Kind::ListenerSet, false));
        assert_eq!(format!("{first:?}"), format!("{:?}", [Input::Leader(false), said]));
        assert!(gate.hear(LISTENER_SETS, News::NotServed(Vec::new())).is_empty());
        let came = gate.hear(LISTENER_SETS, News::Listed(gone("x")));
        assert!(matches!(came.first(), Some(Input::Change(Change::Served(Kind::ListenerSet, true)))), "{came:?}");
    }

    #[test]
    fn without_the_gateway_api_it_waits_and_says_for_what() {
        let mut gate = gate();
        gate.hear(LISTENER_SETS, News::NotServed(Vec::new()));
        gate.hear(TLS_ROUTES, News::NotServed(Vec::new()));
        assert!(gate.hear(GATEWAYS, News::NotServed(Vec::new())).is_empty());
        assert!(gate.lose_patience().is_empty());
        assert_eq!(waits_for(&gate), ["Gateway"]);
        assert!(gate.pending.values().flatten().any(|reason| reason.contains("install the CRDs")));
        assert_eq!(
            gate.hear(GATEWAYS, News::Listed(Vec::new())).len(),
            5,
            "what it begins with, three absent kinds, one that came"
        );
    }

    #[test]
    fn a_kind_that_nothing_served_depends_on_is_left_out_after_a_while() {
        let mut gate = gate();
        gate.hear(GATEWAYS, News::Listed(Vec::new()));
        gate.hear(TLS_ROUTES, News::Failed("forbidden".to_owned()));
        gate.hear(LISTENER_SETS, News::Failed("forbidden".to_owned()));
        assert!(gate.lose_patience().is_empty());
        assert_eq!(waits_for(&gate), ["ListenerSet"], "what is served may depend on it");
        let begin = gate.hear(LISTENER_SETS, News::Listed(Vec::new()));
        assert!(matches!(begin.last(), Some(Input::Change(Change::Served(Kind::TlsRoute, false)))), "{begin:?}");
    }
}
