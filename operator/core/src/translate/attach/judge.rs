//! One listener, judged by itself: is it accepted, which kinds may attach, which certificates does it show.
//!
//! a listener, the policy of its class → [`Judged`]

use super::{Entry, is_out_of_sight};
use crate::{
    hostname::Hostname,
    key::{Kind, NsName, Ref},
    status::listener::{Conflict, Refusal, Unresolved},
    translate::{AttachmentPolicy, authority, certificate, grant},
    world::{
        Reader,
        gateway::{FrontendTls, RouteKind, SecretRef},
    },
};

/// How many listeners a Gateway and its sets may have together: above, one more costs Envoy about 0.2 s.
pub(super) const MAX_LISTENERS: usize = 1024;

/// What all listeners of a Gateway are judged by.
pub(super) struct Bench<'r, 'w> {
    pub policy: AttachmentPolicy,
    /// The Gateway, which refers to the authorities of clients for the listeners of ListenerSets too.
    pub gateway: Ref,
    /// `spec.tls.frontend`.
    pub frontend: Option<&'w FrontendTls>,
    pub read: &'r Reader<'w>,
}

/// What became of a listener.
pub(super) struct Judged {
    pub refusal: Option<Refusal>,
    pub kinds: Vec<Kind>,
    /// Secrets that load, in order of the references.
    pub certificates: Vec<NsName>,
    /// Names in these certificates.
    pub names: Vec<Hostname>,
    /// Whose certificates clients show, if they are asked.
    pub clients: Option<Clients>,
    pub unresolved: Vec<Unresolved>,
}

/// The certificates of a listener's clients.
#[derive(Clone)]
pub(super) struct Clients {
    /// ConfigMaps that load, in order of the references.
    pub authorities: Vec<NsName>,
    /// Whether a client without a valid one is turned away.
    pub required: bool,
}

impl Bench<'_, '_> {
    /// Judges the listener at a place in the order of precedence.
    pub(super) fn judge(&self, entry: &Entry, conflict: Option<Conflict>, place: usize) -> Judged {
        let kinds = self.kinds(entry);
        let mut judged = Judged {
            refusal: refusal(entry, conflict, place, self.read),
            kinds: kinds.0,
            certificates: Vec::new(),
            names: Vec::new(),
            clients: None,
            unresolved: Vec::new(),
        };
        if entry.is_secure() {
            self.certificates(entry, &mut judged);
            self.clients(entry.spec.port, &mut judged);
        }
        judged.unresolved.extend(kinds.1);
        judged
    }

    /// Serving without the check that the Gateway asks for would let in whom it wants to keep out: without a single authority the
    /// listener is refused.
    fn clients(&self, port: u16, judged: &mut Judged) {
        let Some(validation) = self.frontend.and_then(|frontend| frontend.of(port)) else { return };
        let (authorities, problems) = authority::resolve(&validation.ca_certificate_refs, &self.gateway, self.read);
        judged.unresolved.extend(problems.into_iter().map(Unresolved::Authority));
        if authorities.is_empty() {
            judged.refusal.get_or_insert(Refusal::NoAuthority);
        }
        judged.clients = Some(Clients { authorities, required: !validation.is_insecure() });
    }

    fn kinds(&self, entry: &Entry) -> (Vec<Kind>, Vec<Unresolved>) {
        let possible = self.possible(entry);
        let wanted = &entry.spec.allowed_routes.kinds;
        if wanted.is_empty() || possible.is_empty() {
            return (possible.to_vec(), Vec::new());
        }
        let (known, unknown): (Vec<_>, Vec<_>) = wanted
            .iter()
            .map(|kind| (kind, Kind::named(&kind.group, &kind.kind)))
            .partition(|(_, named)| named.is_some_and(|named| possible.contains(&named)));
        let mut kinds = known.into_iter().filter_map(|(_, named)| named).collect::<Vec<_>>();
        kinds.sort_unstable();
        kinds.dedup();
        (kinds, unknown.into_iter().map(|(kind, named)| unresolved_kind(kind, named, entry)).collect())
    }

    /// Which kinds a protocol carries. A GRPCRoute on HTTP needs the platform's consent.
    fn possible(&self, entry: &Entry) -> &'static [Kind] {
        match &*entry.spec.protocol {
            "HTTPS" => &[Kind::GrpcRoute, Kind::HttpRoute],
            "HTTP" if self.policy.cleartext => &[Kind::GrpcRoute, Kind::HttpRoute],
            "HTTP" => &[Kind::HttpRoute],
            _ => &[],
        }
    }

    fn certificates(&self, entry: &Entry, judged: &mut Judged) {
        let references = entry.spec.tls.as_ref().map(|tls| &*tls.certificate_refs).unwrap_or_default();
        if references.is_empty() {
            judged.unresolved.push(Unresolved::NoCertificate);
        }
        for reference in references {
            match secret(reference, &entry.parent.reference(), self.read) {
                Ok(secret) => self.certificate(secret, judged),
                Err(problem) => judged.unresolved.push(problem),
            }
        }
    }

    fn certificate(&self, secret: NsName, judged: &mut Judged) {
        match certificate::inspect(&secret, self.read) {
            Ok(inspected) => {
                judged.names.extend(inspected.names);
                judged.unresolved.extend(inspected.untimely.map(Unresolved::Certificate));
                if !judged.certificates.contains(&secret) {
                    judged.certificates.push(secret);
                }
            }
            Err(problem) => match certificate::before(&secret, self.read) {
                Some(before) => {
                    judged.names.extend(before.names);
                    judged.unresolved.push(Unresolved::Kept(problem));
                    if !judged.certificates.contains(&secret) {
                        judged.certificates.push(secret);
                    }
                }
                None => judged.unresolved.push(Unresolved::Certificate(problem)),
            },
        }
    }
}

fn refusal(entry: &Entry, conflict: Option<Conflict>, place: usize, read: &Reader<'_>) -> Option<Refusal> {
    let mode = entry.spec.tls.as_ref().map(|tls| &tls.mode).filter(|mode| &***mode != "Terminate");
    if let Some(conflict) = conflict {
        Some(Refusal::Conflict(conflict))
    } else if !entry.is_http() {
        Some(Refusal::Protocol(entry.spec.protocol.clone()))
    } else if read.is_reserved(entry.spec.port) {
        Some(Refusal::Port(entry.spec.port))
    } else if is_out_of_sight(entry.spec.allowed_routes.namespaces.as_ref(), read) {
        Some(Refusal::SelectorOutOfSight)
    } else if place >= MAX_LISTENERS {
        Some(Refusal::TooMany(MAX_LISTENERS))
    } else {
        mode.filter(|_| entry.is_secure()).map(|mode| Refusal::Mode(mode.clone()))
    }
}

/// The certificate that a Gateway shows to backends, and what is wrong with the one that it names.
pub(super) fn shown(reference: &SecretRef, gateway: &Ref, read: &Reader<'_>) -> (Option<NsName>, Option<Unresolved>) {
    let secret = match secret(reference, gateway, read) {
        Ok(secret) => secret,
        Err(problem) => return (None, Some(problem)),
    };
    match certificate::inspect(&secret, read) {
        Ok(_) => (Some(secret), None),
        Err(problem) if certificate::before(&secret, read).is_some() => (Some(secret), Some(Unresolved::Kept(problem))),
        Err(problem) => (None, Some(Unresolved::Certificate(problem))),
    }
}

/// Permission comes before existence, so that nobody learns what another namespace holds.
fn secret(reference: &SecretRef, from: &Ref, read: &Reader<'_>) -> Result<NsName, Unresolved> {
    if Kind::named(&reference.group, &reference.kind) != Some(Kind::Secret) {
        let (group, kind) = (reference.group.clone(), reference.kind.clone());
        return Err(Unresolved::CertificateKind { group, kind, name: reference.name.clone() });
    }
    let own = &from.key.namespace;
    let namespace = reference.namespace.clone().unwrap_or_else(|| own.clone());
    let secret = NsName { namespace, name: reference.name.clone() };
    let target = Ref::new(Kind::Secret, secret.clone());
    if grant::permits(from.kind, own, &target, read) {
        Ok(secret)
    } else {
        let remedy = grant::remedy(from.kind, own, &target);
        Err(Unresolved::NotPermitted { secret, remedy })
    }
}

fn unresolved_kind(kind: &RouteKind, named: Option<Kind>, entry: &Entry) -> Unresolved {
    if named == Some(Kind::GrpcRoute) && !entry.is_secure() {
        return Unresolved::CleartextGrpc;
    }
    Unresolved::Kind { group: kind.group.clone(), kind: kind.kind.clone(), protocol: entry.spec.protocol.clone() }
}
