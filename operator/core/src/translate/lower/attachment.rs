//! Which listeners take a route, and for which hostnames.
//!
//! parentRefs and the surfaces of their parents → [`Attachment`]s
//!
//! **Invariant:** a parent that is not ours gives no attachment, so that its status is left alone.
//! **Invariant:** one listener that takes the route is enough; if none does, the one that came closest says why.
//!
//! Knows nothing of whether a listener is valid: routes attach to invalid ones too. Source: Gateway API, `ParentReference`
//! and `AllowedRoutes`.

use crate::{
    hostname::Hostname,
    key::{Kind, Ref},
    status::route::Problem,
    translate::{Attachment, Binding, ListenerId, Offer, Surface, attach, grant},
    world::{
        Parent, Reader,
        meta::shrunk,
        route::{ParentRef, Route},
    },
};
use std::collections::BTreeMap;

/// One for each parentRef that leads to a Gateway of ours, in order of `parentRefs`.
pub(super) fn attach(reference: &Ref, route: &Route, read: &Reader<'_>) -> Vec<Attachment> {
    let candidate = Candidate { reference, route, read };
    shrunk(route.parents.iter().filter_map(|parent_ref| candidate.attach(parent_ref)).collect())
}

struct Candidate<'a> {
    reference: &'a Ref,
    route: &'a Route,
    read: &'a Reader<'a>,
}

impl Candidate<'_> {
    fn attach(&self, parent_ref: &ParentRef) -> Option<Attachment> {
        let parent = parent_ref.target(&self.reference.key.namespace)?;
        let surface = self.read.surface(&parent)?;
        let outcome = self.bind(parent_ref, &parent, surface);
        let (bindings, refusal) = outcome.map_or_else(|refusal| (Vec::new(), Some(refusal)), |found| (found, None));
        Some(Attachment { parent_ref: parent_ref.clone(), parent, gateway: surface.gateway.clone(), bindings, refusal })
    }

    fn bind(&self, parent_ref: &ParentRef, parent: &Parent, surface: &Surface) -> Result<Vec<Binding>, Problem> {
        let named: Vec<&Offer> = surface.listeners.iter().filter(|offer| is_named(offer, parent_ref)).collect();
        if named.is_empty() {
            return Err(no_listener(parent_ref, parent, surface));
        }
        let (open, refused): (Vec<_>, Vec<_>) =
            named.into_iter().map(|offer| self.admit(offer, parent, surface).map(|()| offer)).partition(Result::is_ok);
        let open: Vec<&Offer> = open.into_iter().flatten().collect();
        if open.is_empty() {
            return Err(closest(refused).unwrap_or_else(|| no_listener(parent_ref, parent, surface)));
        }
        let bindings: Vec<Binding> =
            open.iter().flat_map(|offer| self.hostnames(offer, &listener(surface, parent, offer))).collect();
        if bindings.is_empty() { Err(self.no_common_hostname(&open)) } else { Ok(shrunk(bindings)) }
    }

    fn admit(&self, offer: &Offer, parent: &Parent, surface: &Surface) -> Result<(), Problem> {
        self.admit_kind(offer, surface)?;
        self.admit_namespace(offer, parent)?;
        self.admit_by_grant(parent, surface)
    }

    fn admit_kind(&self, offer: &Offer, surface: &Surface) -> Result<(), Problem> {
        let kind = self.reference.kind;
        if super::source(kind).is_none() {
            return Err(Problem::KindNotImplemented(kind));
        }
        if kind == Kind::GrpcRoute && !offer.secure && !surface.policy.cleartext {
            let (listener, protocol) = (offer.section.clone(), offer.protocol.clone());
            return Err(Problem::Cleartext { listener, protocol });
        }
        let refusal =
            || Problem::KindNotAllowed { kind, listener: offer.section.clone(), allowed: offer.kinds.clone() };
        offer.kinds.contains(&kind).then_some(()).ok_or_else(refusal)
    }

    fn admit_namespace(&self, offer: &Offer, parent: &Parent) -> Result<(), Problem> {
        let namespace = &self.reference.key.namespace;
        let from = offer.namespaces.from.clone().unwrap_or_else(|| "Same".into());
        let admitted = attach::admits(&offer.namespaces, &parent.key().namespace, namespace, self.read);
        let refusal =
            || Problem::NamespaceNotAllowed { namespace: namespace.clone(), listener: offer.section.clone(), from };
        admitted.then_some(()).ok_or_else(refusal)
    }

    fn admit_by_grant(&self, parent: &Parent, surface: &Surface) -> Result<(), Problem> {
        let target = parent.reference();
        let (kind, namespace) = (self.reference.kind, &self.reference.key.namespace);
        if !surface.policy.grant_for_attachment || grant::permits(kind, namespace, &target, self.read) {
            return Ok(());
        }
        let remedy = grant::remedy(kind, namespace, &target);
        Err(Problem::AttachmentNotGranted { parent: parent.clone(), remedy })
    }

    /// Several hostnames of a route may narrow to one of the listener: the most specific as written counts.
    fn hostnames(&self, offer: &Offer, listener: &ListenerId) -> Vec<Binding> {
        let mut written_by_domain: BTreeMap<Hostname, Hostname> = BTreeMap::new();
        for written in self.wanted() {
            let Some(domain) = offer.hostname.intersect(&written) else { continue };
            let kept = written_by_domain.entry(domain).or_insert_with(|| written.clone());
            if written.specificity() > kept.specificity() {
                *kept = written;
            }
        }
        let bindings = written_by_domain.into_iter();
        bindings.map(|(domain, written)| Binding { listener: listener.clone(), domain, written }).collect()
    }

    fn wanted(&self) -> Vec<Hostname> {
        if self.route.hostnames.is_empty() { vec![Hostname::any()] } else { self.route.hostnames.clone() }
    }

    fn no_common_hostname(&self, open: &[&Offer]) -> Problem {
        let offered = open.iter().map(|offer| offer.hostname.clone()).collect();
        Problem::NoCommonHostname { wanted: self.wanted(), offered }
    }
}

fn is_named(offer: &Offer, parent_ref: &ParentRef) -> bool {
    parent_ref.section_name.as_ref().is_none_or(|section| *section == offer.section)
        && parent_ref.port.is_none_or(|port| port == offer.port)
}

fn no_listener(parent_ref: &ParentRef, parent: &Parent, surface: &Surface) -> Problem {
    Problem::NoListener {
        parent: parent.clone(),
        section: parent_ref.section_name.clone(),
        port: parent_ref.port,
        offered: surface.listeners.iter().map(|offer| offer.section.clone()).collect(),
    }
}

fn listener(surface: &Surface, parent: &Parent, offer: &Offer) -> ListenerId {
    ListenerId { gateway: surface.gateway.clone(), parent: parent.clone(), section: offer.section.clone() }
}

/// The refusal that was the last to be checked for; the first of equals.
fn closest(refused: Vec<Result<&Offer, Problem>>) -> Option<Problem> {
    let refused = refused.into_iter().rev().filter_map(Result::err);
    refused.max_by_key(|problem| match problem {
        Problem::AttachmentNotGranted { .. } => 3,
        Problem::NamespaceNotAllowed { .. } => 2,
        Problem::Cleartext { .. } => 1,
        _ => 0,
    })
}
