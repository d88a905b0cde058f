//! A status as it is to be: what we say, in the place of what we said, and everything of others as it stands.
//!
//! `status` as it is, and as we say it → `status` as it is to be, and the merge patch that makes it so
//!
//! **Invariant:** entries of other controllers, and conditions of types that we never write, stay as they are and in their order.
//! **Invariant:** `lastTransitionTime` moves when the status of its condition does, and only then.
//! **Invariant:** a condition that is about a later generation is left alone.
//!
//! Must not know: how a status is written. Source: Gateway API, `RouteParentStatus` and `PolicyAncestorStatus`.

use serde_json::{Map, Value, json};
use sluice_api::CONTROLLER_NAME;
use sluice_core::key::Kind;

/// The condition types that we write in places where others may write theirs, beside those that are called `sluice.dev/…`.
const TYPES: [&str; 7] = [
    "Accepted",
    "Programmed",
    "ResolvedRefs",
    "PartiallyInvalid",
    "Conflicted",
    "OverlappingTLSConfig",
    "SupportedVersion",
];

/// What we say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'w> {
    /// Of an object of this kind.
    pub(super) kind: Kind,
    /// Without times.
    pub(super) status: &'w Value,
    /// The generation that it is about.
    pub(super) generation: i64,
    /// The generation that the object has by now.
    pub(super) current: i64,
    /// The time of what turns now.
    pub(super) now: &'w str,
}

/// Where a kind has a list of what each controller says, what its entries are told apart by, and how many there may be.
pub(super) const fn entries(kind: Kind) -> Option<(&'static str, &'static str, usize)> {
    match kind {
        _ if kind.is_route() => Some(("parents", "parentRef", 32)),
        Kind::GrpcPolicy | Kind::BackendTlsPolicy => Some(("ancestors", "ancestorRef", 16)),
        _ => None,
    }
}

impl Word<'_> {
    /// The status as it is to be, where it is `live`.
    pub(super) fn over(&self, live: &Value) -> Value {
        let Some((list, by, most)) = entries(self.kind) else {
            return if self.is_outdated(live) { live.clone() } else { self.laid_over(live, self.status) };
        };
        let merged = self.among(items(live, list), items(self.status, list), by, most);
        let held = live.as_object().into_iter().flatten().filter(|(name, _)| *name != list);
        let mut status: Map<_, _> = held.map(|(name, value)| (name.clone(), value.clone())).collect();
        if !merged.is_empty() || live.get(list).is_some() {
            status.insert(list.to_owned(), Value::Array(merged));
        }
        Value::Object(status)
    }

    /// Whether somebody has said more than we know: another leader. (An object of an earlier life of the name counts higher than this
    /// one does; what was said of that is no more.)
    fn is_outdated(&self, said: &Value) -> bool {
        let observed = said.get("observedGeneration").and_then(Value::as_i64);
        observed.is_some_and(|observed| observed > self.generation && observed <= self.current)
    }

    /// Our entries among those of all controllers.
    fn among(&self, live: &[Value], ours: &[Value], by: &str, most: usize) -> Vec<Value> {
        let mut open: Vec<&Value> = ours.iter().collect();
        let mut merged = Vec::new();
        for entry in live {
            if !is_ours(entry) {
                merged.push(entry.clone());
            } else if let Some(place) = open.iter().position(|ours| ours.get(by) == entry.get(by)) {
                merged.push(self.laid_over(entry, open.remove(place)));
            }
        }
        let foreign = merged.iter().filter(|entry| !is_ours(entry)).count();
        merged.extend(open.into_iter().map(|ours| self.laid_over(&Value::Null, ours)));
        let mut room = most.saturating_sub(foreign);
        merged.retain(|entry| {
            let stays = !is_ours(entry) || room > 0;
            room -= usize::from(stays && is_ours(entry));
            stays
        });
        merged
    }

    /// Our value, with the times and the foreign conditions of the one that is there.
    fn laid_over(&self, live: &Value, ours: &Value) -> Value {
        match ours {
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| {
                    let live = live.get(name).unwrap_or(&Value::Null);
                    let value =
                        if name == "conditions" { self.conditions(live, value) } else { self.laid_over(live, value) };
                    (name.clone(), value)
                };
                Value::Object(fields.iter().map(field).collect())
            }
            Value::Array(items) => {
                let item = |(place, item): (usize, &Value)| self.laid_over(counterpart(live, place, item), item);
                Value::Array(items.iter().enumerate().map(item).collect())
            }
            _ => ours.clone(),
        }
    }

    fn conditions(&self, live: &Value, ours: &Value) -> Value {
        let mut open: Vec<&Value> = ours.as_array().into_iter().flatten().collect();
        let mut merged = Vec::new();
        for held in live.as_array().into_iter().flatten() {
            if let Some(place) = open.iter().position(|ours| ours.get("type") == held.get("type")) {
                merged.push(self.condition(held, open.remove(place)));
            } else if !self.writes(held) {
                merged.push(held.clone());
            }
        }
        merged.extend(open.into_iter().map(|ours| self.condition(&Value::Null, ours)));
        Value::Array(merged)
    }

    fn condition(&self, held: &Value, ours: &Value) -> Value {
        // What a GrpcService repeats of its route is about generations of the route.
        if self.kind != Kind::GrpcService && self.is_outdated(held) {
            return held.clone();
        }
        let same = held.get("status") == ours.get("status");
        let time = held.get("lastTransitionTime").filter(|_| same).cloned().unwrap_or_else(|| json!(self.now));
        let mut ours = ours.clone();
        if let Some(fields) = ours.as_object_mut() {
            fields.insert("lastTransitionTime".to_owned(), time);
        }
        ours
    }

    /// Whether a condition that we do not say is one that we would have said: then it is over. All those of a GrpcService are.
    fn writes(&self, condition: &Value) -> bool {
        let name = condition.get("type").and_then(Value::as_str).unwrap_or_default();
        self.kind == Kind::GrpcService || TYPES.contains(&name) || name.starts_with("sluice.dev/")
    }
}

fn is_ours(entry: &Value) -> bool {
    entry.get("controllerName").and_then(Value::as_str) == Some(CONTROLLER_NAME)
}

/// The items of a list in a value; none if there is no such list.
pub(super) fn items<'v>(value: &'v Value, list: &str) -> &'v [Value] {
    value.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The item of `live` that stands for the same thing: the one of its name, or the one in its place.
fn counterpart<'v>(live: &'v Value, place: usize, item: &Value) -> &'v Value {
    let items = live.as_array().map(Vec::as_slice).unwrap_or_default();
    let found = match item.get("name") {
        Some(name) => items.iter().find(|live| live.get("name") == Some(name)),
        None => items.get(place),
    };
    found.unwrap_or(&Value::Null)
}

/// The merge patch that turns one value into another, if they differ. Source: RFC 7386.
pub(super) fn difference(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return Some(to.clone()) };
    let gone = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let moved = to.iter().filter_map(|(name, value)| {
        let patch = difference(from.get(name).unwrap_or(&Value::Null), value)?;
        Some((name.clone(), patch))
    });
    Some(Value::Object(gone.chain(moved).collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests;
