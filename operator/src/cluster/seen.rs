//! What the API server said last of objects whose statuses we write: it need not be asked for that again.
//!
//! events of watches → the latest status of an object with its version, once
//!
//! **Invariant:** it is a hint, good enough to write by: the version goes along, so that an outdated one costs a conflict. Nothing is
//! told of that object for a while then: a route that somebody edits ten times a second has moved on whenever its event arrives.
//! **Invariant:** it is not good enough to write nothing by: watches lag behind, and what is read anew by a list is not heard here.
//! **Invariant:** it holds twice [`HALF`] objects at most, those that were heard of last.
//!
//! Must not know: what a status means.

use super::known::Head;
use kube::core::DynamicObject;
use serde_json::{Value, json, value::RawValue};
use sluice_core::key::{Kind, Ref};
use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Half of what is held.
const HALF: usize = 1024;
/// The longest status that is held, in bytes; a usual one has a kilobyte or two, one with 64 listeners has fifty.
const LONGEST: usize = 8 << 10;
/// How long nothing is told of an object after a conflict.
const DOUBTED: Duration = Duration::from_secs(10);

/// What is to be known of an object to write its status.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Live {
    /// `metadata.resourceVersion`
    pub(super) version: String,
    /// `metadata.generation`
    pub(super) generation: i64,
    /// Empty if there is none.
    pub(super) status: Value,
}

impl From<DynamicObject> for Live {
    fn from(object: DynamicObject) -> Self {
        Self {
            version: object.metadata.resource_version.unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            status: object.data.get("status").cloned().unwrap_or_else(|| json!({})),
        }
    }
}

/// The same, as it was heard.
#[derive(Debug)]
struct Heard {
    version: Box<str>,
    generation: i64,
    status: Option<Box<str>>,
}

/// The objects that were heard of last; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<Halves>>);

#[derive(Debug, Default)]
struct Halves {
    young: BTreeMap<Ref, Heard>,
    old: BTreeMap<Ref, Heard>,
    /// Until when.
    doubted: BTreeMap<Ref, Instant>,
}

impl Seen {
    /// An object is there, or is different.
    pub(super) fn note(&self, kind: Kind, head: &Head<'_>) {
        if !has_status_of_ours(kind) {
            return;
        }
        let object = Ref::new(kind, head.key());
        let status: Option<&str> = head.status().map(RawValue::get);
        let mut halves = self.lock();
        if status.is_some_and(|status| status.len() > LONGEST) {
            halves.old.remove(&object);
            halves.young.remove(&object);
            return;
        }
        if halves.young.len() >= HALF {
            halves.old = mem::take(&mut halves.young);
        }
        let (version, status) = (head.version().into(), status.map(Into::into));
        halves.young.insert(object, Heard { version, generation: head.generation(), status });
    }

    /// What was told of an object was outdated: somebody else writes it, too.
    pub(super) fn doubt(&self, object: &Ref) {
        self.doubt_at(object, Instant::now());
    }

    fn doubt_at(&self, object: &Ref, now: Instant) {
        let mut halves = self.lock();
        halves.doubted.retain(|_, until| *until > now);
        halves.doubted.insert(object.clone(), now + DOUBTED);
    }

    /// What was heard of an object last, if that is not long ago, was not taken since, and nobody doubts it.
    pub(super) fn take(&self, object: &Ref) -> Option<Live> {
        self.take_at(object, Instant::now())
    }

    fn take_at(&self, object: &Ref, now: Instant) -> Option<Live> {
        let mut halves = self.lock();
        let old = halves.old.remove(object);
        let heard = halves.young.remove(object).or(old)?;
        if halves.doubted.get(object).is_some_and(|until| *until > now) {
            return None;
        }
        drop(halves);
        let status = heard.status.as_deref().map_or_else(|| Ok(json!({})), serde_json::from_str);
        Some(Live { version: heard.version.into(), generation: heard.generation, status: status.ok()? })
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn has_status_of_ours(kind: Kind) -> bool {
    kind.is_route()
        || matches!(
            kind,
            Kind::GrpcService
                | Kind::GatewayClass
                | Kind::Gateway
                | Kind::ListenerSet
                | Kind::GrpcPolicy
                | Kind::BackendTlsPolicy
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::key::NsName;

    fn note(seen: &Seen, kind: Kind, name: &str, version: usize) {
        let metadata = json!({"namespace": "a", "name": name, "resourceVersion": version.to_string(), "generation": 3});
        let text = json!({"metadata": metadata, "spec": {}, "status": {"seen": version}}).to_string();
        seen.note(kind, &Head::of(&text).unwrap());
    }

    fn version(seen: &Seen, kind: Kind, name: &str) -> Option<String> {
        let live = seen.take(&Ref::new(kind, NsName::new("a", name)))?;
        assert_eq!((live.generation, live.status["seen"].to_string()), (3, live.version.clone()));
        Some(live.version)
    }

    #[test]
    fn the_latest_is_told_once() {
        let seen = Seen::default();
        note(&seen, Kind::GrpcRoute, "r", 1);
        note(&seen, Kind::GrpcRoute, "r", 2);
        assert_eq!(version(&seen, Kind::HttpRoute, "r"), None);
        assert_eq!(version(&seen, Kind::GrpcRoute, "r").as_deref(), Some("2"));
        assert_eq!(version(&seen, Kind::GrpcRoute, "r"), None);
    }

    #[test]
    fn what_has_no_status_is_empty_and_what_has_none_of_ours_is_not_held() {
        let seen = Seen::default();
        let text = json!({"metadata": {"name": "c", "resourceVersion": "7"}}).to_string();
        for kind in [Kind::GatewayClass, Kind::Namespace] {
            seen.note(kind, &Head::of(&text).unwrap());
        }
        let expected = Live { version: "7".to_owned(), generation: 0, status: json!({}) };
        assert_eq!(seen.take(&Ref::new(Kind::GatewayClass, NsName::new("", "c"))), Some(expected));
        assert_eq!(seen.take(&Ref::new(Kind::Namespace, NsName::new("", "c"))), None);
    }

    #[test]
    fn after_a_conflict_nothing_is_told_of_the_object_for_a_while() {
        let (seen, now) = (Seen::default(), Instant::now());
        let object = |name: &str| Ref::new(Kind::GrpcRoute, NsName::new("a", name));
        let told = |name: &str, later: Duration| {
            note(&seen, Kind::GrpcRoute, name, 1);
            seen.take_at(&object(name), now + later).is_some()
        };
        seen.doubt_at(&object("r"), now);
        assert!(!told("r", Duration::ZERO) && told("other", Duration::ZERO));
        assert!(told("r", DOUBTED));
    }

    #[test]
    fn one_that_has_become_too_long_is_asked_for() {
        let seen = Seen::default();
        note(&seen, Kind::Gateway, "g", 1);
        let metadata = json!({"namespace": "a", "name": "g", "resourceVersion": "2"});
        let text = json!({"metadata": metadata, "status": {"long": "x".repeat(LONGEST)}}).to_string();
        seen.note(Kind::Gateway, &Head::of(&text).unwrap());
        assert_eq!(version(&seen, Kind::Gateway, "g"), None);
    }

    #[test]
    fn it_is_bounded_and_what_was_heard_of_last_is_held() {
        let seen = Seen::default();
        (0..5 * HALF).for_each(|number| note(&seen, Kind::GrpcRoute, &format!("r{number}"), number));
        note(&seen, Kind::GrpcRoute, "r0", 9);
        let held = (0..5 * HALF).filter(|number| version(&seen, Kind::GrpcRoute, &format!("r{number}")).is_some());
        let held: Vec<usize> = held.collect();
        assert!((HALF..=2 * HALF).contains(&held.len()), "{}", held.len());
        assert!(held.contains(&0) && held.contains(&(5 * HALF - 1)));
    }
}
