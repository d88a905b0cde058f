//! Manifests through the engine once, without proxies: what `translate`, `lint` and `explain` look at.

use crate::{
    cluster::proxies,
    local::{
        admission::{Subject, subject},
        endpoints::{Endpoints, Override},
        files,
        finding::{Finding, Place, Severity},
        manifest::{self, Document},
        store::{Identities, Source, Store},
    },
    runtime::certificates,
};
use chrono::Utc;
use serde_json::Value;
use sluice_core::{
    key::{Kind, Ref},
    translate::attach::{self, Plan},
    world::{self, Change, Reader, Surfaces, gateway::Gateway},
};
use sluice_engine::{Apply, Effects, Engine, Input, Settings};
use std::{collections::BTreeMap, path::PathBuf};

/// A CA is known after one step, its leaf after the next, and one is for what these change.
const ROUNDS: usize = 3;

/// Which manifests.
#[derive(Debug, clap::Args)]
pub(super) struct Sources {
    /// Manifests: files, directories with .yaml, .yml and .json files, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Endpoints of a Service; may be repeated
    #[arg(long, value_name = "NS/SERVICE=ADDRESS:PORT,…")]
    endpoints: Vec<Override>,
}

impl Sources {
    /// The files, and standard input for `-`.
    pub(super) fn read(&self) -> Vec<Source> {
        let (stdin, paths): (Vec<_>, Vec<_>) = self.paths.iter().cloned().partition(|path| path.as_os_str() == "-");
        let mut files = files::read(&paths);
        if !stdin.is_empty() {
            let text = std::io::read_to_string(std::io::stdin()).map_err(|error| format!("cannot be read: {error}"));
            files.push(Source { file: "standard input".into(), text });
        }
        files
    }
}

/// One evaluation of all manifests.
pub(super) struct Evaluation {
    /// With the objects in it.
    pub(super) engine: Engine,
    /// What followed from them, in order; later ones replace earlier ones.
    pub(super) steps: Vec<Effects>,
    /// What is wrong with the manifests themselves.
    pub(super) findings: Vec<Finding>,
    /// The objects as written, with the line of each field.
    documents: BTreeMap<Ref, Document>,
}

impl Evaluation {
    /// The latest status of each object.
    pub(super) fn statuses(&self) -> BTreeMap<&Ref, Value> {
        let updates = self.steps.iter().flat_map(|effects| &effects.statuses);
        updates.map(|update| (&update.target, update.status.value())).collect()
    }

    /// What becomes of the listeners of each Gateway of ours.
    pub(super) fn plans(&self) -> Vec<Plan> {
        let (world, none) = (&self.engine.state().world, Surfaces::new());
        let read = Reader::new(world, &none);
        world.all::<Gateway>().keys().filter_map(|key| attach::plan(key, &read)).collect()
    }

    /// The objects as written, completed with the namespace alone: defaults are nobody's words.
    pub(super) fn objects(&self) -> Vec<Value> {
        let written = self.documents.iter();
        written
            .map(|(reference, document)| {
                let mut value = document.value.clone();
                if let (false, Some(metadata)) =
                    (reference.kind.is_cluster_scoped(), value.get_mut("metadata").and_then(Value::as_object_mut))
                {
                    metadata.insert("namespace".to_owned(), Value::from(&*reference.key.namespace));
                }
                value
            })
            .collect()
    }

    /// What level 1 wants to exist, by kind and name.
    pub(super) fn generated(&self) -> Vec<&Value> {
        let mut objects = BTreeMap::new();
        for apply in self.steps.iter().flat_map(|effects| &effects.applies) {
            match apply {
                Apply::Put { reference, value, .. } => objects.insert(reference, value),
                Apply::Remove { reference, .. } | Apply::Orphan { reference, .. } => objects.remove(reference),
            };
        }
        objects.into_values().collect()
    }

    /// The GrpcService that an object is generated for.
    pub(super) fn service_of(&self, object: &Ref) -> Option<Ref> {
        let applies = self.steps.iter().flat_map(|effects| &effects.applies);
        let puts = applies.filter_map(|apply| match apply {
            Apply::Put { service, reference, .. } => Some((service, reference)),
            Apply::Remove { .. } | Apply::Orphan { .. } => None,
        });
        let found = puts.into_iter().find(|(_, reference)| *reference == object)?.0;
        Some(Ref::new(Kind::GrpcService, found.clone()))
    }

    /// What is to be said about a field of an object, at its line, or at that of the object around it. What is
    /// generated stands where its service does.
    pub(super) fn finding(&self, severity: Severity, object: &Ref, path: &str, message: &str) -> Finding {
        let service = self.service_of(object);
        let written = self.documents.get(object).map(|document| document.at(path));
        let around = || self.documents.get(service.as_ref()?).map(|document| document.at("spec"));
        match written.or_else(around) {
            Some(place) => Finding::new(severity, place, format!("{object}: {message}")),
            // A GatewayClass, say, that exists without being written.
            None => Finding::new(severity, Place { file: object.to_string().into(), line: 0 }, message),
        }
    }
}

/// Reads and evaluates.
pub(super) fn evaluate(sources: &Sources) -> Evaluation {
    evaluate_files(&sources.read(), Endpoints::new(sources.endpoints.clone()))
}

fn evaluate_files(files: &[Source], endpoints: Endpoints) -> Evaluation {
    let mut store = Store::new(endpoints, Identities::new());
    let now = Utc::now();
    let mut update = store.read(files, now);
    // That a Service has no endpoints matters to whoever serves: manifests for a cluster have none.
    update.findings.retain(|finding| finding.severity != Severity::Warning);
    let world = world::Settings { reserved: proxies::RESERVED.to_vec(), ..world::Settings::default() };
    let mut engine = Engine::new(Settings { world, feedback: true, ..Settings::default() });
    let first = [Input::Change(Change::Clock(now)), Input::Leader(true)];
    let mut steps = vec![engine.step(first.into_iter().chain(update.changes.into_iter().map(Input::from)))];
    for _ in 0..ROUNDS {
        let next: Vec<Input> = steps.last().into_iter().flat_map(|effects| made(effects, &engine)).collect();
        steps.push(engine.step(next));
    }
    Evaluation { engine, steps, findings: update.findings, documents: documents(files) }
}

/// The certificates that were asked for: real ones, so that what depends on them shows, and kept nowhere.
fn made(effects: &Effects, engine: &Engine) -> Vec<Input> {
    let secrets = effects.issues.iter().filter_map(|issue| certificates::made(issue, &engine.state().world).ok());
    secrets.map(|(_, object)| Input::Change(Change::Upsert(object))).collect()
}

/// The document that counts for each object: the first.
fn documents(files: &[Source]) -> BTreeMap<Ref, Document> {
    let mut documents = BTreeMap::new();
    for source in files {
        let text = source.text.as_deref().unwrap_or_default();
        for document in manifest::parse(&source.file, text).documents {
            if let Subject::Known(reference) = subject(&document) {
                documents.entry(reference).or_insert(document);
            }
        }
    }
    documents
}

/// What a file `a.yaml` with this text becomes.
#[cfg(test)]
pub(super) fn evaluated(text: &str) -> Evaluation {
    let source = Source { file: "a.yaml".into(), text: Ok(text.to_owned()) };
    evaluate_files(&[source], Endpoints::default())
}
