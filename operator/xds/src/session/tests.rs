//! The rules of the protocol, one test each, and a model proxy that puts them together.

use std::sync::Arc;

use bytes::Bytes;

use super::{Config, Session};
use crate::ResourceType::{Assignment, Cluster, Listener, RouteConfiguration, Secret, VirtualHost};
use crate::{Event, Id, Input, Name, Output, Request, Resource, ResourceType, Response, Snapshot, Version};

mod model;
mod refusal;
mod rules;

fn id(kind: ResourceType, name: &str) -> Id {
    Id::new(kind, name)
}

fn form(kind: ResourceType, name: &str, version: u64, requires: &[Id]) -> Arc<Resource> {
    Arc::new(Resource { id: id(kind, name), version: Version(version), bytes: Bytes::new(), requires: requires.into() })
}

/// A cluster with its assignment of the same name.
fn cluster(name: &str, version: u64) -> Arc<Resource> {
    form(Cluster, name, version, &[id(Assignment, name)])
}

fn assignment(name: &str, version: u64) -> Arc<Resource> {
    form(Assignment, name, version, &[])
}

fn host(name: &str, version: u64, clusters: &[&str]) -> Arc<Resource> {
    let requires: Vec<Id> = clusters.iter().map(|name| id(Cluster, name)).collect();
    form(VirtualHost, name, version, &requires)
}

fn first(kind: ResourceType) -> Request {
    Request {
        kind,
        subscribe: Vec::new(),
        unsubscribe: Vec::new(),
        initial_versions: Vec::new(),
        nonce: String::new(),
        error: None,
    }
}

fn names(of: &[&str]) -> Vec<Name> {
    of.iter().map(|name| Name::from(*name)).collect()
}

fn subscribe(kind: ResourceType, of: &[&str]) -> Request {
    Request { subscribe: names(of), ..first(kind) }
}

fn unsubscribe(kind: ResourceType, of: &[&str]) -> Request {
    Request { unsubscribe: names(of), ..first(kind) }
}

fn claiming(request: Request, versions: &[(&str, u64)]) -> Request {
    let claim = |(name, version): &(&str, u64)| (Name::from(*name), Version(*version).to_string());
    Request { initial_versions: versions.iter().map(claim).collect(), ..request }
}

/// A session, the snapshot that it has, and a clock.
struct Stream {
    session: Session,
    snapshot: Arc<Snapshot>,
    now: u64,
    events: Vec<Event>,
    sent: Vec<Response>,
}

impl Stream {
    fn new() -> Self {
        let session = Session::new(Config::default());
        Self { session, snapshot: Snapshot::empty(), now: 0, events: Vec::new(), sent: Vec::new() }
    }

    fn with(resources: &[Arc<Resource>]) -> Self {
        let mut stream = Self::new();
        stream.set(resources, &[]);
        stream
    }

    fn step(&mut self, input: Input) -> Vec<String> {
        let mut lines = Vec::new();
        for output in self.session.step(input, self.now) {
            match output {
                Output::Send(response) => {
                    lines.push(line(&response));
                    self.sent.push(response);
                }
                Output::Event(event) => self.events.push(event),
            }
        }
        lines
    }

    fn set(&mut self, resources: &[Arc<Resource>], removed: &[Id]) -> Vec<String> {
        let mut edit = self.snapshot.edit();
        resources.iter().cloned().for_each(|resource| edit.set(resource));
        for id in removed {
            edit.remove(id);
        }
        self.snapshot = edit.publish().expect("the snapshot differs");
        self.step(Input::Snapshot(Arc::clone(&self.snapshot)))
    }

    fn ask(&mut self, request: Request) -> Vec<String> {
        self.step(Input::Request(request))
    }

    fn last(&self, kind: ResourceType) -> &Response {
        self.sent.iter().rev().find(|response| response.kind == kind).expect("a response of the type")
    }

    fn ack(&mut self, kind: ResourceType) -> Vec<String> {
        let nonce = self.last(kind).nonce.to_string();
        self.ask(Request { nonce, ..first(kind) })
    }

    fn nack(&mut self, kind: ResourceType, message: &str) -> Vec<String> {
        let nonce = self.last(kind).nonce.to_string();
        self.ask(Request { nonce, error: Some(message.to_owned()), ..first(kind) })
    }

    fn at(&mut self, now: u64) -> Vec<String> {
        self.now = now;
        self.step(Input::Tick)
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn synced(&mut self) -> Vec<u64> {
        let revision = |event| if let Event::Synced { revision } = event { Some(revision) } else { None };
        self.events().into_iter().filter_map(revision).collect()
    }

    /// A proxy with the cluster `a`, a listener and the host `rc/*`, all acknowledged.
    fn settled() -> Self {
        let mut stream = Self::with(&[
            cluster("a", 1),
            assignment("a", 1),
            form(Listener, "l", 1, &[id(RouteConfiguration, "rc")]),
            form(RouteConfiguration, "rc", 1, &[]),
            host("rc/*", 1, &["a"]),
        ]);
        stream.ask(first(Cluster));
        stream.ask(subscribe(Assignment, &["a"]));
        stream.ack(Assignment);
        stream.ack(Cluster);
        stream.ask(first(Listener));
        stream.ack(Listener);
        stream.ask(subscribe(RouteConfiguration, &["rc"]));
        stream.ack(RouteConfiguration);
        stream.ask(first(VirtualHost));
        stream.ack(VirtualHost);
        stream
    }
}

/// `kind: name=version … -removed …`.
fn line(response: &Response) -> String {
    let sent = response.resources.iter().map(|resource| format!(" {}={}", resource.id.name, resource.version.0));
    let removed = response.removed.iter().map(|name| format!(" -{name}"));
    format!("{}:{}", response.kind, sent.chain(removed).collect::<String>())
}
