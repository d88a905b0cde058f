//! What local mode does with effects: publishes snapshots, makes certificates, binds ports, starts proxies, keeps the board.
//!
//! [`Effects`] → deeds, and the inputs that they cause
//!
//! **Invariant:** certificates that were made, and the last good forms of refused rules, survive a restart.
//! **Invariant:** a proxy runs for exactly the Gateways of our class that have a bound port.
//!
//! It must not know how effects are computed.

use super::{
    board::{Board, Served},
    envoy::{self, Launch},
    ports::{Outcome, Ports},
    screen::Screen,
    state::Directory as StateDirectory,
};
use crate::{
    runtime::{Carry, certificates},
    serve::Directory,
};
use chrono::Utc;
use serde_json::Value;
use sluice_core::{
    author::Issue,
    key::{Kind, NsName, Ref},
    world::{Change, Object},
};
use sluice_engine::{Apply, Effects, Engine, Event, Input, Memory};
use sluice_xds::{ResourceType, Snapshot};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The file of the state directory with the certificates that were made here.
const ISSUED: &str = "issued.json";

/// The file of the state directory with the rules that proxies refused.
const REFUSED: &str = "refused.json";

/// The board, shared with the admin interface.
pub(crate) type SharedBoard = Arc<Mutex<Board>>;

/// The newest snapshot of each Gateway, shared with the admin interface.
pub(crate) type SharedSnapshots = Arc<Mutex<BTreeMap<NsName, Arc<Snapshot>>>>;

/// The newest snapshot of a Gateway.
pub(crate) fn latest(snapshots: &SharedSnapshots, gateway: &NsName) -> Option<Arc<Snapshot>> {
    snapshots.lock().unwrap_or_else(PoisonError::into_inner).get(gateway).cloned()
}

/// Runs `act` on the board. Nothing that runs under the lock can leave it half-changed, so a poisoned one is still whole.
pub(crate) fn on<T>(board: &SharedBoard, act: impl FnOnce(&mut Board) -> T) -> T {
    act(&mut board.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Carries effects out on this machine.
pub(crate) struct Operator {
    /// Where streams read snapshots.
    pub(crate) directory: Directory,
    /// Where people read statuses.
    pub(crate) board: SharedBoard,
    /// What is seen of the board at once.
    pub(crate) screen: Screen,
    /// Where ports are bound.
    pub(crate) ports: Ports,
    /// How proxies are started; nothing is if they are somebody else's business.
    pub(crate) launch: Option<Arc<Launch>>,
    /// Where certificates are kept.
    pub(crate) state: StateDirectory,
    /// All that end with us.
    pub(crate) children: JoinSet<()>,
    /// Ends all children.
    pub(crate) stop: CancellationToken,
    /// A child for each Gateway.
    pub(crate) running: BTreeMap<NsName, CancellationToken>,
    /// Not yet on the board.
    pub(crate) statuses: BTreeMap<Ref, Value>,
    /// Made here, by `namespace/name`.
    pub(crate) issued: BTreeMap<String, Value>,
    /// Rules that proxies refused, as they are kept.
    pub(crate) refused: Vec<Memory>,
    /// The newest of each Gateway.
    pub(crate) snapshots: SharedSnapshots,
}

/// What earlier runs left.
pub(crate) struct Recalled {
    /// Certificates, by `namespace/name`.
    pub(crate) issued: BTreeMap<String, Value>,
    /// Rules that proxies refused.
    pub(crate) refused: Vec<Memory>,
    /// What makes both known.
    pub(crate) inputs: Vec<Input>,
}

/// Reads what earlier runs left.
pub(crate) fn recall(state: &StateDirectory) -> Recalled {
    let issued: BTreeMap<String, Value> = state.load(ISSUED);
    let known = issued.values().filter_map(|value| Object::decode(Kind::Secret, value.clone()).ok());
    let refused: Vec<Memory> = state.load(REFUSED);
    let remembered = refused.iter().cloned().map(Input::Remember);
    let inputs = known.map(|object| Input::Change(Change::Upsert(object))).chain(remembered).collect();
    Recalled { issued, refused, inputs }
}

impl Carry for Operator {
    fn carry(&mut self, effects: Effects, engine: &Engine) -> Vec<Input> {
        effects.events.iter().for_each(announce);
        self.keep_refused(engine);
        for (gateway, snapshot) in &effects.snapshots {
            self.directory.publish(gateway, snapshot.clone());
            self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).insert(gateway.clone(), snapshot.clone());
        }
        let mut next: Vec<_> = effects.issues.iter().map(|issue| self.issue(issue, engine)).collect();
        self.show(effects);
        next.extend(self.settle_ports(engine));
        self.settle_children();
        self.count(engine);
        if next.is_empty() {
            self.show_statuses();
            self.screen.show(|| on(&self.board, |board| board.glance()));
        }
        next
    }
}

fn announce(event: &Event) {
    match event {
        Event::Refused { gateway, id, message } => tracing::warn!(%gateway, "the proxy refused {id}: {message}"),
        Event::Quarantined { route, rule, message } => tracing::warn!("{route}: {rule} is withheld: {message}"),
        Event::Recovered { route, rule } => tracing::info!("{route}: {rule} is served again"),
        Event::Held { object, .. } => tracing::warn!("{object} is held by what is to stay"),
        Event::Undecodable { object, message } => tracing::error!("{object} was generated wrongly: {message}"),
    }
}

fn tell(gateway: &NsName, port: u16, outcome: &Outcome) {
    match outcome {
        Outcome::Bound(address, None) => tracing::info!("Gateway {gateway}: port {port} is at {address}"),
        Outcome::Bound(address, Some(busy)) => {
            tracing::warn!("Gateway {gateway}: port {port} is at {address}, since port {busy} is in use");
        }
        Outcome::Released => tracing::info!("Gateway {gateway}: port {port} is closed"),
        Outcome::Failed(reason) => tracing::error!("Gateway {gateway}: {reason}"),
    }
}

impl Operator {
    /// Makes a certificate. What cannot be made is said, and asked for again only once its Secret, its CA or what is wished of it
    /// moves: the same CA with the same names would fail the same way.
    fn issue(&mut self, issue: &Issue, engine: &Engine) -> Input {
        let (value, object) = match certificates::made(issue, &engine.state().world) {
            Ok(made) => made,
            Err(error) => return certificates::unmade(issue, &error),
        };
        tracing::info!("made the certificate of Secret {}", issue.secret);
        on(&self.board, |board| board.set_generated(&object.reference(), Some(value.clone())));
        self.issued.insert(issue.secret.to_string(), value);
        self.keep_issued();
        Input::Change(Change::Upsert(object))
    }

    fn keep_issued(&self) {
        if let Err(error) = self.state.save(ISSUED, &self.issued) {
            tracing::error!("certificates cannot be kept over a restart: {error}");
        }
    }

    /// Costs O(refused rules) a step: none, as a rule.
    fn keep_refused(&mut self, engine: &Engine) {
        let refused = engine.state().quarantine.memory();
        if refused == self.refused {
            return;
        }
        self.refused = refused;
        if let Err(error) = self.state.save(REFUSED, &self.refused) {
            tracing::error!("last good forms of refused rules cannot be kept over a restart: {error}");
        }
    }

    fn show(&mut self, effects: Effects) {
        on(&self.board, |board| {
            for apply in effects.applies {
                let reference = apply.reference().clone();
                let value = match apply {
                    Apply::Put { value, generation, .. } => Some(with_generation(value, generation)),
                    Apply::Remove { .. } | Apply::Orphan { .. } => None,
                };
                board.set_generated(&reference, value);
            }
        });
        self.statuses.extend(effects.statuses.into_iter().map(|update| (update.target, update.status.value())));
    }

    /// What is true only until the inputs that this made known are heard is not shown.
    fn show_statuses(&mut self) {
        let statuses = std::mem::take(&mut self.statuses).into_iter();
        let turns: Vec<_> = on(&self.board, |board| {
            statuses.flat_map(|(object, status)| board.set_status(&object, status, Utc::now())).collect()
        });
        for turn in turns {
            if turn.is_trouble() {
                tracing::warn!("{turn}");
            } else {
                tracing::info!("{turn}");
            }
        }
    }

    /// Costs O(listeners) a step: they are few on one machine.
    fn settle_ports(&mut self, engine: &Engine) -> Vec<Input> {
        let slots = engine.ports().into_iter().flat_map(|(gateway, ports)| iter::repeat(gateway).zip(ports));
        let outcomes = self.ports.settle(&slots.collect(), Instant::now());
        let mut gateways = BTreeSet::new();
        let mut inputs = Vec::new();
        for ((gateway, port), outcome) in outcomes {
            tell(&gateway, port, &outcome);
            let address = match outcome {
                Outcome::Bound(address, _) => Some(address),
                Outcome::Released => None,
                Outcome::Failed(_) => continue,
            };
            inputs.push(Input::Change(Change::Bind(gateway.clone(), port, address)));
            gateways.insert(gateway);
        }
        inputs.extend(gateways.into_iter().map(|gateway| self.addresses(gateway)));
        inputs
    }

    fn addresses(&self, gateway: NsName) -> Input {
        let addresses: BTreeSet<_> = self.bound(&gateway).map(|(_, address)| address.ip().to_string()).collect();
        Input::Change(Change::Addresses(gateway, addresses.into_iter().map(Into::into).collect()))
    }

    fn bound(&self, gateway: &NsName) -> impl Iterator<Item = (u16, std::net::SocketAddr)> {
        self.ports
            .bound()
            .iter()
            .filter(move |((owner, _), _)| owner == gateway)
            .map(|((_, port), address)| (*port, *address))
    }

    fn settle_children(&mut self) {
        let Some(launch) = &self.launch else { return };
        let wanted: BTreeSet<_> = self.ports.bound().keys().map(|(gateway, _)| gateway.clone()).collect();
        self.running.retain(|gateway, stop| {
            wanted.contains(gateway) || {
                stop.cancel();
                false
            }
        });
        for gateway in wanted {
            self.running.entry(gateway.clone()).or_insert_with(|| {
                let stop = self.stop.child_token();
                self.children.spawn(envoy::keep(launch.clone(), gateway, stop.clone()));
                stop
            });
        }
    }

    fn count(&self, engine: &Engine) {
        let gateways: BTreeSet<_> = self.ports.bound().keys().map(|(gateway, _)| gateway.clone()).collect();
        let served = gateways.into_iter().map(|gateway| {
            let (ready, proxies) = engine.state().fleet.count(&gateway);
            let snapshot = latest(&self.snapshots, &gateway);
            let served = Served {
                ports: self.bound(&gateway).collect(),
                proxies,
                ready,
                revision: snapshot.as_ref().map_or(0, |snapshot| snapshot.revision()),
                resources: snapshot
                    .as_ref()
                    .map_or(0, |snapshot| ResourceType::ALL.into_iter().map(|kind| snapshot.iter(kind).count()).sum()),
            };
            (gateway, served)
        });
        let served = served.collect();
        on(&self.board, |board| board.set_gateways(served));
    }
}

/// What is applied has no generation; what an API server answers has.
fn with_generation(mut value: Value, generation: i64) -> Value {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("generation".to_owned(), generation.into());
    }
    value
}

/// What `/config` shows: every resource of every Gateway, secrets hidden.
pub(crate) fn config(snapshots: &SharedSnapshots) -> Value {
    // A copy, so that the engine's task never waits for the making of a page.
    let snapshots = snapshots.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let gateway = |snapshot: &Snapshot| {
        let kinds = ResourceType::ALL.into_iter().map(|kind| {
            let resources =
                snapshot.iter(kind).map(|resource| (resource.id.name.to_string(), sluice_envoy::json::view(resource)));
            (kind.to_string(), Value::Object(resources.collect()))
        });
        Value::Object(kinds.collect())
    };
    Value::Object(snapshots.iter().map(|(name, snapshot)| (name.to_string(), gateway(snapshot))).collect())
}
