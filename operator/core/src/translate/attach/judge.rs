//! One listener, judged by itself: is it accepted, which kinds may attach, which certificates does it show.
//!
//! a listener, the policy of its class → [`Judged`]

use super::{Entry, is_out_of_sight};
use crate::{
    hostname::Hostname,
    key::{Kind, NsName, Ref},
    status::listener::{Conflict, Refusal, Unresolved},
    translate::{AttachmentPolicy, certificate, grant},
    world::{
        Reader,
        gateway::{RouteKind, SecretRef},
    },
};

/// How many listeners a Gateway and its sets may have together: above, one more costs Envoy about 0.2 s.
pub(super) const MAX_LISTENERS: usize = 1024;

/// What all listeners of a Gateway are judged by.
pub(super) struct Bench<'r, 'w> {
    pub policy: AttachmentPolicy,
    /// `spec.tls.frontend` is set.
    pub client_certificates: bool,
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
    pub unresolved: Vec<Unresolved>,
}

impl Bench<'_, '_> {
    /// Judges the listener at a place in the order of precedence.
    pub(super) fn judge(&self, entry: &Entry, conflict: Option<Conflict>, place: usize) -> Judged {
        let kinds = self.kinds(entry);
        let mut judged = Judged {
            refusal: self.refusal(entry, conflict, place),
            kinds: kinds.0,
            certificates: Vec::new(),
            names: Vec::new(),
            unresolved: Vec::new(),
        };
        if entry.is_secure() {
            self.certificates(entry, &mut judged);
        }
        judged.unresolved.extend(kinds.1);
        judged
    }

    fn refusal(&self, entry: &Entry, conflict: Option<Conflict>, place: usize) -> Option<Refusal> {
        let mode = entry.spec.tls.as_ref().map(|tls| &tls.mode).filter(|mode| &***mode != "Terminate");
        if let Some(conflict) = conflict {
            Some(Refusal::Conflict(conflict))
        } else if !entry.is_http() {
            Some(Refusal::Protocol(entry.spec.protocol.clone()))
        } else if is_out_of_sight(entry.spec.allowed_routes.namespaces.as_ref(), self.read) {
            Some(Refusal::SelectorOutOfSight)
        } else if place >= MAX_LISTENERS {
            Some(Refusal::TooMany(MAX_LISTENERS))
        } else if let (true, Some(mode)) = (entry.is_secure(), mode) {
            Some(Refusal::Mode(mode.clone()))
        } else {
            // Serving without the check that the Gateway asks for would let in whom it wants to keep out.
            (entry.is_secure() && self.client_certificates).then_some(Refusal::ClientCertificates)
        }
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
            match self.secret(entry, reference) {
                Ok(secret) => self.certificate(secret, judged),
                Err(problem) => judged.unresolved.push(problem),
            }
        }
    }

    /// Permission comes before existence, so that nobody learns what another namespace holds.
    fn secret(&self, entry: &Entry, reference: &SecretRef) -> Result<NsName, Unresolved> {
        if Kind::named(&reference.group, &reference.kind) != Some(Kind::Secret) {
            let (group, kind) = (reference.group.clone(), reference.kind.clone());
            return Err(Unresolved::CertificateKind { group, kind, name: reference.name.clone() });
        }
        let parent = entry.parent.reference();
        let (from, own) = (parent.kind, &parent.key.namespace);
        let namespace = reference.namespace.clone().unwrap_or_else(|| own.clone());
        let secret = NsName { namespace, name: reference.name.clone() };
        let target = Ref::new(Kind::Secret, secret.clone());
        if grant::permits(from, own, &target, self.read) {
            Ok(secret)
        } else {
            let remedy = grant::remedy(from, own, &target);
            Err(Unresolved::NotPermitted { secret, remedy })
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

fn unresolved_kind(kind: &RouteKind, named: Option<Kind>, entry: &Entry) -> Unresolved {
    if named == Some(Kind::GrpcRoute) && !entry.is_secure() {
        return Unresolved::CleartextGrpc;
    }
    Unresolved::Kind { group: kind.group.clone(), kind: kind.kind.clone(), protocol: entry.spec.protocol.clone() }
}
