//! Attachment: what a Gateway and its ListenerSets offer to routes, which ports, chains and hosts follow, and what is
//! wrong.
//!
//! GatewayClass, Gateway, ListenerSets, Namespaces, grants, Secrets → [`Plan`]
//!
//! **Invariant:** a listener that is not valid is offered all the same (routes attach and are counted), but serves
//! nothing.
//! **Invariant:** of the names of a port each belongs to one listener: the most specific one (listener isolation). That
//! holds for a listener without a certificate as well: its names are not given to another.
//! **Invariant:** a Gateway that is not accepted serves nothing.
//!
//! Knows nothing of routes.

mod conflict;
mod judge;
mod overlap;
mod place;
mod report;
#[cfg(test)]
mod tests;

pub use place::{Plan, Routing};
pub use report::{GatewayRefusal, GatewayReport, ListenerReport, Reach, SetRefusal, SetReport, Standing};

use super::{
    AttachmentPolicy, ListenerId, Offer, Surface,
    infrastructure::{self, Infrastructure},
    profile,
};
use crate::{
    key::{Kind, NsName, Text},
    status::listener::Unresolved,
    world::{
        Exposure, Parent, Reader, Scope,
        backend::Namespace,
        gateway::{FrontendTls, Gateway, GatewayClass, Listener, ListenerSet, NAME_LABEL, Namespaces},
        meta::seniority,
    },
};
use judge::{Bench, Judged};
use std::{collections::BTreeMap, sync::Arc};

/// A listener and who wrote it.
struct Entry<'w> {
    parent: Parent,
    spec: &'w Listener,
}

impl Entry<'_> {
    fn is_secure(&self) -> bool {
        &*self.spec.protocol == "HTTPS"
    }

    fn is_http(&self) -> bool {
        matches!(&*self.spec.protocol, "HTTP" | "HTTPS")
    }
}

/// A ListenerSet that names the Gateway, and whether it may.
struct Member<'w> {
    set: &'w ListenerSet,
    allowed: bool,
}

/// The plan of a Gateway; `None` if it is absent, or its class is absent or not ours. O(n log n) of its listeners and
/// those of its ListenerSets; reads and parses their certificates.
pub fn plan(gateway: &NsName, read: &Reader) -> Option<Plan> {
    let object = read.get::<Gateway>(gateway)?;
    let class = profile::class(&object.spec.gateway_class_name, read)?;
    let policy = profile::policy(class, read);
    let refusal = refusal(object, policy.as_ref().err());
    let draft = Draft {
        gateway: object,
        class,
        // Offers of a Gateway without a policy serve nothing, whatever they say.
        policy: policy.unwrap_or_default(),
        refusal,
        members: members(object, read),
        read,
    };
    Some(draft.finish())
}

fn refusal(gateway: &Gateway, class: Option<&profile::ProfileProblem>) -> Option<GatewayRefusal> {
    let spec = &gateway.spec;
    if gateway.metadata.deleting {
        return Some(GatewayRefusal::Deleting);
    }
    if let Some(problem) = class {
        return Some(GatewayRefusal::Class { class: spec.gateway_class_name.clone(), problem: problem.clone() });
    }
    if let Some(parameters) = &spec.infrastructure.parameters_ref {
        return Some(GatewayRefusal::Parameters { kind: parameters.kind.clone(), name: parameters.name.clone() });
    }
    let address = spec.addresses.iter().find(|address| &*address.kind != "IPAddress");
    address.map(|address| GatewayRefusal::Address(address.kind.clone()))
}

/// The sets that name a Gateway, by precedence: the older first, then by name.
fn members<'w>(gateway: &Gateway, read: &Reader<'w>) -> Vec<Member<'w>> {
    let names = read.listener_sets(&gateway.metadata.key);
    let mut sets = names.into_iter().filter_map(|key| read.get::<ListenerSet>(key)).collect::<Vec<_>>();
    sets.sort_by_key(|set| seniority(&set.metadata));
    let chosen = gateway.spec.allowed_listeners.namespaces.clone().unwrap_or_default();
    let chosen = Namespaces { from: chosen.from.or_else(|| Some("None".into())), ..chosen };
    let own = &gateway.metadata.key.namespace;
    sets.into_iter()
        .map(|set| Member { set, allowed: admits(&chosen, own, &set.metadata.key.namespace, read) })
        .collect()
}

/// Whether a choice made in the namespace `own` includes `namespace`; `Same` when it does not say.
pub fn admits(choice: &Namespaces, own: &Text, namespace: &Text, read: &Reader) -> bool {
    match choice.from.as_deref().unwrap_or("Same") {
        "All" => true,
        "Same" => own == namespace,
        "Selector" => choice.selector.as_ref().is_some_and(|selector| selector.matches(&labels(namespace, read))),
        _ => false,
    }
}

/// Whether a choice needs labels of namespaces where these are not seen.
pub(crate) fn is_out_of_sight(choice: Option<&Namespaces>, read: &Reader) -> bool {
    let selector =
        choice.filter(|choice| choice.from.as_deref() == Some("Selector")).and_then(|it| it.selector.as_ref());
    *read.scope() != Scope::Cluster && selector.is_some_and(|selector| !selector.asks_for_the_name_alone())
}

/// The labels of a namespace, with the one that every API server sets; it alone if the object is not known.
fn labels(namespace: &Text, read: &Reader) -> BTreeMap<Text, Text> {
    let object = read.get::<Namespace>(&NsName::cluster(namespace.clone()));
    let mut labels = object.map(|object| object.metadata.labels.clone()).unwrap_or_default();
    labels.entry(NAME_LABEL.into()).or_insert_with(|| namespace.clone());
    labels
}

/// What a plan is made from.
struct Draft<'r, 'w> {
    gateway: &'w Gateway,
    class: &'w GatewayClass,
    policy: AttachmentPolicy,
    refusal: Option<GatewayRefusal>,
    members: Vec<Member<'w>>,
    read: &'r Reader<'w>,
}

impl<'w> Draft<'_, 'w> {
    fn finish(self) -> Plan {
        let entries = self.entries();
        let judged = self.judge(&entries);
        let overlaps = overlap::find(&entries, &judged);
        let standings =
            entries.iter().zip(&judged).map(|(entry, judged)| self.standing(entry, judged)).collect::<Vec<_>>();
        let key = &self.gateway.metadata.key;
        let reports = entries.iter().zip(&judged).zip(overlaps.into_iter().zip(&standings));
        let mut reports = reports
            .map(|((entry, judged), (overlap, standing))| ListenerReport {
                overlap,
                standing: *standing,
                ..listener_report(key, entry, judged)
            })
            .collect::<Vec<_>>()
            .into_iter();
        let listeners = reports.by_ref().take(self.gateway.spec.listeners.len()).collect();
        let sets = self.set_reports(reports);
        let (shown, problem) = self.shown();
        let report = GatewayReport { shown: problem, ..self.report(listeners, sets) };
        let surfaces = self.surfaces(&entries, &judged);
        let infrastructure = self.infrastructure(&surfaces);
        let rest = place::Rest { shown, infrastructure, report, surfaces };
        place::plan(&entries, &judged, rest, self.read)
    }

    fn infrastructure(&self, surfaces: &[(Parent, Arc<Surface>)]) -> Option<Arc<Infrastructure>> {
        let offers = surfaces.iter().flat_map(|(_, surface)| &surface.listeners);
        let ports = offers.filter(|offer| offer.serves).map(|offer| offer.port).collect();
        let wanted = || Arc::new(infrastructure::wanted(self.gateway, self.class, ports, self.read));
        self.refusal.is_none().then(wanted)
    }

    /// The certificate that backends are shown, and what is wrong with the one that is named.
    fn shown(&self) -> (Option<NsName>, Option<Unresolved>) {
        let reference = self.gateway.spec.tls.backend.client_certificate_ref.as_ref();
        reference.map(|reference| judge::shown(reference, &self.own().reference(), self.read)).unwrap_or_default()
    }

    fn own(&self) -> Parent {
        Parent::Gateway(self.gateway.metadata.key.clone())
    }

    /// All listeners by precedence; those of sets that are not allowed are none of the Gateway's.
    fn entries(&self) -> Vec<Entry<'w>> {
        let own = self.gateway.spec.listeners.iter().map(|spec| Entry { parent: self.own(), spec });
        let added = self.members.iter().filter(|member| member.allowed).flat_map(|member| {
            let parent = Parent::ListenerSet(member.set.metadata.key.clone());
            member.set.spec.listeners.iter().map(move |spec| Entry { parent: parent.clone(), spec })
        });
        own.chain(added).collect()
    }

    fn judge(&self, entries: &[Entry]) -> Vec<Judged> {
        let bench = Bench {
            policy: self.policy,
            gateway: self.own().reference(),
            frontend: self.gateway.spec.tls.frontend.as_ref(),
            read: self.read,
        };
        let conflicts = conflict::find(entries, self.gateway.spec.listeners.len());
        let conflicted = entries.iter().zip(conflicts).enumerate();
        conflicted.map(|(place, (entry, conflict))| bench.judge(entry, conflict, place)).collect()
    }

    fn standing(&self, entry: &Entry, judged: &Judged) -> Standing {
        if judged.refusal.is_some() {
            Standing::Refused
        } else if self.refusal.is_some() {
            Standing::GatewayRefused
        } else if entry.is_secure() && judged.certificates.is_empty() {
            Standing::WithoutCertificate
        } else if self.read.bind(&self.gateway.metadata.key, entry.spec.port).is_none() {
            Standing::Unbound
        } else {
            Standing::Served
        }
    }

    fn set_reports(&self, mut reports: impl Iterator<Item = ListenerReport>) -> Vec<SetReport> {
        let report = |member: &Member| SetReport {
            set: member.set.metadata.key.clone(),
            generation: member.set.metadata.generation,
            refusal: self.set_refusal(member),
            listeners: reports
                .by_ref()
                .take(if member.allowed { member.set.spec.listeners.len() } else { 0 })
                .collect(),
        };
        self.members.iter().map(report).collect()
    }

    fn set_refusal(&self, member: &Member) -> Option<SetRefusal> {
        if member.allowed {
            self.refusal.as_ref().map(|_| SetRefusal::ParentNotAccepted)
        } else if is_out_of_sight(self.gateway.spec.allowed_listeners.namespaces.as_ref(), self.read) {
            Some(SetRefusal::SelectorOutOfSight)
        } else {
            Some(SetRefusal::NotAllowed)
        }
    }

    fn report(&self, listeners: Vec<ListenerReport>, sets: Vec<SetReport>) -> GatewayReport {
        GatewayReport {
            gateway: self.gateway.metadata.key.clone(),
            generation: self.gateway.metadata.generation,
            refusal: self.refusal.clone(),
            reach: self.reach(),
            scope: self.read.scope().clone(),
            serves_sets: self.read.serves(Kind::ListenerSet),
            shown: None,
            insecure: self.gateway.spec.tls.frontend.as_ref().is_some_and(FrontendTls::is_insecure),
            requested: self.gateway.spec.addresses.clone(),
            listeners,
            sets,
        }
    }

    fn reach(&self) -> Reach {
        match self.read.exposure() {
            Exposure::Host => Reach::Host,
            Exposure::Service => {
                let proxies = infrastructure::proxies(self.class, self.read);
                let asked = self.gateway.spec.addresses.iter().filter_map(|address| address.value.clone());
                Reach::Service {
                    class: self.gateway.spec.gateway_class_name.clone(),
                    kind: proxies.service.clone().unwrap_or_default().service_type(),
                    denied: asked.filter(|address| !infrastructure::may_have(&proxies, address)).collect(),
                }
            }
        }
    }

    fn surfaces(&self, entries: &[Entry], judged: &[Judged]) -> Vec<(Parent, Arc<Surface>)> {
        let mut offers = entries.iter().zip(judged).map(|(entry, judged)| self.offer(entry, judged));
        let own = offers.by_ref().take(self.gateway.spec.listeners.len()).collect();
        let mut surfaces = vec![(self.own(), self.surface(own))];
        for member in &self.members {
            let count = if member.allowed { member.set.spec.listeners.len() } else { 0 };
            let parent = Parent::ListenerSet(member.set.metadata.key.clone());
            surfaces.push((parent, self.surface(offers.by_ref().take(count).collect())));
        }
        surfaces
    }

    fn surface(&self, listeners: Vec<Offer>) -> Arc<Surface> {
        Arc::new(Surface { gateway: self.gateway.metadata.key.clone(), policy: self.policy, listeners })
    }

    fn offer(&self, entry: &Entry, judged: &Judged) -> Offer {
        let namespaces = entry.spec.allowed_routes.namespaces.clone().unwrap_or_default();
        Offer {
            section: entry.spec.name.clone(),
            port: entry.spec.port,
            protocol: entry.spec.protocol.clone(),
            secure: entry.is_secure(),
            hostname: entry.spec.hostname.clone(),
            kinds: judged.kinds.clone(),
            namespaces: Namespaces { from: namespaces.from.or_else(|| Some("Same".into())), ..namespaces },
            serves: judged.refusal.is_none() && self.refusal.is_none(),
        }
    }
}

fn listener_report(gateway: &NsName, entry: &Entry, judged: &Judged) -> ListenerReport {
    let options = entry.spec.tls.iter().flat_map(|tls| tls.options.keys().cloned());
    ListenerReport {
        id: ListenerId { gateway: gateway.clone(), parent: entry.parent.clone(), section: entry.spec.name.clone() },
        port: entry.spec.port,
        hostname: entry.spec.hostname.clone(),
        kinds: judged.kinds.clone(),
        refusal: judged.refusal.clone(),
        unresolved: judged.unresolved.clone(),
        ineffective: options.collect(),
        overlap: None,
        standing: Standing::Refused,
        rejection: None,
    }
}
