//! Keeps what is deployed for Gateways as it is wanted.
//!
//! [`Infrastructure`] by Gateway, and what is there → writes
//!
//! **Invariant:** what is removed was made by us for that Gateway; what is in our place and is not ours stays, and is said.
//! **Invariant:** one kind of object that cannot be written holds up no other.
//! **Invariant:** of a Gateway that nobody has decided about nothing is removed, unless the Gateway itself names another class.
//!
//! Must not know: what the objects are for.

use super::{
    Settings,
    identity::{self, Identity},
    inventory::{self, Inventory, Name},
    names, reach,
    render::{Piece, Want, name, render},
    scale,
};
use crate::cluster::{
    apply::{delete, put},
    events::{Events, Note},
    identity::{Credentials, Lifetimes},
    latest::{Latest, Next, Pace},
    seats::Seats,
    writer::{Fault, Writer},
};
use chrono::{DateTime, Utc};
use futures::{
    StreamExt as _,
    future::{join_all, ready},
};
use kube::{
    Api,
    core::{DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use sluice_api::profile::ProxyKind;
use sluice_core::{
    key::{Kind, NsName, Ref, Text},
    translate::infrastructure::Infrastructure,
};
use sluice_engine::{Input, WriteOutcome};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

/// Gateways that are worked on at once.
const WORKERS: usize = 4;

/// What the engine says of Gateways; `None`: nothing is to run for it any more.
pub(in crate::cluster) type Wishes = Latest<NsName, Option<Arc<Infrastructure>>>;

/// By what the keeper is bound to the rest of the operator.
pub(in crate::cluster) struct Office {
    pub(in crate::cluster) writer: Writer,
    pub(in crate::cluster) events: Events,
    pub(in crate::cluster) credentials: watch::Receiver<Option<Arc<Credentials>>>,
    pub(in crate::cluster) inputs: mpsc::Sender<Vec<Input>>,
    /// Learns how many pods a Gateway has.
    pub(in crate::cluster) seats: Seats,
    /// Where Gateways are; one entry without a name is everywhere.
    pub(in crate::cluster) namespaces: Vec<Option<Text>>,
    /// In how many of them the engine does not yet know where Gateways are reached.
    pub(in crate::cluster) unread: watch::Sender<usize>,
}

/// Keeps the proxies.
pub(in crate::cluster) struct Keeper {
    office: Office,
    settings: Settings,
    lives: Lifetimes,
    wanted: Mutex<BTreeMap<NsName, Wanted>>,
    found: Inventory,
    work: Latest<NsName, ()>,
}

/// What the engine said last of a Gateway.
#[derive(Clone, Debug)]
struct Wanted {
    infrastructure: Option<Arc<Infrastructure>>,
    /// When the certificate of its proxies has to be replaced.
    renewal: Option<DateTime<Utc>>,
}

impl Keeper {
    /// A keeper that knows of nothing yet.
    pub(in crate::cluster) fn new(office: Office, settings: Settings, lives: Lifetimes) -> Self {
        let (wanted, found, work) = Default::default();
        Self { office, settings, lives, wanted, found, work }
    }

    /// Works for ever.
    pub(in crate::cluster) async fn run(&self, wishes: &Wishes) {
        let places = Piece::ALL
            .into_iter()
            .flat_map(|piece| self.office.namespaces.iter().map(move |namespace| (piece, namespace)));
        let watches = places.map(|(piece, namespace)| self.follow(piece, namespace.as_deref()));
        let reach = self.office.namespaces.iter().map(|namespace| reach::follow(&self.office, namespace.as_deref()));
        let listen = wishes.work(1, |gateway, wish| {
            self.wish(gateway, wish);
            ready(Next::Done)
        });
        let work = self.work.work(WORKERS, |gateway, ()| self.act(gateway));
        tokio::join!(
            join_all(watches),
            join_all(reach),
            listen,
            work,
            self.follow_lead(),
            self.follow_credentials(),
            self.renew()
        );
    }

    fn wish(&self, gateway: NsName, infrastructure: Option<Arc<Infrastructure>>) {
        self.wanted().insert(gateway.clone(), Wanted { infrastructure, renewal: None });
        self.work.put(gateway, ());
    }

    /// Something moved that is a Gateway's.
    fn nudge(&self, gateways: impl IntoIterator<Item = NsName>) {
        if self.office.writer.leadership.leads() {
            gateways.into_iter().for_each(|gateway| self.work.put(gateway, ()));
        }
    }

    /// What is there when we begin to lead is looked at; what was wished when we did not lead any more is another one's business.
    async fn follow_lead(&self) {
        loop {
            self.office.writer.leadership.won().await;
            self.nudge(self.found.gateways());
            self.office.writer.leadership.lost().await;
            self.wanted().clear();
            self.work.clear();
        }
    }

    /// Whom proxies trust moved: each of them has to hear of it.
    async fn follow_credentials(&self) {
        let mut credentials = self.office.credentials.clone();
        while credentials.changed().await.is_ok() {
            let all: Vec<_> = self.wanted().keys().cloned().collect();
            self.nudge(all);
        }
    }

    /// Certificates are replaced in time. Costs O(Gateways) now and then.
    async fn renew(&self) {
        let mut clock = interval((self.lives.leaf / 24).clamp(Duration::from_millis(200), Duration::from_mins(10)));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let now = Utc::now();
            let is_due = |wanted: &Wanted| wanted.renewal.is_some_and(|renewal| renewal <= now);
            let due: Vec<_> =
                self.wanted().iter().filter(|(_, wanted)| is_due(wanted)).map(|(gateway, _)| gateway.clone()).collect();
            self.nudge(due);
        }
    }

    async fn follow(&self, piece: Piece, namespace: Option<&str>) {
        let resource = piece.resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match namespace {
            Some(namespace) => Api::namespaced_with(self.office.writer.client.clone(), namespace, &resource),
            None => Api::all_with(self.office.writer.client.clone(), &resource),
        };
        let config = watcher::Config::default().labels(names::SELECTOR);
        let mut changes = pin!(watcher(api, config).default_backoff());
        let mut listed = BTreeSet::new();
        while let Some(change) = changes.next().await {
            let moved = match change {
                Ok(Event::Init) => {
                    listed.clear();
                    Vec::new()
                }
                Ok(Event::InitApply(object)) => {
                    listed.extend(inventory::name(piece, &object.metadata).map(|(_, name)| name));
                    self.found.note(piece, &object.metadata)
                }
                Ok(Event::InitDone) => self.found.replace(piece, namespace, &std::mem::take(&mut listed)),
                Ok(Event::Apply(object)) => self.found.note(piece, &object.metadata),
                Ok(Event::Delete(object)) => {
                    inventory::name(piece, &object.metadata).map_or_else(Vec::new, |name| self.found.forget(&name))
                }
                Err(error) => {
                    tracing::warn!("watching {} of proxies: {error}", resource.plural);
                    Vec::new()
                }
            };
            self.nudge(moved);
        }
    }

    async fn act(&self, gateway: NsName) -> Next<()> {
        let wanted = self.wanted().get(&gateway).cloned();
        let outcome = match wanted.map(|wanted| wanted.infrastructure) {
            Some(Some(infrastructure)) => Ok(self.settle(&infrastructure).await),
            Some(None) => self.clear(&gateway, |_| true).await.map(|()| self.forget(&gateway)),
            None => self.sweep(&gateway).await.map(|()| None),
        };
        match outcome.unwrap_or_else(|fault| pace(&gateway, &fault)) {
            Some(pace) => Next::Again((), pace),
            None => Next::Done,
        }
    }

    /// Makes everything as it is wanted, and says when to try again what did not work.
    async fn settle(&self, of: &Infrastructure) -> Option<Pace> {
        let mut again = None;
        let wants = render(of, &self.settings);
        for (piece, want) in &wants {
            let outcome = match want {
                Want::Present(value) => self.present(of, *piece, value).await,
                Want::Identity => self.identify(of).await,
                Want::Absent | Want::AsIs => Ok(WriteOutcome::Done { stored: 0 }),
            };
            again = sooner(again, self.judge(of, *piece, outcome));
        }
        let own = name(of);
        let goes = |(piece, found): &Name| *found.name != *own || wants.contains(&(*piece, Want::Absent));
        sooner(again, self.replace(of, goes).await.unwrap_or_else(|fault| pace(&of.gateway, &fault)))
    }

    /// Removes what something else has taken the place of, once that takes calls.
    async fn replace(&self, of: &Infrastructure, goes: impl Fn(&Name) -> bool) -> Result<Option<Pace>, Fault> {
        if !self.found.of(&of.gateway).iter().any(|(object, _)| goes(object)) {
            return Ok(None);
        }
        let piece = match of.proxies.kind() {
            ProxyKind::Deployment => Piece::Deployment,
            ProxyKind::DaemonSet => Piece::DaemonSet,
        };
        let live = self.office.writer.ask(self.api(piece, &of.gateway.namespace).get_opt(&name(of))).await?;
        if !live.is_some_and(|live| takes_calls(&live)) {
            return Ok(Some(Pace::Soon));
        }
        self.clear(&of.gateway, goes).await.map(|()| None)
    }

    async fn present(&self, of: &Infrastructure, piece: Piece, value: &Value) -> Result<WriteOutcome, Fault> {
        let api = self.api(piece, &of.gateway.namespace);
        let live = self.office.writer.ask(api.get_opt(&name(of))).await?;
        if let (Piece::Deployment, Some(live)) = (piece, &live) {
            scale::let_go(&self.office.writer, &api, value, live).await?;
        }
        put(&self.office.writer, &api, value, live.as_ref()).await
    }

    /// The proxies' certificate.
    async fn identify(&self, of: &Infrastructure) -> Result<WriteOutcome, Fault> {
        let current = self.office.credentials.borrow().clone();
        let Some(current) = current else { return Err(Fault::Busy("the proxies' CA is not there yet".into())) };
        let api = self.api(Piece::Secret, &of.gateway.namespace);
        let live = self.office.writer.ask(api.get_opt(&name(of))).await?;
        let made = identity::of(of, live.as_ref(), current.authority(), Utc::now(), self.lives);
        let Identity { secret, renewal } = made.map_err(|error| Fault::Refused(format!("{error:#}").into()))?;
        let outcome = put(&self.office.writer, &api, &secret, live.as_ref()).await?;
        if let Some(wanted) = self.wanted().get_mut(&of.gateway) {
            wanted.renewal = Some(renewal);
        }
        Ok(outcome)
    }

    /// Removes what a Gateway has and ought not to have: in reverse, since pods that end still need what was made before them.
    async fn clear(&self, gateway: &NsName, goes: impl Fn(&Name) -> bool) -> Result<(), Fault> {
        for (object, _) in self.found.of(gateway).into_iter().rev().filter(|(object, _)| goes(object)) {
            let (piece, name) = &object;
            let api = self.api(*piece, &name.namespace);
            let live = self.office.writer.ask(api.get_opt(&name.name)).await?;
            let ours = |live: &DynamicObject| names::owner(&live.metadata).is_some_and(|(owner, _)| owner == *gateway);
            if let Some(live) = live.filter(|live| ours(live) && live.metadata.deletion_timestamp.is_none()) {
                delete(&self.office.writer, &api, &live).await?;
                tracing::info!(%gateway, "removed {} {name}: it is no longer wanted", piece.resource().kind);
            }
        }
        Ok(())
    }

    /// Once nothing is left of what was made for a Gateway, nothing need be known of it either.
    fn forget(&self, gateway: &NsName) -> Option<Pace> {
        let mut wanted = self.wanted();
        let is_over = wanted.get(gateway).is_some_and(|wanted| wanted.infrastructure.is_none());
        if is_over && self.found.of(gateway).is_empty() {
            wanted.remove(gateway);
        }
        None
    }

    /// What an earlier process left: it is removed if the Gateway has gone over to another class.
    async fn sweep(&self, gateway: &NsName) -> Result<(), Fault> {
        let live = self.office.writer.get(&Ref::new(Kind::Gateway, gateway.clone())).await?;
        let class = live.as_ref().and_then(|live| live.data.pointer("/spec/gatewayClassName")?.as_str());
        let Some(class) = class else { return Ok(()) };
        let classes: BTreeMap<_, _> = self.found.of(gateway).into_iter().collect();
        self.clear(gateway, |object| classes.get(object).is_some_and(|made_for| **made_for != *class)).await
    }

    fn judge(&self, of: &Infrastructure, piece: Piece, outcome: Result<WriteOutcome, Fault>) -> Option<Pace> {
        let words = match outcome {
            Ok(WriteOutcome::Done { .. }) => return None,
            Ok(WriteOutcome::Foreign(who)) => format!("it belongs to {who}: rename it, or the Gateway"),
            Err(Fault::Owned(who)) => format!("{who} manages fields of it"),
            Ok(WriteOutcome::Refused(words)) | Err(Fault::Refused(words)) => words.to_string(),
            Err(fault) => return pace(&of.gateway, &fault),
        };
        let text = format!("{} {} cannot be made as it is wanted: {words}", piece.resource().kind, name(of));
        self.office.events.note(Note::warning(Ref::new(Kind::Gateway, of.gateway.clone()), "ProxyNotDeployed", text));
        Some(Pace::Slowly)
    }

    fn api(&self, piece: Piece, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.office.writer.client.clone(), namespace, &piece.resource())
    }

    /// Nothing that runs under the lock can leave the map half-changed, so a poisoned one is still whole.
    fn wanted(&self) -> MutexGuard<'_, BTreeMap<NsName, Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one of the pods of a Deployment or a DaemonSet is available, or none is wanted.
fn takes_calls(workload: &DynamicObject) -> bool {
    let count = |pointer: &str| workload.data.pointer(pointer).and_then(Value::as_i64);
    let available = count("/status/availableReplicas").or(count("/status/numberAvailable"));
    available.is_some_and(|available| available > 0) || count("/spec/replicas") == Some(0)
}

/// The sooner one counts: what stands in the way of one may pass, and the other is tried along with it.
fn sooner(one: Option<Pace>, other: Option<Pace>) -> Option<Pace> {
    if one == Some(Pace::Soon) { one } else { other.or(one) }
}

/// When to try again after a fault.
fn pace(gateway: &NsName, fault: &Fault) -> Option<Pace> {
    match fault {
        Fault::Standby => None,
        Fault::Stale | Fault::Busy(_) => {
            tracing::debug!(%gateway, "proxies are looked at again: {fault}");
            Some(Pace::Soon)
        }
        _ => {
            tracing::warn!(%gateway, "proxies: {fault}");
            Some(Pace::Slowly)
        }
    }
}
