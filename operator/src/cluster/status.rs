//! Statuses: the latest of each object is written, where it differs from what is there.
//!
//! [`StatusUpdate`] by object → requests to the API server; what turned → Events
//!
//! **Invariant:** a status is merged into what the API server has, and holds only for that: each write carries its resource version.
//! **Invariant:** what differs in nothing but times is not written.
//! **Invariant:** a status that the API server refuses is said once, in the log and in the metric of writes, and given up until it changes.
//!
//! Must not know: what a status means.

mod merge;

use super::{
    events::{Events, Note},
    kinds,
    latest::{Latest, Next, Pace},
    seen::{Live, Seen},
    writer::{Fault, MANAGER, Verb, Writer},
};
use chrono::{SecondsFormat, Utc};
use kube::{
    api::{Patch, PatchParams},
    core::Request,
};
use merge::{Word, difference, entries, items};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use sluice_core::key::{Kind, Ref};
use sluice_engine::StatusUpdate;
use std::time::Duration;

/// Writes that are under way at once.
const WORKERS: usize = 8;

/// Writes statuses.
pub(super) struct Scribe {
    writer: Writer,
    seen: Seen,
    events: Events,
}

impl Scribe {
    pub(super) fn new(writer: Writer, seen: Seen, events: Events) -> Self {
        Self { writer, seen, events }
    }

    /// Works for ever.
    pub(super) async fn run(&self, queue: &Latest<Ref, StatusUpdate>) {
        queue.work(WORKERS, |object, update| self.act(object, update)).await;
    }

    async fn act(&self, object: Ref, update: StatusUpdate) -> Next<StatusUpdate> {
        match self.write(&object, &update).await {
            Ok(notes) => {
                for note in notes {
                    self.events.note(note);
                }
                rest(object.kind)
            }
            // Gone, going or another's: nobody will ask for it again.
            Err(Fault::Standby | Fault::Absent(_) | Fault::Leaving) => Next::Done,
            Err(fault @ (Fault::Stale | Fault::Busy(_))) => {
                if fault == Fault::Stale {
                    self.seen.doubt(&object);
                }
                tracing::debug!("the status of {object} is written again: {fault}");
                Next::Again(update, Pace::Soon)
            }
            Err(fault @ (Fault::Owned(_) | Fault::Refused(_))) => {
                tracing::error!("the status of {object} cannot be written: {fault}");
                Next::Done
            }
        }
    }

    /// What turned, once it is written.
    async fn write(&self, object: &Ref, update: &StatusUpdate) -> Result<Vec<Note>, Fault> {
        if let Some(heard) = self.seen.take(object)
            && let Some(notes) = self.lay(object, update, &heard).await?
        {
            return Ok(notes);
        }
        // What was heard may lag behind: it is enough to write by, for the version goes along, and not enough to write nothing.
        let Some(live) = self.writer.get(object).await?.map(Live::from) else { return Ok(Vec::new()) };
        Ok(self.lay(object, update, &live).await?.unwrap_or_default())
    }

    /// Writes a status over what is there, and returns what turned; `None` where nothing is to be written.
    async fn lay(&self, object: &Ref, update: &StatusUpdate, live: &Live) -> Result<Option<Vec<Note>>, Fault> {
        // It is about an earlier life of the name.
        if update.generation > live.generation {
            return Ok(None);
        }
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let (kind, status, generation) = (object.kind, update.status.value(), update.generation);
        let word = Word { kind, status: &status, generation, current: live.generation, now: &now };
        let after = word.over(&live.status);
        let Some(patch) = difference(&live.status, &after) else { return Ok(None) };
        self.send(object, &live.version, &patch).await?;
        Ok(Some(turns(object, &live.status, &after)))
    }

    async fn send(&self, object: &Ref, version: &str, status: &Value) -> Result<(), Fault> {
        let body = json!({"metadata": {"resourceVersion": version}, "status": status});
        let kind = kinds::api(self.writer.client.clone(), object).resource_url().to_owned();
        let (params, patch) = (PatchParams::apply(MANAGER), Patch::Merge(&body));
        let request = Request::new(kind).patch_subresource("status", &object.key.name, &params, &patch);
        let request = request.map_err(|error| Fault::Refused(error.to_string().into()))?;
        // The watch brings what became of it.
        let answer = self.writer.client.request::<IgnoredAny>(request);
        self.writer.send(Verb::Status, object.kind.name(), answer).await.map(drop)
    }
}

/// The statuses of Gateways count routes: while these come and go, one write a second is enough.
fn rest(kind: Kind) -> Next<StatusUpdate> {
    if matches!(kind, Kind::Gateway | Kind::ListenerSet) { Next::Rest(Duration::from_secs(1)) } else { Next::Done }
}

/// What people care about: services and Gateways that begin or cease to serve, and whatever else was well and is not, or the reverse.
fn turns(object: &Ref, before: &Value, after: &Value) -> Vec<Note> {
    let mut notes = conditions_turned(object, before, after);
    if let Some((list, by, _)) = entries(object.kind) {
        for entry in items(after, list) {
            let held = items(before, list).iter().find(|held| held.get(by) == entry.get(by)).unwrap_or(&Value::Null);
            notes.extend(conditions_turned(object, held, entry));
        }
    }
    notes
}

fn conditions_turned(object: &Ref, before: &Value, after: &Value) -> Vec<Note> {
    let held =
        |condition: &Value| items(before, "conditions").iter().find(|held| held.get("type") == condition.get("type"));
    let conditions = items(after, "conditions").iter();
    conditions.filter_map(|condition| turned(object, held(condition), condition)).collect()
}

fn turned(object: &Ref, held: Option<&Value>, condition: &Value) -> Option<Note> {
    let (kind, status) = (text(condition, "type"), text(condition, "status"));
    let was = held.map(|held| text(held, "status")).unwrap_or_default();
    let leads = matches!((object.kind, kind), (Kind::GrpcService, "Ready") | (Kind::Gateway, "Programmed"));
    let is_part = object.kind == Kind::GrpcService && kind != "Ready";
    let is_bad = |status: &str| status == "False";
    let has_turned = if leads { status != was && status != "Unknown" } else { is_bad(status) != is_bad(was) };
    if is_part || !has_turned || kind == "Conflicted" {
        return None;
    }
    let words = format!("{kind}={status} ({}): {}", text(condition, "reason"), text(condition, "message"));
    Some(if is_bad(status) {
        Note::warning(object.clone(), "NotReady", words)
    } else {
        Note::normal(object.clone(), "Ready", words)
    })
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{known::Head, leadership::Leadership, writer::Writes};
    use http::Method;
    use kube::Client;
    use sluice_core::key::NsName;
    use std::{
        future::{IntoFuture as _, ready},
        net::Ipv4Addr,
        sync::{Arc, Mutex},
    };
    use tokio::{net::TcpListener, time::Instant};

    fn status(kind: &str, status: &str) -> Value {
        json!({"conditions": [{"type": kind, "status": status, "reason": "R", "message": "m"}]})
    }

    #[test]
    fn what_begins_or_ceases_to_be_well_is_told() {
        let none = json!({});
        let cases = [
            (Kind::GrpcService, none.clone(), status("Ready", "True"), "Ready"),
            (Kind::GrpcService, status("Ready", "True"), status("Ready", "True"), ""),
            (Kind::GrpcService, status("Ready", "True"), status("Ready", "Unknown"), ""),
            (Kind::GrpcService, status("Ready", "Unknown"), status("Ready", "False"), "NotReady"),
            (Kind::GrpcService, none.clone(), status("Accepted", "False"), ""),
            (Kind::Gateway, none.clone(), status("Programmed", "True"), "Ready"),
            (Kind::GatewayClass, none.clone(), status("Accepted", "True"), ""),
            (Kind::GatewayClass, none, status("Accepted", "False"), "NotReady"),
            (Kind::GatewayClass, status("Accepted", "False"), status("Accepted", "True"), "Ready"),
        ];
        for (kind, before, after, expected) in cases {
            let object = Ref::new(kind, NsName::new("ns", "a"));
            let notes = turns(&object, &before, &after);
            let told: Vec<String> = notes.iter().map(|note| format!("{note:?}")).collect();
            match expected {
                "" => assert_eq!(told, Vec::<String>::new(), "{before} {after}"),
                reason => {
                    let [only] = told.as_slice() else { panic!("{told:?}") };
                    assert!(only.contains(&format!("reason: \"{reason}\"")) && only.contains('='), "{only}");
                }
            }
        }
    }

    /// A Scribe who leads, before an API server whose every object is of generation 2 and has this status; what that is asked.
    async fn scribe(status: Value) -> (Scribe, Arc<Mutex<Vec<Method>>>) {
        let asked = Arc::<Mutex<Vec<Method>>>::default();
        let (log, metadata) =
            (asked.clone(), json!({"namespace": "a", "name": "r", "resourceVersion": "7", "generation": 2}));
        let object = json!({"apiVersion": "a/b", "kind": "c", "metadata": metadata, "status": status}).to_string();
        let answer = move |method: Method| {
            log.lock().unwrap().push(method);
            ready(object.clone())
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
        let client = Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap();
        let (leadership, limit) = (Leadership::default(), Duration::from_secs(10));
        leadership.elect(Instant::now() + limit);
        leadership.confirm();
        let writer = Writer { client, leadership, writes: Writes::default(), fail: None, limit };
        (Scribe::new(writer, Seen::default(), Events::default()), asked)
    }

    #[tokio::test]
    async fn what_was_heard_is_enough_to_write_by_and_not_to_write_nothing() {
        let word = json!({"parents": [{"parentRef": {"name": "gw"}, "controllerName": sluice_api::CONTROLLER_NAME}]});
        let object = Ref::new(Kind::GrpcRoute, NsName::new("a", "r"));
        let update = StatusUpdate { target: object.clone(), generation: 2, status: word.clone().into() };
        let (there, none) = (&word, &json!({}));
        let cases = [
            ("the latest", Some((2, none)), none, vec![Method::PATCH]),
            ("nothing", None, none, vec![Method::GET, Method::PATCH]),
            ("an earlier generation", Some((1, none)), none, vec![Method::GET, Method::PATCH]),
            ("an earlier life", Some((2, there)), none, vec![Method::GET, Method::PATCH]),
            ("what is there", Some((2, there)), there, vec![Method::GET]),
        ];
        for (name, heard, live, expected) in cases {
            let (scribe, asked) = scribe(live.clone()).await;
            if let Some((generation, status)) = heard {
                let metadata = json!({"namespace": "a", "name": "r", "resourceVersion": "6", "generation": generation});
                let text = json!({"metadata": metadata, "status": status}).to_string();
                scribe.seen.note(Kind::GrpcRoute, &Head::of(&text).unwrap());
            }
            scribe.write(&object, &update).await.unwrap();
            assert_eq!(*asked.lock().unwrap(), expected, "heard: {name}");
        }
    }

    #[test]
    fn each_parent_of_a_route_turns_for_itself() {
        let entry = |parent: &str, truth: &str| {
            let mut entry = status("Accepted", truth);
            entry["parentRef"] = json!({"name": parent});
            entry
        };
        let object = Ref::new(Kind::GrpcRoute, NsName::new("ns", "a"));
        let before = json!({"parents": [entry("a", "True"), entry("b", "True")]});
        let after = json!({"parents": [entry("b", "True"), entry("a", "False")]});
        let expected = Note::warning(object.clone(), "NotReady", "Accepted=False (R): m");
        assert_eq!(turns(&object, &before, &after), [expected]);
    }
}
