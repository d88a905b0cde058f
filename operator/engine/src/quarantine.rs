//! What the proxies refused, and what they get instead.
//!
//! a route as lowered → the same with refused rules in their last good form, or answering UNAVAILABLE
//!
//! **Invariant:** a rule is known by its content: one that changed is a new one, and is tried.
//! **Invariant:** a last good form is used only while every backend in it is still there and permitted.
//! **Invariant:** a rule's calls never fall through to another rule because it was refused, unless what was refused may be its match.
//!
//! What one proxy refuses is withheld from all: they run the same Envoy. Knows nothing of how the culprit is found (see `stage::trial`).

use crate::{blame::blamed, hash::fingerprint_of};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sluice_core::{
    ir::{self, Action, Edits, PathMatcher, ValueTest},
    key::{Kind, NsName, Ref, Text},
    status::Delivery,
    translate::{
        HostKey, Lowered, Ranked,
        attach::{GatewayReport, Plan},
        grant,
    },
    world::{Reader, backend::Service},
};
use sluice_xds::{Id, ResourceType, Version};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A rule of a route, by content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RuleKey {
    pub(crate) route: Ref,
    pub(crate) content: u64,
}

/// How sure it is that a rule is the culprit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// Withheld while others are tried.
    Suspected,
    /// Refused alone.
    Condemned,
}

/// Why a rule is withheld, and what stands in for it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) certainty: Certainty,
    /// Envoy's words.
    pub(crate) message: Text,
    /// `rules[2] canary`.
    pub(crate) label: Text,
    /// What the proxies acknowledged last.
    pub(crate) last_good: Option<Form>,
}

/// A form of a rule that proxies took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Form {
    pub(crate) routes: Vec<Ranked>,
    pub(crate) clusters: Vec<ir::Cluster>,
}

/// A rule that the proxies refused, with what they serve instead: what a restart must not lose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    route: Ref,
    content: u64,
    message: Text,
    label: Text,
    last_good: Option<Form>,
}

impl Memory {
    /// Whose rule it was.
    pub fn route(&self) -> &Ref {
        &self.route
    }
}

/// Why a cluster is withheld, and until when it is not tried again.
#[derive(Clone, Debug)]
struct Shunned {
    until: DateTime<Utc>,
    message: Text,
}

/// Refusals. Part of [`crate::State`], so that a recomputation from scratch sees them.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    rules: BTreeMap<RuleKey, Refusal>,
    /// Clusters by name.
    clusters: BTreeMap<Text, Shunned>,
    resources: BTreeMap<(NsName, Id), (Version, Text)>,
}

/// The rules of a lowered route, in order.
pub(crate) fn rules(lowered: &Lowered) -> Vec<(usize, Vec<Ranked>)> {
    let mut rules: BTreeMap<usize, Vec<Ranked>> = BTreeMap::new();
    for ranked in &lowered.routes {
        rules.entry(ranked.route.origin.rule).or_default().push(ranked.clone());
    }
    rules.into_iter().collect()
}

/// The key of a rule.
pub(crate) fn key(route: &Ref, rule: &[Ranked]) -> RuleKey {
    let content: Vec<_> = rule.iter().map(|ranked| (ranked.rank, &ranked.route)).collect();
    RuleKey { route: route.clone(), content: fingerprint_of(&content) }
}

impl Quarantine {
    /// The refusals of a route's rules.
    fn of<'q>(&'q self, route: &'q Ref) -> impl Iterator<Item = (&'q RuleKey, &'q Refusal)> {
        let first = RuleKey { route: route.clone(), content: 0 };
        self.rules.range(first..).take_while(move |(key, _)| key.route == *route)
    }

    /// The route as proxies may have it. Costs nothing for a route of which nothing was refused while no cluster is.
    pub(crate) fn amend(&self, route: &Ref, mut lowered: Lowered, read: &Reader<'_>) -> Lowered {
        if self.of(route).next().is_some() {
            self.amend_rules(route, &mut lowered, read);
        }
        if !self.clusters.is_empty() {
            self.shun(&mut lowered, read);
        }
        lowered
    }

    fn amend_rules(&self, route: &Ref, lowered: &mut Lowered, read: &Reader<'_>) {
        let mut routes = Vec::new();
        let mut clusters: BTreeSet<ir::Cluster> = lowered.clusters.drain(..).collect();
        for (_, rule) in rules(lowered) {
            match self.rules.get(&key(route, &rule)) {
                None => routes.extend(rule),
                Some(refusal) => match refusal.last_good.as_ref().filter(|form| form.is_permitted(route, read)) {
                    Some(form) => {
                        clusters.extend(form.clusters.iter().cloned());
                        routes.extend(form.routes.iter().cloned());
                    }
                    None => routes.extend(rule.iter().filter_map(unavailable)),
                },
            }
        }
        lowered.routes = routes;
        lowered.clusters = clusters.into_iter().collect();
    }

    fn shun(&self, lowered: &mut Lowered, read: &Reader<'_>) {
        let shunned = |cluster: &Text| self.clusters.get(cluster).is_some_and(|refusal| !read.reached(refusal.until));
        for ranked in &mut lowered.routes {
            if let Action::Forward(forward) = &ranked.route.action
                && forward.clusters().any(&shunned)
            {
                let mut route = (*ranked.route).clone();
                route.action = without(forward, &shunned);
                ranked.route = Arc::new(route);
            }
        }
    }

    /// Drops refusals of rules that the route does not have any more, and returns those of culprits.
    pub(crate) fn keep_present(&mut self, route: &Ref, lowered: &Lowered) -> Vec<Refusal> {
        let present: BTreeSet<RuleKey> = rules(lowered).iter().map(|(_, rule)| key(route, rule)).collect();
        let gone: Vec<RuleKey> =
            self.of(route).map(|(key, _)| key.clone()).filter(|key| !present.contains(key)).collect();
        let dropped = gone.iter().filter_map(|key| self.rules.remove(key));
        dropped.filter(|refusal| refusal.certainty == Certainty::Condemned).collect()
    }

    /// Whether anything of a route is withheld.
    pub(crate) fn has(&self, route: &Ref) -> bool {
        self.of(route).next().is_some()
    }

    /// Whether a rule is withheld.
    pub(crate) fn withholds(&self, key: &RuleKey) -> bool {
        self.rules.contains_key(key)
    }

    /// Withholds a rule, or becomes sure of one.
    pub(crate) fn withhold(&mut self, key: RuleKey, refusal: Refusal) {
        self.rules.insert(key, refusal);
    }

    /// The culprits and their last good forms, in order of route. O(rules refused).
    pub fn memory(&self) -> Vec<Memory> {
        let culprits = self.rules.iter().filter(|(_, refusal)| refusal.certainty == Certainty::Condemned);
        let memory = |(key, refusal): (&RuleKey, &Refusal)| Memory {
            route: key.route.clone(),
            content: key.content,
            message: refusal.message.clone(),
            label: refusal.label.clone(),
            last_good: refusal.last_good.clone(),
        };
        culprits.map(memory).collect()
    }

    /// Withholds what was withheld before a restart. A rule that changed meanwhile is another one, and is tried.
    pub(crate) fn remember(&mut self, memory: Memory) {
        let Memory { route, content, message, label, last_good } = memory;
        let refusal = Refusal { certainty: Certainty::Condemned, message, label, last_good };
        self.rules.insert(RuleKey { route, content }, refusal);
    }

    /// Tries a rule again.
    pub(crate) fn release(&mut self, key: &RuleKey) -> Option<Refusal> {
        self.rules.remove(key)
    }

    /// Drops the refusals of a route that is gone. O(rules refused).
    pub(crate) fn forget(&mut self, route: &Ref) {
        self.rules.retain(|key, _| key.route != *route);
    }

    /// Whether a cluster may be tried again.
    pub(crate) fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.clusters.values().any(|refusal| refusal.until <= now)
    }

    /// Forgets the clusters that may be tried again.
    pub(crate) fn release_due(&mut self, now: DateTime<Utc>) {
        self.clusters.retain(|_, refusal| now < refusal.until);
    }

    /// Keeps a cluster from the proxies until an instant.
    pub(crate) fn shun_cluster(&mut self, cluster: Text, until: DateTime<Utc>, message: Text) {
        self.clusters.insert(cluster, Shunned { until, message });
    }

    /// Notes a refused resource that has no rules.
    pub(crate) fn refuse(&mut self, gateway: &NsName, id: Id, version: Version, message: Text) {
        self.resources.insert((gateway.clone(), id), (version, message));
    }

    /// Forgets the refusal of a resource that has moved on; whether there was one.
    pub(crate) fn moved(&mut self, gateway: &NsName, id: &Id) -> bool {
        self.resources.remove(&(gateway.clone(), id.clone())).is_some()
    }

    /// Whether no resource without rules is refused: spares the search.
    pub(crate) fn has_no_resources(&self) -> bool {
        self.resources.is_empty()
    }

    /// What a plan reports, in the light of what was refused.
    pub(crate) fn report<'p>(&self, plan: &'p Plan) -> Cow<'p, GatewayReport> {
        let of_plan = self.resources.iter().filter(|((gateway, _), _)| *gateway == plan.gateway);
        let mut refusals = of_plan.map(|((_, id), (_, message))| (id, message)).peekable();
        if refusals.peek().is_none() {
            return Cow::Borrowed(&plan.report);
        }
        Cow::Owned(blamed(plan, refusals))
    }

    /// What is said of a route because of a refusal, if anything.
    pub(crate) fn verdict(&self, route: &Ref, lowered: &Lowered, now: DateTime<Utc>) -> Option<Delivery> {
        self.rule_verdict(route).or_else(|| self.cluster_verdict(lowered, now))
    }

    fn cluster_verdict(&self, lowered: &Lowered, now: DateTime<Utc>) -> Option<Delivery> {
        if self.clusters.is_empty() {
            return None;
        }
        lowered.clusters.iter().find_map(|cluster| {
            let refusal = self.clusters.get(&cluster.name()).filter(|refusal| now < refusal.until)?;
            let backend = format!("the backend Service {} port {}", cluster.service, cluster.port);
            Some(Delivery::Rejected { message: refusal.message.clone(), rule: Some(backend.into()), last_good: false })
        })
    }

    /// What is said of a route because a host that it sits on is refused for more than one of its rules.
    pub(crate) fn host_verdict(&self, key: &HostKey) -> Option<Delivery> {
        if self.has_no_resources() {
            return None;
        }
        let id = Id::new(ResourceType::VirtualHost, format!("{}/{}", key.routes_of, key.domain));
        let (_, message) = self.resources.get(&(key.gateway.clone(), id.clone()))?;
        Some(Delivery::Rejected { message: format!("{id}: {message}").into(), rule: None, last_good: true })
    }

    fn rule_verdict(&self, route: &Ref) -> Option<Delivery> {
        let condemned =
            self.of(route).map(|(_, refusal)| refusal).find(|refusal| refusal.certainty == Certainty::Condemned);
        let rejected = condemned.map(|refusal| Delivery::Rejected {
            message: refusal.message.clone(),
            rule: Some(refusal.label.clone()),
            last_good: refusal.last_good.is_some(),
        });
        let suspected =
            || Delivery::Pending("the proxies refused a change; its rules are tried one after the other".into());
        rejected.or_else(|| self.has(route).then(suspected))
    }
}

impl Form {
    /// Whether every backend is still there, with its port, and may be referred to.
    fn is_permitted(&self, route: &Ref, read: &Reader<'_>) -> bool {
        self.clusters.iter().all(|cluster| {
            let target = Ref::new(Kind::Service, cluster.service.clone());
            let service = read.get::<Service>(&cluster.service);
            grant::permits(route.kind, &route.key.namespace, &target, read)
                && service.is_some_and(|service| service.spec.ports.iter().any(|port| port.port == cluster.port))
        })
    }
}

/// The same match, answering UNAVAILABLE; nothing if the match has an expression, which may be what was refused.
fn unavailable(ranked: &Ranked) -> Option<Ranked> {
    let matcher = &ranked.route.matcher;
    let values = matcher.headers.iter().chain(&matcher.query);
    let plain = !matches!(matcher.path, PathMatcher::Regex(_))
        && values.into_iter().all(|value| !matches!(value.value, ValueTest::Regex(_)));
    plain.then(|| {
        let mut route = (*ranked.route).clone();
        route.action = Action::Unavailable("the proxies refused this rule".into());
        (route.request_headers, route.response_headers) = (Edits::default(), Edits::default());
        Ranked { rank: ranked.rank, route: Arc::new(route) }
    })
}

/// The weights of refused clusters answer UNAVAILABLE; copies are not sent to them.
fn without(forward: &ir::Forward, shunned: &dyn Fn(&Text) -> bool) -> Action {
    let (gone, mut shares): (Vec<ir::Share>, Vec<ir::Share>) =
        forward.shares.iter().cloned().partition(|share| shunned(&share.cluster));
    if shares.is_empty() && !gone.is_empty() {
        return Action::Unavailable("the proxies refused the backends of this rule".into());
    }
    let lost: u32 = gone.iter().map(|share| share.weight).sum();
    let mut mirrors = forward.mirrors.clone();
    for copies in shares.iter_mut().map(|share| &mut share.mirrors).chain([&mut mirrors]) {
        copies.retain(|mirror| !shunned(&mirror.cluster));
    }
    let unavailable = forward.unavailable.saturating_add(lost);
    Action::Forward(ir::Forward { shares, unavailable, mirrors, rewrite: forward.rewrite.clone() })
}
