//! Finding the rule that a proxy refused: an RDS or VHDS refusal names a host at best, so its new rules are tried in halves.
//!
//! Refusals and acknowledgements → rules withheld, released, or known as the culprit.
//!
//! **Invariant:** at the first refusal everything suspect is withheld, so that the host moves on at once.
//! **Invariant:** a trial ends: each refusal halves a group, each acknowledgement clears one.

use crate::{
    deps::Task,
    effects::Event,
    engine::Engine,
    quarantine::{self, Certainty, Form, Refusal, RuleKey},
};
use chrono::TimeDelta;
use sluice_core::{
    key::{NsName, Ref, Text},
    translate::{Lowered, Ranked},
};
use sluice_xds::{Id, ResourceType, Version};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A refused cluster is tried again after this time: a proxy that was merely slow to warm it gets another chance.
const CLUSTER_REST: TimeDelta = TimeDelta::seconds(60);

/// What is said of a cluster that a proxy neither took nor refused.
const STALLED: &str = "Envoy neither acknowledged nor refused it in time";

/// What is in doubt.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    /// The last form of each route that the proxies of a Gateway acknowledged, while a later one is under way.
    good: BTreeMap<(NsName, Ref), Good>,
    /// Edited since the last revision.
    fresh: BTreeMap<NsName, BTreeSet<Ref>>,
    /// The routes whose revision was this one when it was published.
    due: BTreeMap<(NsName, u64), BTreeSet<Ref>>,
    open: BTreeMap<(NsName, Id), Trial>,
}

/// A form that was acknowledged, if any was, and the revision that brings the later one; 0 until that is published.
type Good = (Option<Arc<Lowered>>, u64);

/// The search for the culprit in one host.
#[derive(Debug)]
struct Trial {
    /// Not yet tried since they were withheld.
    groups: Vec<Vec<RuleKey>>,
    /// Released, and waited for; empty while everything is withheld.
    trying: Vec<RuleKey>,
    /// The revision whose acknowledgement decides; 0 until it is published.
    revision: u64,
    message: Text,
}

fn halves(mut group: Vec<RuleKey>) -> impl Iterator<Item = Vec<RuleKey>> {
    let rest = group.split_off(group.len() / 2);
    [group, rest].into_iter().filter(|half| !half.is_empty())
}

/// The form of a rule in an earlier form of its route: by name, or by place if it has none.
fn same_rule(good: &Lowered, rule: &[Ranked]) -> Option<Form> {
    let origin = &rule.first()?.route.origin;
    let same = |ranked: &&Ranked| match &origin.rule_name {
        Some(name) => ranked.route.origin.rule_name.as_ref() == Some(name),
        None => ranked.route.origin.rule == origin.rule,
    };
    let routes: Vec<Ranked> = good.routes.iter().filter(same).cloned().collect();
    let names = super::host::named_by(routes.iter().map(|ranked| &*ranked.route));
    let clusters = good.clusters.iter().filter(|cluster| names.contains(&cluster.name())).cloned().collect();
    (!routes.is_empty()).then_some(Form { routes, clusters })
}

impl Trials {
    /// A route has a new form: what it had before is good until the new one is acknowledged.
    pub(crate) fn edited(&mut self, gateway: &NsName, route: &Ref, before: Option<Arc<Lowered>>) {
        self.good.entry((gateway.clone(), route.clone())).or_insert((before, 0));
        self.fresh.entry(gateway.clone()).or_default().insert(route.clone());
    }

    /// The Gateways of which something is in doubt.
    pub(crate) fn gateways(&self) -> BTreeSet<NsName> {
        self.fresh.keys().chain(self.open.keys().map(|(gateway, _)| gateway)).cloned().collect()
    }

    /// What is under way goes out with this revision at the latest. O(what was edited since the last one).
    pub(crate) fn published(&mut self, gateway: &NsName, latest: u64) {
        for route in self.fresh.remove(gateway).unwrap_or_default() {
            if let Some((_, revision)) = self.good.get_mut(&(gateway.clone(), route.clone())) {
                *revision = latest;
                self.due.entry((gateway.clone(), latest)).or_default().insert(route);
            }
        }
        for trial in self.of(gateway).filter(|trial| trial.revision == 0) {
            trial.revision = latest;
        }
    }

    fn of<'t>(&'t mut self, gateway: &'t NsName) -> impl Iterator<Item = &'t mut Trial> {
        self.open.iter_mut().filter(move |((of, _), _)| of == gateway).map(|(_, trial)| trial)
    }

    /// Everything up to `floor` is acknowledged. Forms stay in doubt while a trial of the Gateway is open.
    fn acknowledged(&mut self, gateway: &NsName, floor: u64) {
        if self.of(gateway).next().is_some() {
            return;
        }
        let due = self.due.range((gateway.clone(), 0)..=(gateway.clone(), floor)).map(|(slot, _)| slot.clone());
        for slot in due.collect::<Vec<_>>() {
            for route in self.due.remove(&slot).unwrap_or_default() {
                let form = (gateway.clone(), route);
                if self.good.get(&form).is_some_and(|(_, revision)| *revision <= floor) {
                    self.good.remove(&form);
                }
            }
        }
    }
}

impl Engine {
    /// A proxy neither took nor refused clusters. Those that another one took, with the same Envoy, are sound: this one is slow.
    pub(crate) fn stalled(&mut self, gateway: &NsName, proxy: &Text, mut forms: Vec<(Id, Version)>) {
        let fleet = &self.state.fleet;
        forms.retain(|(id, version)| {
            let mut places = self.gateways.with_cluster(id, *version);
            !places.any(|(gateway, revision)| fleet.is_with_another(gateway, proxy, revision))
        });
        self.refused(gateway, &forms, STALLED);
    }

    /// A proxy refused resources. Refusals of a version that is no longer wanted say nothing new.
    pub(crate) fn refused(&mut self, gateway: &NsName, forms: &[(Id, Version)], message: &str) {
        let snapshot = self.gateways.snapshot(gateway).cloned();
        let wanted = |id: &Id| snapshot.as_ref().and_then(|snapshot| snapshot.get(id)).map(|resource| resource.version);
        let mut clusters = BTreeSet::new();
        for (id, version) in forms.iter().filter(|(id, version)| wanted(id) == Some(*version)) {
            let (gateway, message) = (gateway.clone(), message.to_owned());
            self.effects.events.push(Event::Refused {
                gateway: gateway.clone(),
                id: id.clone(),
                message: message.clone(),
            });
            match id.kind {
                ResourceType::VirtualHost => self.host_refused(&gateway, id, *version, &message),
                ResourceType::Cluster => drop(clusters.insert(id.name.clone())),
                _ => self.resource_refused(&gateway, id, *version, &message),
            }
        }
        if !clusters.is_empty() {
            self.clusters_refused(&clusters, message);
        }
    }

    /// A resource of which no rule can be withheld: it is noted until it moves.
    fn resource_refused(&mut self, gateway: &NsName, id: &Id, version: Version, message: &str) {
        Arc::make_mut(&mut self.state.quarantine).refuse(gateway, id.clone(), version, message.into());
        self.mark_listeners(gateway);
    }

    /// A cluster's form is its name, so a refused one has no earlier form: its share answers UNAVAILABLE. O(routes), at each refusal.
    fn clusters_refused(&mut self, names: &BTreeSet<Text>, message: &str) {
        let until = self.state.world.now + CLUSTER_REST;
        for name in names {
            Arc::make_mut(&mut self.state.quarantine).shun_cluster(name.clone(), until, message.into());
        }
        for route in self.routes.naming(names) {
            self.dirty.mark(Task::Project(route.clone()));
            self.dirty.mark(Task::Lower(route));
        }
    }

    fn host_refused(&mut self, gateway: &NsName, id: &Id, version: Version, message: &str) {
        let slot = (gateway.clone(), id.clone());
        let mut trial = self.trials.open.remove(&slot).unwrap_or(Trial {
            groups: Vec::new(),
            trying: Vec::new(),
            revision: 0,
            message: message.into(),
        });
        trial.message = message.into();
        let mut suspects = std::mem::take(&mut trial.trying);
        if suspects.is_empty() {
            suspects = self.suspects(gateway, id);
        }
        if suspects.is_empty() {
            self.resource_refused(gateway, id, version, message);
            self.dirty.mark_all(self.hosts.seated(gateway, &id.name).into_iter().map(Task::Project));
        }
        for key in &suspects {
            self.withhold(gateway, key, &trial.message, suspects.len());
        }
        if suspects.len() > 1 {
            trial.groups.extend(halves(suspects));
        }
        trial.revision = 0;
        if !trial.groups.is_empty() {
            self.trials.open.insert(slot, trial);
        }
    }

    /// The rules of a host that its proxies never acknowledged, or all of them if none is under way. O(rules of the host).
    fn suspects(&self, gateway: &NsName, id: &Id) -> Vec<RuleKey> {
        let mut new = BTreeSet::new();
        let mut all = BTreeSet::new();
        for route in self.hosts.seated(gateway, &id.name) {
            let Some(entry) = self.routes.get(&route) else { continue };
            let good = self.trials.good.get(&(gateway.clone(), route.clone()));
            let known: BTreeSet<RuleKey> =
                good.and_then(|(form, _)| form.as_ref()).map(|form| keys(&route, form)).unwrap_or_default();
            let present = keys(&route, &entry.raw);
            let withheld = |key: &RuleKey| self.state.quarantine.withholds(key);
            let open: BTreeSet<RuleKey> = present.into_iter().filter(|key| !withheld(key)).collect();
            if good.is_some() {
                new.extend(open.difference(&known).cloned());
            }
            all.extend(open);
        }
        (if new.is_empty() { all } else { new }).into_iter().collect()
    }

    fn withhold(&mut self, gateway: &NsName, key: &RuleKey, message: &Text, suspects: usize) {
        let Some(entry) = self.routes.get(&key.route) else { return };
        let rules = quarantine::rules(&entry.raw);
        let Some((_, rule)) = rules.into_iter().find(|(_, rule)| quarantine::key(&key.route, rule) == *key) else {
            return;
        };
        let good = self.trials.good.get(&(gateway.clone(), key.route.clone()));
        let last_good = good.and_then(|(form, _)| same_rule(form.as_ref()?, &rule));
        let label: Text = rule.first().map(|ranked| ranked.route.origin.rule_label()).unwrap_or_default().into();
        let certainty = if suspects == 1 { Certainty::Condemned } else { Certainty::Suspected };
        if certainty == Certainty::Condemned {
            let (route, rule) = (key.route.clone(), label.to_string());
            self.effects.events.push(Event::Quarantined { route, rule, message: message.to_string() });
        }
        let refusal = Refusal { certainty, message: message.clone(), label, last_good };
        Arc::make_mut(&mut self.state.quarantine).withhold(key.clone(), refusal);
        self.dirty.mark(Task::Lower(key.route.clone()));
        self.dirty.mark(Task::Project(key.route.clone()));
    }

    /// The proxies of a Gateway took everything up to what all of them have: trials that waited for it go on.
    pub(crate) fn advance_trials(&mut self, gateway: &NsName) {
        let Some(floor) = self.state.fleet.heard(gateway) else { return };
        let due =
            self.trials.open.iter().filter(|((of, _), trial)| of == gateway && (1..=floor).contains(&trial.revision));
        let due: Vec<(NsName, Id)> = due.map(|(slot, _)| slot.clone()).collect();
        for slot in due {
            self.advance(&slot);
        }
        self.trials.acknowledged(gateway, floor);
    }

    /// What was tried is innocent. The next group is released, or the trial is over.
    fn advance(&mut self, slot: &(NsName, Id)) {
        let Some(mut trial) = self.trials.open.remove(slot) else { return };
        let Some(group) = trial.groups.pop() else { return };
        for key in &group {
            Arc::make_mut(&mut self.state.quarantine).release(key);
            self.state.fleet.redeliver(&slot.0, &key.route);
            self.dirty.mark(Task::Lower(key.route.clone()));
            self.dirty.mark(Task::Project(key.route.clone()));
        }
        (trial.trying, trial.revision) = (group, 0);
        self.trials.open.insert(slot.clone(), trial);
    }
}

fn keys(route: &Ref, lowered: &Lowered) -> BTreeSet<RuleKey> {
    quarantine::rules(lowered).iter().map(|(_, rule)| quarantine::key(route, rule)).collect()
}
