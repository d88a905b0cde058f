//! Level 1: a GrpcService → the Gateway API objects that expose it, and their statuses → its status.
//!
//! [`author`] decides what has to exist; [`status`] reads back what became of it; [`import`] goes the other way.
//!
//! **Invariant:** what is written is portable: only names, labels and GrpcPolicy are Sluice's own.
//! **Invariant:** every defaulted field is written out, so that nothing ever looks changed to a GitOps tool.
//! **Invariant:** objects are written in the service's own namespace only, and grants for its own objects only.
//!
//! Knows nothing of proxies, and of who answers for the GatewayClass: another controller's statuses are read like ours.

mod certificate;
mod frame;
mod gateways;
mod grants;
mod import;
mod order;
mod rails;
mod route;
mod stale;
mod standing;
mod status;
mod tls;

pub(crate) use certificate::Held;
pub use certificate::{CertSpec, Issue, Issuer};
pub use import::{Imported, Note, import};
pub use status::{Progress, ServiceStatus, status};

use crate::{
    key::{Kind, NsName, Ref, Text},
    world::{Own, Reader, meta::Meta, route::ParentRef},
};
use frame::Frame;
use serde_json::Value;
use sluice_api::GrpcServiceSpec;

/// What a GrpcService needs to exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Authored {
    /// In the order in which they have to be written: what is referred to before what refers to it.
    pub objects: Vec<Desired>,
    /// Secrets that have to be made.
    pub issues: Vec<Issue>,
    /// Objects of the service that it wants no more.
    pub stale: Vec<Ref>,
    /// Such ones that have to stay until callers are served elsewhere.
    pub leaving: Vec<Ref>,
    /// What the status needs to know of how these came about.
    pub(crate) report: Report,
}

impl Authored {
    /// The Gateways at which callers reach the service.
    pub fn gateways(&self) -> impl Iterator<Item = &NsName> {
        self.report.gateways.iter().map(|report| &report.gateway)
    }
}

/// An object that has to exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Kind and name.
    pub reference: Ref,
    /// The object as it is applied.
    pub value: Value,
    /// Who made the object that is there, if it was not this service: then it is left alone.
    pub foreign: Option<Text>,
    /// Whether the API server serves the kind.
    pub served: bool,
    /// Whether the object is there and says what is wanted. Not so while a write is under way, nor where others add fields of
    /// their own: then the writer knows.
    pub stands: bool,
}

impl Desired {
    /// Whether it is ours to write, and can be.
    pub fn is_writable(&self) -> bool {
        self.foreign.is_none() && self.served
    }
}

/// How a write of an object ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The object has everything that was wanted.
    Done {
        /// `metadata.generation` of what is stored; 0 of kinds that have none.
        stored: i64,
    },
    /// Another owner or another field manager stands in the way; who.
    Foreign(Text),
    /// The API server said no, in its words.
    Refused(Text),
}

/// What authoring found out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// The parents, in the order of `spec.gateways`.
    pub(crate) gateways: Vec<GatewayReport>,
    /// What the platform's guard rails refused.
    pub(crate) refusals: Vec<rails::Refusal>,
    /// What is known of the certificate.
    pub(crate) certificate: tls::State,
    /// Whether rules are tried in the order in which they are written.
    pub(crate) order: order::Order,
    /// Whether GrpcPolicies are needed.
    pub(crate) policies: Vec<NsName>,
    /// Secrets that would have to be made and stand there as somebody else's, with their owners.
    pub(crate) foreign: Vec<(NsName, Text)>,
}

/// One entry of `spec.gateways`, or the default Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GatewayReport {
    /// Its name; `default` for the default Gateway.
    pub(crate) entry: Text,
    /// The parentRef of the generated route.
    pub(crate) parent_ref: ParentRef,
    /// The Gateway whose addresses are the endpoints.
    pub(crate) gateway: NsName,
    /// The port of the listeners, when the service decides it.
    pub(crate) port: Option<u16>,
    /// The ListenerSet in between, if any.
    pub(crate) listener_set: Option<NsName>,
}

/// What a GrpcService needs to exist; `None` when there is no such service.
pub fn author(service: &NsName, read: &Reader) -> Option<Authored> {
    let object = read.get::<Own<GrpcServiceSpec>>(service)?;
    let frame = Frame::new(&object.metadata, &object.spec);
    let (hostnames, mut refusals) = rails::hostnames(&object.metadata, &object.spec, read);
    let certificate = tls::plan(&object.metadata, &object.spec, hostnames.as_deref(), read);
    let reach = gateways::author(&frame, &object.spec, hostnames.as_deref(), &certificate, read);
    let mut drafts = certificate.objects.clone();
    drafts.extend(reach.objects.iter().cloned());
    // With every hostname refused or no Gateway to attach to, a route would attach to nothing or, worse, to everything.
    let exposed = !reach.gateways.is_empty()
        && (hostnames.is_none() || hostnames.as_ref().is_some_and(|names| !names.is_empty()));
    let policies = route::policies(&frame, &object.spec, read);
    let mut leaving = Vec::new();
    if exposed {
        leaving = stale::leaving(&object.metadata, &drafts, &reach, read);
        drafts.extend(policies.iter().cloned());
        let parents = reach.with(&leaving);
        drafts.push(route::author(&frame, &object.spec, hostnames.as_deref(), &parents, read));
    }
    drafts.extend(grants::author(&frame, &object.spec, &mut refusals, read));
    refusals.extend(reach.refusals.iter().cloned());
    let foreign = foreign_secrets(&certificate.unfit, &object.metadata, read);
    let is_ours = |issue: &Issue| foreign.iter().all(|(secret, _)| *secret != issue.secret);
    let issues = certificate.issues.into_iter().filter(is_ours).collect();
    let stale = stale::list(&object.metadata, &drafts, &leaving, read);
    let objects = drafts.into_iter().map(|draft| claim(draft, &object.metadata, read)).collect();
    let report = Report {
        gateways: reach.gateways,
        refusals,
        certificate: certificate.state,
        order: order::judge(&object.spec),
        policies: policies.iter().map(|draft| draft.reference.key.clone()).collect(),
        foreign,
    };
    Some(Authored { objects, issues, stale, leaving, report })
}

/// A Secret of a namesake that was deleted counts as ours: where nobody collects garbage, it would stand in the way for
/// ever.
fn foreign_secrets(unfit: &[NsName], service: &Meta, read: &Reader) -> Vec<(NsName, Text)> {
    let owner = |key: &NsName| {
        let meta = existing(&Ref::new(Kind::Secret, key.clone()), read)?;
        let uid = meta.controller.as_ref().map(|owner| owner.uid.clone()).unwrap_or_default();
        owner_if_foreign(meta, &Meta { uid, ..service.clone() })
    };
    unfit.iter().filter_map(|key| Some((key.clone(), owner(key)?))).collect()
}

/// An object before it is known whether somebody else's stands in its place.
#[derive(Clone, Debug, PartialEq)]
struct Draft {
    reference: Ref,
    value: Value,
}

/// An object of the generated name that another made is left alone, unless it is annotated for adoption.
fn claim(draft: Draft, service: &Meta, read: &Reader) -> Desired {
    let foreign = existing(&draft.reference, read).and_then(|meta| owner_if_foreign(meta, service));
    let served = read.serves(draft.reference.kind);
    let stands = standing::is_as_wanted(&draft.reference, &draft.value, read);
    Desired { reference: draft.reference, value: draft.value, foreign, served, stands }
}

fn owner_if_foreign(existing: &Meta, service: &Meta) -> Option<Text> {
    let ours = existing.controller.as_ref().is_some_and(|owner| {
        &*owner.kind == Kind::GrpcService.name() && owner.name == service.key.name && owner.uid == service.uid
    });
    let adopted = existing.controller.is_none()
        && existing.annotations.get(sluice_api::ADOPT_ANNOTATION).is_some_and(|name| *name == service.key.name);
    if ours || adopted {
        return None;
    }
    Some(match &existing.controller {
        Some(owner) => format!("{} {}", owner.kind, owner.name).into(),
        None => "nobody".into(),
    })
}

fn existing<'w>(reference: &Ref, read: &Reader<'w>) -> Option<&'w Meta> {
    use crate::world::{backend, certificate, gateway, secret};
    let key = &reference.key;
    match reference.kind {
        Kind::Gateway => read.get::<gateway::Gateway>(key).map(|object| &object.metadata),
        Kind::ListenerSet => read.get::<gateway::ListenerSet>(key).map(|object| &object.metadata),
        Kind::GrpcRoute => read.route(reference).map(|object| &object.metadata),
        Kind::GrpcPolicy => read.get::<Own<sluice_api::GrpcPolicySpec>>(key).map(|object| &object.metadata),
        Kind::ReferenceGrant => read.get::<backend::ReferenceGrant>(key).map(|object| &object.metadata),
        Kind::Secret => read.get::<secret::Secret>(key).map(|object| &object.metadata),
        Kind::ConfigMap => read.get::<secret::ConfigMap>(key).map(|object| &object.metadata),
        Kind::Certificate => read.get::<certificate::Certificate>(key).map(|object| &object.metadata),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
