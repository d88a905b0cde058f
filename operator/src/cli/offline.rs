//! Manifests through the engine once, without proxies: what `translate` and `lint` look at.

use crate::{
    local::{
        endpoints::{Endpoints, Override},
        files,
        finding::Finding,
        store::{Identities, Store},
    },
    runtime::certificates,
};
use chrono::Utc;
use sluice_core::{
    key::{NsName, Ref},
    world::{
        Change,
        gateway::{Gateway, ListenerSet},
    },
};
use sluice_engine::{Effects, Engine, Input, Settings};
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// A Gateway's ports are known after one step, a CA after the next, its leaf after another, and one is for what these change.
const ROUNDS: usize = 4;

/// Which manifests.
#[derive(Debug, clap::Args)]
pub(super) struct Sources {
    /// Manifests: files, or directories with .yaml, .yml and .json files; may be repeated
    #[arg(short = 'f', long = "filename", required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Endpoints of a Service; may be repeated
    #[arg(long, value_name = "NS/SERVICE=ADDRESS:PORT,…")]
    endpoints: Vec<Override>,
}

/// One evaluation of all manifests.
pub(super) struct Evaluation {
    /// With the objects in it.
    pub(super) engine: Engine,
    /// What followed from them, in order; later ones replace earlier ones.
    pub(super) steps: Vec<Effects>,
    /// What is wrong with the manifests themselves.
    pub(super) findings: Vec<Finding>,
    /// The objects and where they are written.
    pub(super) store: Store,
}

/// Reads and evaluates. Listeners count as bound at their own port, so that their configuration shows.
pub(super) fn evaluate(sources: &Sources) -> Evaluation {
    let mut store = Store::new(Endpoints::new(sources.endpoints.clone()), Identities::new());
    let now = Utc::now();
    let update = store.read(&files::read(&sources.paths), now);
    let mut engine = Engine::new(Settings { feedback: true, ..Settings::default() });
    let first = [Input::Change(Change::Clock(now)), Input::Leader(true)];
    let mut steps = vec![engine.step(first.into_iter().chain(update.changes.into_iter().map(Input::from)))];
    for _ in 0..ROUNDS {
        let mut next = binds(&engine);
        next.extend(steps.last().into_iter().flat_map(|effects| made(effects, &engine)));
        steps.push(engine.step(next));
    }
    Evaluation { engine, steps, findings: update.findings, store }
}

/// The certificates that were asked for: real ones, so that what depends on them shows, and kept nowhere.
fn made(effects: &Effects, engine: &Engine) -> Vec<Input> {
    let secrets = effects.issues.iter().filter_map(|issue| certificates::made(issue, &engine.state().world).ok());
    secrets.map(|(_, object)| Input::Change(Change::Upsert(object))).collect()
}

fn binds(engine: &Engine) -> Vec<Input> {
    let world = &engine.state().world;
    let own = world.all::<Gateway>().values().flat_map(|gateway| {
        gateway.spec.listeners.iter().map(|listener| (gateway.metadata.key.clone(), listener.port))
    });
    let sets = world.all::<ListenerSet>().values().filter_map(|set| Some((set.gateway()?, set)));
    let added =
        sets.flat_map(|(gateway, set)| set.spec.listeners.iter().map(move |listener| (gateway.clone(), listener.port)));
    let slots: BTreeSet<(NsName, u16)> = own.chain(added).collect();
    let bind = |(gateway, port)| {
        Input::Change(Change::Bind(gateway, port, Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))))
    };
    slots.into_iter().map(bind).collect()
}

/// `file:line` of an object, for messages.
pub(super) fn place(store: &Store, object: &Ref) -> String {
    store.place(object).map_or_else(|| object.to_string(), |place| format!("{place}: {object}"))
}
