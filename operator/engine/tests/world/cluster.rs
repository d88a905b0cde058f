//! An API server and what stands around it, as far as the engine can tell: objects with identities, generations, finalizers and
//! statuses, a garbage collector, watches that are late, and proxies.

use super::start;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sluice_api::{CONTROLLER_NAME, FINALIZER};
use sluice_core::{
    key::{Kind, NsName, Ref, Text},
    world::{Change, Object},
};
use sluice_engine::{Apply, Effects, Engine, Hold, Input, ProxyEvent, Settings, WriteOutcome};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) struct Cluster {
    pub(crate) engine: Engine,
    pub(crate) objects: BTreeMap<Ref, Value>,
    /// Every status of our own that there ever was.
    pub(crate) echoes: Vec<(Ref, Value)>,
    /// Writes that changed something.
    pub(crate) writes: Vec<String>,
    /// Whether the engine may write.
    leads: bool,
    /// Gateways for which proxies run.
    pub(crate) running: BTreeSet<NsName>,
    /// How writes ended, and the engine has not heard yet.
    words: VecDeque<Input>,
    /// What the watch of each kind has not told yet.
    watches: BTreeMap<Kind, VecDeque<Input>>,
    seconds: i64,
    identities: u64,
}

impl Cluster {
    /// An engine that leads, in an empty cluster.
    pub(crate) fn new() -> Self {
        let mut cluster = Self {
            engine: Engine::new(Settings::default()),
            objects: BTreeMap::new(),
            echoes: Vec::new(),
            writes: Vec::new(),
            leads: false,
            running: BTreeSet::new(),
            words: VecDeque::new(),
            watches: BTreeMap::new(),
            seconds: 0,
            identities: 0,
        };
        cluster.lead(true);
        cluster
    }

    /// The lease comes or goes.
    pub(crate) fn lead(&mut self, leads: bool) -> Effects {
        self.lead_after([], leads)
    }

    /// The lease comes or goes together with other news.
    pub(crate) fn lead_after(&mut self, news: impl IntoIterator<Item = Input>, leads: bool) -> Effects {
        self.leads = leads;
        self.step(news.into_iter().chain([Input::Leader(leads)]))
    }

    pub(crate) fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Effects {
        let now = Change::Clock(start() + TimeDelta::seconds(self.seconds));
        let effects = self.engine.step(std::iter::once(Input::Change(now)).chain(inputs));
        self.carry(&effects);
        effects
    }

    pub(crate) fn pass(&mut self, seconds: i64) -> Effects {
        self.seconds += seconds;
        self.step([])
    }

    /// What somebody applies: `metadata` needs a name only.
    pub(crate) fn apply(&mut self, kind: Kind, value: &Value) {
        let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
        self.write(&Ref::new(kind, NsName::new(text("namespace"), text("name"))), value);
    }

    fn write(&mut self, object: &Ref, value: &Value) {
        let before = self.objects.get(object).cloned();
        let mut after = before.clone().unwrap_or_else(|| self.created(object));
        for (field, written) in value.as_object().unwrap() {
            match field.as_str() {
                "metadata" => {
                    for (field, written) in written.as_object().unwrap() {
                        after["metadata"][field] = written.clone();
                    }
                }
                "status" => {}
                _ => after[field] = written.clone(),
            }
        }
        if before.as_ref() == Some(&after) {
            return;
        }
        if before.is_none_or(|before| before["spec"] != after["spec"]) {
            let generation = after["metadata"]["generation"].as_i64().unwrap_or_default();
            after["metadata"]["generation"] = json!(generation + 1);
        }
        self.put(object, after);
    }

    fn created(&mut self, object: &Ref) -> Value {
        self.identities += 1;
        let created = start() - TimeDelta::days(1) + TimeDelta::seconds(self.seconds);
        let metadata = json!({
            "namespace": object.key.namespace, "name": object.key.name, "creationTimestamp": created,
            "uid": format!("uid-{}", self.identities), "finalizers": [],
        });
        json!({"metadata": metadata})
    }

    fn put(&mut self, object: &Ref, value: Value) {
        self.writes.push(format!("{object}"));
        let events = told(object, &value);
        self.objects.insert(object.clone(), value);
        self.watches.entry(object.kind).or_default().extend(events);
    }

    /// What `kubectl delete` does.
    pub(crate) fn delete(&mut self, object: &Ref) {
        let Some(mut value) = self.objects.get(object).cloned() else { return };
        if value["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            return self.remove(object);
        }
        if !is_deleting(&value) {
            value["metadata"]["deletionTimestamp"] = json!(start());
            let generation = value["metadata"]["generation"].as_i64().unwrap_or_default();
            value["metadata"]["generation"] = json!(generation + 1);
            self.put(object, value);
        }
    }

    fn remove(&mut self, object: &Ref) {
        let Some(value) = self.objects.remove(object) else { return };
        self.writes.push(format!("{object} gone"));
        let event = Input::Change(Change::Delete(object.clone()));
        self.watches.entry(object.kind).or_default().push_back(event);
        let owned: Vec<Ref> = self.owned(&value["metadata"]["uid"]);
        for object in owned {
            self.delete(&object);
        }
    }

    /// The objects whose owner has this identity.
    pub(crate) fn owned(&self, uid: &Value) -> Vec<Ref> {
        let owners = |value: &Value| value["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let by_it = |value: &Value| owners(value).iter().any(|owner| owner["uid"] == *uid);
        self.objects.iter().filter(|(_, value)| by_it(value)).map(|(object, _)| object.clone()).collect()
    }

    fn carry(&mut self, effects: &Effects) {
        let writes = effects.applies.len() + effects.issues.len() + effects.statuses.len() + effects.holds.len();
        assert!(self.leads || writes + effects.infrastructure.len() == 0, "a standby writes nothing: {effects:?}");
        for apply in &effects.applies {
            match apply {
                Apply::Put { reference, value, generation, .. } => {
                    self.write(reference, value);
                    let stored = self.objects[reference]["metadata"]["generation"].as_i64().unwrap();
                    let (reference, outcome) = (reference.clone(), WriteOutcome::Done { stored });
                    self.words.push_back(Input::Wrote { reference, generation: *generation, outcome });
                }
                Apply::Remove { reference, .. } => self.delete(reference),
                Apply::Orphan { reference, .. } => self.edit(reference, |value| {
                    value["metadata"]["ownerReferences"] = json!([]);
                }),
            }
        }
        for issue in &effects.issues {
            let secret = super::tls_secret(&issue.metadata, 0);
            self.apply(Kind::Secret, &secret);
        }
        for update in &effects.statuses {
            let status = update.status.value();
            self.echoes.push((update.target.clone(), status.clone()));
            self.edit(&update.target, |value| {
                let after = joined(&value["status"], &status, CONTROLLER_NAME);
                // Whoever writes says nothing where nothing was said and nothing is to be said.
                if value.get("status").is_some() || !is_bare(&after) {
                    value["status"] = after;
                }
            });
        }
        for (gateway, wanted) in &effects.infrastructure {
            match wanted {
                Some(_) => self.running.insert(gateway.clone()),
                None => self.running.remove(gateway),
            };
            let reached = self.reached(gateway);
            self.watches.entry(Kind::Service).or_default().extend(reached);
        }
        for (object, hold) in &effects.holds {
            let finalizers = if *hold == Hold::Keep { json!([FINALIZER]) } else { json!([]) };
            self.edit(object, |value| value["metadata"]["finalizers"] = finalizers.clone());
            if *hold == Hold::Release && self.objects.get(object).is_some_and(is_deleting) {
                self.remove(object);
            }
        }
    }

    /// Where a Gateway is reached: at ports of nodes, and nowhere without proxies.
    fn reached(&self, gateway: &NsName) -> [Input; 2] {
        let runs = self.running.contains(gateway);
        let (addresses, ports) = (runs.then(|| "10.0.0.1".into()), runs.then_some((443, 30_443)));
        let addresses = Change::Addresses(gateway.clone(), addresses.into_iter().collect());
        [addresses, Change::Ports(gateway.clone(), ports.into_iter().collect())].map(Input::from)
    }

    pub(crate) fn edit(&mut self, object: &Ref, edit: impl FnOnce(&mut Value)) {
        let Some(before) = self.objects.get(object) else { return };
        let mut after = before.clone();
        edit(&mut after);
        if *before != after {
            self.put(object, after);
        }
    }

    /// What somebody makes of an object that is not his.
    pub(crate) fn overwrite(&mut self, object: &Ref, overwrite: impl FnOnce(&mut Value)) {
        self.edit(object, |value| {
            let spec = value["spec"].clone();
            overwrite(value);
            if value["spec"] != spec {
                let generation = value["metadata"]["generation"].as_i64().unwrap_or_default();
                value["metadata"]["generation"] = json!(generation + 1);
            }
        });
    }

    /// What another controller says of the route `a/svc` at its Gateway `a/foreign`.
    pub(crate) fn other_says(&mut self, status: &str) {
        const OTHER: &str = "example.com/other";
        let parent =
            json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "a", "name": "foreign"});
        let says = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": kind, "observedGeneration": 99});
        let conditions = [says("Accepted", status), says("ResolvedRefs", "True")];
        let said = json!({"parents": [{"parentRef": parent, "controllerName": OTHER, "conditions": conditions}]});
        self.edit(&in_a(Kind::GrpcRoute, "svc"), |value| value["status"] = joined(&value["status"], &said, OTHER));
    }

    /// What a watch tells of a status that was ours, late, beside what others say.
    pub(crate) fn echo(&self, object: &Ref, status: &Value) -> Input {
        let known = self.objects.get(object).map(|value| value["status"].clone()).unwrap_or_default();
        let status = serde_json::from_value(joined(&known, status, CONTROLLER_NAME)).unwrap();
        Input::Change(Change::Observe(object.clone(), Some(status)))
    }

    /// Tells up to `count` events of a kind's watch.
    pub(crate) fn tell(&mut self, kind: Kind, count: usize) -> Effects {
        let watch = self.watches.entry(kind).or_default();
        let events: Vec<Input> = watch.drain(..count.min(watch.len())).collect();
        self.step(events)
    }

    /// Tells how up to `count` writes ended.
    pub(crate) fn hear(&mut self, count: usize) -> Effects {
        let words: Vec<Input> = self.words.drain(..count.min(self.words.len())).collect();
        self.step(words)
    }

    /// Tells everything that the watches have, once, and how writes ended.
    pub(crate) fn tell_all(&mut self) {
        self.hear(usize::MAX);
        for kind in Kind::ALL {
            self.tell(kind, usize::MAX);
        }
    }

    /// Every proxy goes away.
    pub(crate) fn disconnect(&mut self) -> Effects {
        let gone =
            |gateway: &NsName| ProxyEvent::Disconnected { gateway: gateway.clone(), proxy: "p".into(), stream: 1 };
        let events: Vec<Input> = self.running.iter().map(|gateway| gone(gateway).into()).collect();
        self.step(events)
    }

    /// Every ready proxy acknowledges everything.
    pub(crate) fn acknowledge(&mut self) -> Effects {
        let running = self.running.iter().filter_map(|gateway| {
            let revision = self.engine.snapshots().get(gateway)?.revision();
            Some(ProxyEvent::Synced { gateway: gateway.clone(), proxy: "p".into(), stream: 1, revision }.into())
        });
        let events: Vec<Input> = running.collect();
        self.step(events)
    }

    /// Tells and acknowledges everything until nothing is written any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..50 {
            let before = self.writes.len();
            self.tell_all();
            self.acknowledge();
            let quiet = self.words.is_empty() && self.watches.values().all(VecDeque::is_empty);
            if self.writes.len() == before && quiet {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", &self.writes[self.writes.len() - 20..]);
    }

    /// Another process takes over: it knows what the API server has, and the pods of the proxies that run.
    pub(crate) fn restart(&mut self) -> Effects {
        self.stand_by();
        self.lead(true)
    }

    /// Another process that knows what there is, and does not lead yet.
    pub(crate) fn stand_by(&mut self) {
        self.engine = Engine::new(Settings::default());
        self.leads = false;
        self.watches.clear();
        self.words.clear();
        let objects = self.objects.iter().flat_map(|(object, value)| told(object, value));
        let events: Vec<Input> = objects.chain(self.running.iter().flat_map(|gateway| self.reached(gateway))).collect();
        self.step(events);
        self.pods(|gateway, proxy| ProxyEvent::Ready { gateway, proxy });
    }

    /// What becomes of the pods of all proxies.
    pub(crate) fn pods(&mut self, event: fn(NsName, Text) -> ProxyEvent) -> Effects {
        let inputs: Vec<Input> = self.running.iter().map(|gateway| event(gateway.clone(), "p".into()).into()).collect();
        self.step(inputs)
    }
}

pub(crate) fn is_deleting(value: &Value) -> bool {
    value["metadata"].get("deletionTimestamp").is_some()
}

/// What a watch tells of an object.
fn told(object: &Ref, value: &Value) -> Vec<Input> {
    let mut value = value.clone();
    let status = value.as_object_mut().and_then(|fields| fields.remove("status"));
    let status = status.map(|status| serde_json::from_value(status).unwrap());
    let object = Input::Change(Object::decode(object.kind, value).unwrap().into());
    let Input::Change(Change::Upsert(decoded)) = &object else { unreachable!() };
    let observed = Input::Change(Change::Observe(decoded.reference(), status));
    vec![object, observed]
}

/// Whether a status is nothing but an empty list of entries.
pub(crate) fn is_bare(status: &Value) -> bool {
    let is_empty = |list: &Value| list.as_array().is_some_and(Vec::is_empty);
    status.as_object().is_some_and(|fields| fields.len() == 1 && fields.values().all(is_empty))
}

/// A status in which the entries of one controller are replaced.
fn joined(known: &Value, said: &Value, controller: &str) -> Value {
    let mut status = said.clone();
    for field in ["parents", "ancestors"].into_iter().filter(|field| said.get(field).is_some()) {
        let others =
            known[field].as_array().into_iter().flatten().filter(|entry| entry["controllerName"] != controller);
        let mut all: Vec<Value> = said[field].as_array().into_iter().flatten().chain(others).cloned().collect();
        // Whoever writes keeps the places of others' entries; here it is enough that the order says nothing of who wrote last.
        all.sort_by_key(|entry| entry["controllerName"].to_string());
        status[field] = all.into();
    }
    status
}

/// An object of the namespace `a`.
pub(crate) fn in_a(kind: Kind, name: &str) -> Ref {
    Ref::new(kind, NsName::new("a", name))
}

/// A cluster with two classes, ours and another controller's, a shared Gateway `one` of ours and `foreign` of the other's.
pub(crate) fn furnished() -> Cluster {
    let mut cluster = Cluster::new();
    let class =
        |name: &str, controller: &str| json!({"metadata": {"name": name}, "spec": {"controllerName": controller}});
    let all = json!({"namespaces": {"from": "All"}});
    let gateway = |name: &str, class: &str| {
        let tls = json!({"certificateRefs": [{"name": "cert"}]});
        let listener = json!({"name": "x", "port": 443, "protocol": "HTTPS", "tls": tls, "allowedRoutes": all});
        json!({"metadata": {"namespace": "a", "name": name}, "spec": {"gatewayClassName": class, "listeners": [listener]}})
    };
    let backend =
        json!({"metadata": {"namespace": "a", "name": "s"}, "spec": {"ports": [{"name": "grpc", "port": 9000}]}});
    let objects = [
        (Kind::GatewayClass, class("sluice", "sluice.dev/gateway-controller")),
        (Kind::GatewayClass, class("other", "example.com/other")),
        (Kind::Secret, super::tls_secret(&json!({"namespace": "a", "name": "cert"}), 0)),
        (Kind::Service, backend),
        (Kind::Gateway, gateway("one", "sluice")),
        (Kind::Gateway, gateway("foreign", "other")),
    ];
    for (kind, value) in objects {
        cluster.apply(kind, &value);
    }
    let programmed = json!([{"type": "Programmed", "status": "True", "reason": "Programmed", "observedGeneration": 1}]);
    cluster.edit(&in_a(Kind::Gateway, "foreign"), |value| value["status"] = json!({"conditions": programmed}));
    cluster.settle();
    cluster
}

/// An entry of `spec.gateways`.
pub(crate) fn own(name: &str) -> Value {
    json!({"name": name, "own": {"gatewayClassName": "sluice"}})
}

/// An entry of `spec.gateways` for one that is there.
pub(crate) fn shared(name: &str) -> Value {
    json!({"name": name, "ref": {"name": name}})
}

/// The service `a/svc`. With a certificate of its own, a shared Gateway would get a ListenerSet; without, an own one none.
pub(crate) fn grpc_service(gateways: &Value) -> Value {
    let owns = gateways.as_array().unwrap().iter().any(|entry| entry.get("own").is_some());
    let tls = owns.then(|| json!({"type": "Secret", "certificateRefs": [{"name": "cert"}]}));
    let backends = json!([{"name": "only", "service": {"name": "s", "port": 9000}}]);
    let spec = json!({"hostnames": ["a.example.com"], "gateways": gateways, "tls": tls, "backends": backends});
    json!({"metadata": {"namespace": "a", "name": "svc"}, "spec": spec})
}
