//! Level 1: what each GrpcService wants to exist, and what of it is written.
//!
//! **Invariant:** what was written and is there otherwise is written again, once for each time that the object moved: fields that others
//! add cost one look of whoever writes.

use crate::{
    deps::Task,
    effects::{Apply, Event},
    engine::Engine,
    hash::{fingerprint, fingerprint_of},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sluice_api::{GrpcServiceSpec, grpcservice::DeletionPolicy};
use sluice_core::{
    author::{self, Authored, Desired, Issue, Issuer, WriteOutcome},
    key::{Kind, NsName, Ref},
    world::{Change, Object, Own, World, secret::Secret},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How often one service may answer to its own output within a step; what remains waits for the next step. Two suffice unless
/// authoring has a defect: writing an object makes its service stale once.
const REPEATS: usize = 8;

/// Repairs of an object that are so far apart have nothing to do with each other. More than what GitOps tools take for a turn.
const CALM: TimeDelta = TimeDelta::minutes(10);

/// What every GrpcService wants.
#[derive(Debug, Default)]
pub(crate) struct Authors {
    memo: BTreeMap<NsName, Arc<Authored>>,
    written: BTreeMap<Ref, Written>,
    /// The objects in `written`, by their service.
    of: BTreeMap<NsName, BTreeSet<Ref>>,
    /// Key material that was asked for and is not there yet.
    asked: BTreeMap<NsName, Asked>,
    /// Objects that were removed and are still there.
    removed: BTreeSet<Ref>,
    /// Services some of whose objects are not there as they were written.
    incomplete: BTreeSet<NsName>,
    /// Services whose objects stay when they go.
    lenient: BTreeSet<NsName>,
    repeats: BTreeMap<NsName, usize>,
    postponed: BTreeSet<NsName>,
}

#[derive(Debug)]
struct Written {
    service: NsName,
    whole: u64,
    /// Everything but the metadata: what a generation counts.
    content: u64,
    generation: i64,
    /// Whether the object moved since: by this write, or by somebody else's.
    moved: bool,
    repairs: Repairs,
}

/// How often the same was written again of late, since it was not there as it had been written.
#[derive(Clone, Copy, Debug, Default)]
struct Repairs {
    count: u32,
    last: DateTime<Utc>,
}

impl Repairs {
    fn again(self, now: DateTime<Utc>) -> Self {
        let before = if now < self.last + CALM { self.count } else { 0 };
        Self { count: before.saturating_add(1), last: now }
    }
}

#[derive(Debug, PartialEq)]
struct Asked {
    service: NsName,
    /// What makes two requests the same; their times differ with every evaluation.
    wish: u64,
}

impl Authors {
    /// What a service wants.
    pub(crate) fn get(&self, service: &NsName) -> Option<&Arc<Authored>> {
        self.memo.get(service)
    }

    /// An object is gone: if a service wrote it, it is written again.
    pub(crate) fn lost(&mut self, object: &Ref) -> Option<Task> {
        self.removed.remove(object);
        let written = self.unnote(object)?;
        self.incomplete.insert(written.service.clone());
        Some(Task::Author(written.service))
    }

    /// A kind is not served any more: its objects went with it, and are written again once it is. O(objects written). Answers those that
    /// were written.
    pub(crate) fn kind_lost(&mut self, kind: Kind) -> Vec<Ref> {
        self.removed.retain(|object| object.kind != kind);
        let gone: Vec<Ref> = self.written.keys().filter(|object| object.kind == kind).cloned().collect();
        let services = gone.iter().filter_map(|object| self.unnote(object)).map(|written| written.service);
        let services: Vec<NsName> = services.collect();
        self.incomplete.extend(services);
        gone
    }

    /// A Secret moved: what was asked for may have come, or is to be asked for again, even if it came and went within one step.
    pub(crate) fn answered(&mut self, secret: &NsName) -> Option<Task> {
        let asked = self.asked.remove(secret)?;
        self.incomplete.insert(asked.service.clone());
        Some(Task::Author(asked.service))
    }

    /// An object moved: if a service wrote it, it is looked at whether that undid it.
    pub(crate) fn moved(&mut self, object: &Ref) -> Option<Task> {
        self.written.get_mut(object)?.moved = true;
        self.look_again(object)
    }

    /// What moved before its write had ended is looked at once it has.
    fn look_again(&mut self, object: &Ref) -> Option<Task> {
        let written = self.written.get(object).filter(|written| written.moved)?;
        self.incomplete.insert(written.service.clone());
        Some(Task::Author(written.service.clone()))
    }

    /// Whoever begins to write knows nothing of what was written before.
    pub(crate) fn forget_written(&mut self) -> Vec<Task> {
        self.written.clear();
        self.of.clear();
        self.removed.clear();
        self.asked.clear();
        self.incomplete.extend(self.memo.keys().cloned());
        self.incomplete.iter().cloned().map(Task::Author).collect()
    }

    /// A new step: what was postponed runs now.
    pub(crate) fn begin(&mut self) -> Vec<Task> {
        self.repeats.clear();
        std::mem::take(&mut self.postponed).into_iter().map(Task::Author).collect()
    }

    /// Notes what a service that is there wants of its objects once it is gone.
    fn note_policy(&mut self, service: &NsName, policy: DeletionPolicy) {
        match policy {
            DeletionPolicy::Orphan => _ = self.lenient.insert(service.clone()),
            DeletionPolicy::Delete => _ = self.lenient.remove(service),
        }
    }

    /// A service is gone: forgets what it wrote if that is to stay.
    fn orphan(&mut self, service: &NsName) {
        if self.lenient.remove(service) {
            for object in self.of.remove(service).unwrap_or_default() {
                self.written.remove(&object);
            }
        }
    }

    fn may_run(&mut self, service: &NsName) -> bool {
        let repeats = self.repeats.entry(service.clone()).or_default();
        *repeats += 1;
        let may = *repeats <= REPEATS;
        if !may {
            self.postponed.insert(service.clone());
        }
        may
    }

    /// The service whose latest write of an object this is.
    fn writer(&self, object: &Ref, generation: i64) -> Option<&NsName> {
        let written = self.written.get(object).filter(|written| written.generation == generation);
        let asked = self.asked.get(&object.key).filter(|_| object.kind == Kind::Secret);
        written.map(|written| &written.service).or(asked.map(|asked| &asked.service))
    }

    /// The objects that this process wrote for a service.
    pub(super) fn written_by(&self, service: &NsName) -> Vec<Ref> {
        self.of.get(service).into_iter().flatten().cloned().collect()
    }

    fn note(&mut self, object: &Ref, written: Written) {
        self.unnote(object);
        self.removed.remove(object);
        self.of.entry(written.service.clone()).or_default().insert(object.clone());
        self.written.insert(object.clone(), written);
    }

    fn unnote(&mut self, object: &Ref) -> Option<Written> {
        let written = self.written.remove(object)?;
        let emptied = self.of.get_mut(&written.service).is_some_and(|all| all.remove(object) && all.is_empty());
        if emptied {
            self.of.remove(&written.service);
        }
        Some(written)
    }
}

/// What cannot be signed by a CA is asked for again once that is another one.
fn asked(service: &NsName, issue: &Issue, world: &World) -> Asked {
    let signer = match &issue.spec.issuer {
        Issuer::Itself => None,
        Issuer::Authority(secret) => Some((secret, world.all::<Secret>().get(secret).map(|held| &held.data.0))),
    };
    let wish = fingerprint_of(&(&issue.spec.common_name, &issue.spec.sans, signer));
    Asked { service: service.clone(), wish }
}

impl Engine {
    /// Authors a service anew. Costs O(objects of the service).
    pub(crate) fn author(&mut self, service: &NsName) {
        if !self.authors.may_run(service) {
            return;
        }
        let task = Task::Author(service.clone());
        let authored = self.evaluate(&task, |read| author::author(service, read)).map(Arc::new);
        self.dirty.mark(Task::Project(Ref::new(Kind::GrpcService, service.clone())));
        if let Some(object) = self.state.world.all::<Own<GrpcServiceSpec>>().get(service) {
            self.authors.note_policy(service, object.spec.deletion_policy);
        } else {
            self.deps.forget(&task);
            self.authors.orphan(service);
        }
        if self.authors.get(service) == authored.as_ref() && !self.authors.incomplete.contains(service) {
            return;
        }
        self.authors.incomplete.remove(service);
        match authored.clone() {
            Some(authored) => drop(self.authors.memo.insert(service.clone(), authored)),
            None => drop(self.authors.memo.remove(service)),
        }
        if self.state.leads && !self.is_going(service) {
            self.write_all(service, authored.as_deref());
        }
    }

    fn write_all(&mut self, service: &NsName, authored: Option<&Authored>) {
        let objects = authored.map(|authored| authored.objects.as_slice()).unwrap_or_default();
        let leaving = authored.map(|authored| authored.leaving.as_slice()).unwrap_or_default();
        let wanted: BTreeSet<&Ref> = objects.iter().map(|desired| &desired.reference).chain(leaving).collect();
        for desired in objects.iter().filter(|desired| desired.is_writable()) {
            self.write(service, desired);
        }
        // What an earlier process has written is known from the world alone, what this one has just written from its memory alone.
        let mut stale: BTreeSet<Ref> = self.authors.written_by(service).into_iter().collect();
        stale.extend(authored.into_iter().flat_map(|authored| authored.stale.iter().cloned()));
        for reference in stale.iter().filter(|reference| !wanted.contains(reference)) {
            self.remove(service, reference);
        }
        for issue in authored.map(|authored| authored.issues.as_slice()).unwrap_or_default() {
            let wanted = asked(service, issue, &self.state.world);
            if self.authors.asked.get(&issue.secret) != Some(&wanted) {
                self.authors.asked.insert(issue.secret.clone(), wanted);
                self.state.forget_outcome(&Ref::new(Kind::Secret, issue.secret.clone()));
                self.effects.issues.push(issue.clone());
            }
        }
    }

    fn write(&mut self, service: &NsName, desired: &Desired) {
        let (whole, content) = (fingerprint(&desired.value), fingerprint(&without_metadata(&desired.value)));
        let before = self.authors.written.get(&desired.reference);
        let same = before.filter(|written| written.whole == whole && written.service == *service);
        if same.is_some_and(|written| !self.is_undone(desired, written)) {
            return;
        }
        let repairs = same.map(|written| written.repairs.again(self.state.world.now)).unwrap_or_default();
        let generation = match before {
            Some(written) if written.content == content => written.generation,
            Some(written) => written.generation + 1,
            None => 1,
        };
        let written = Written { service: service.clone(), whole, content, generation, moved: false, repairs };
        self.authors.note(&desired.reference, written);
        self.state.forget_outcome(&desired.reference);
        let (reference, value) = (desired.reference.clone(), desired.value.clone());
        if self.settings.feedback {
            self.accept(service, &reference, value.clone(), generation);
        }
        let (service, repairs) = (service.clone(), repairs.count);
        self.effects.applies.push(Apply::Put { service, reference, value, generation, repairs });
    }

    /// Whether a write that succeeded has left no trace: somebody else may have written since. Whoever writes knows; while a write is
    /// under way or was refused, it looks by itself.
    fn is_undone(&self, desired: &Desired, written: &Written) -> bool {
        let done = matches!(self.state.outcomes.get(&desired.reference), Some(WriteOutcome::Done { .. }));
        done && written.moved && !desired.stands
    }

    /// Removes an object that is there, or is about to be.
    pub(super) fn remove(&mut self, service: &NsName, reference: &Ref) {
        if !self.authors.removed.insert(reference.clone()) {
            return;
        }
        self.authors.unnote(reference);
        self.state.forget_outcome(reference);
        self.effects.applies.push(Apply::Remove { service: service.clone(), reference: reference.clone() });
        if self.settings.feedback {
            self.change(Change::Delete(reference.clone()));
        }
    }

    /// Whoever writes says how it ended. What it says of a write that another one followed is old.
    pub(crate) fn wrote(&mut self, reference: Ref, generation: i64, outcome: WriteOutcome) {
        let Some(service) = self.authors.writer(&reference, generation).cloned() else { return };
        if matches!(outcome, WriteOutcome::Done { .. }) {
            self.dirty.mark_all(self.authors.look_again(&reference));
        }
        if self.state.outcomes.get(&reference) != Some(&outcome) {
            Arc::make_mut(&mut self.state.outcomes).insert(reference, outcome);
            self.dirty.mark(Task::Project(Ref::new(Kind::GrpcService, service)));
        }
    }

    /// What an API server would do: number the generation, note the creation, and hand the object to whoever watches. The creation is
    /// the service's own, so that precedence does not depend on when this process was started.
    fn accept(&mut self, service: &NsName, reference: &Ref, mut value: Value, generation: i64) {
        let owner = self.state.world.all::<Own<GrpcServiceSpec>>().get(service);
        let created = owner.map(|owner| owner.metadata.created).unwrap_or_default();
        let known = self.state.world.metadata(reference).map(|known| known.uid.to_string());
        let uid = known.unwrap_or_else(|| reference.to_string());
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("generation".into(), json!(generation));
            metadata.insert("creationTimestamp".into(), json!(created));
            metadata.insert("uid".into(), json!(uid));
        }
        match Object::decode(reference.kind, value) {
            Ok(object) => self.change(object.into()),
            Err(error) => {
                let event = Event::Undecodable { object: reference.clone(), message: error.to_string() };
                self.effects.events.push(event);
            }
        }
    }
}

fn without_metadata(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("metadata");
    }
    value
}
