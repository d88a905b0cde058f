//! The certificate of a GrpcService: which Secrets its listeners use, which are still to be made, and how it stands.

use super::{Draft, Held, Issue, certificate::CertSpec, frame::Frame};
use crate::{
    key::{Kind, NsName, Ref, Text},
    translate::grant,
    world::{Reader, meta::Meta, secret::Secret},
};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sluice_api::{
    GrpcServiceSpec,
    grpcservice::{Tls, TlsType},
};

/// What the listeners need, and what has to be made for it.
pub(super) struct Plan {
    /// `certificateRefs` of the listeners, every field written out; empty: no listeners of our own.
    pub(super) refs: Vec<Value>,
    /// The ConfigMap that publishes the CA, or the Certificate for cert-manager.
    pub(super) objects: Vec<Draft>,
    pub(super) issues: Vec<Issue>,
    /// Secrets of ours that are absent or do not fit any more.
    pub(super) unfit: Vec<NsName>,
    pub(super) state: State,
}

/// How the certificate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The listeners bring their own.
    OfListener,
    /// Ours, and not there yet.
    Issuing {
        /// Where it will be.
        secret: NsName,
    },
    /// Ours, and there.
    Issued {
        /// Where it is.
        secret: NsName,
        /// The ConfigMap with the CA.
        authority: NsName,
        /// When it ends.
        not_after: DateTime<Utc>,
        /// When a new one is made.
        renewal: DateTime<Utc>,
    },
    /// The user's Secrets; the first is shown.
    Provided {
        /// Those that the listeners may use: only these are looked at.
        secrets: Vec<NsName>,
        /// Those of other namespaces that no grant permits, each with the grant to write.
        forbidden: Vec<(NsName, String)>,
        /// When the first ends, if it can be read.
        not_after: Option<DateTime<Utc>>,
    },
    /// Asked of cert-manager.
    CertManager {
        /// Where it will be; the Certificate has the same name.
        secret: NsName,
        /// When it ends, once it is there.
        not_after: Option<DateTime<Utc>>,
        /// Whether it is for the hostnames of this generation.
        fits: bool,
    },
}

pub(super) fn plan(meta: &Meta, spec: &GrpcServiceSpec, hostnames: Option<&[Text]>, read: &Reader) -> Plan {
    let frame = Frame::new(meta, spec);
    let names = hostnames.unwrap_or_default();
    // The default Gateway is shared, so a service that names no Gateway brings its own certificate.
    let on_default_gateway = spec.gateways.as_ref().is_none_or(Vec::is_empty) && !names.is_empty();
    match &spec.tls {
        Some(tls) => match tls.type_ {
            TlsType::SelfSigned => self_signed(&frame, names, read),
            TlsType::Secret => provided(&frame, tls, &holders(spec), read),
            TlsType::CertManager => cert_manager(&frame, tls, names, read),
        },
        None if on_default_gateway => self_signed(&frame, names, read),
        None => Plan {
            refs: Vec::new(),
            objects: Vec::new(),
            issues: Vec::new(),
            unfit: Vec::new(),
            state: State::OfListener,
        },
    }
}

fn secret_ref(key: &NsName) -> Value {
    json!({"group": "", "kind": "Secret", "namespace": key.namespace, "name": key.name})
}

fn self_signed(frame: &Frame, names: &[Text], read: &Reader) -> Plan {
    let (ca, leaf) = (frame.sibling("ca"), frame.sibling("tls"));
    let mut sans = names.to_vec();
    sans.sort();
    let authority = read.get::<Secret>(&ca).filter(|secret| is_whole(secret)).and_then(|secret| Held::read(secret));
    let held = read.get::<Secret>(&leaf).and_then(|secret| Held::read(secret));
    let authority_is_fresh = authority.as_ref().is_some_and(|authority| authority.is_fresh(read));
    let signed = |held: &Held| authority.as_ref().is_some_and(|authority| held.is_signed_by(authority));
    let fits = held.as_ref().is_some_and(|held| held.sans == sans && held.is_fresh(read) && signed(held));
    let unfit = [(!authority_is_fresh).then(|| ca.clone()), (!fits).then(|| leaf.clone())];
    let wish = if !authority_is_fresh {
        Some((&ca, CertSpec::authority(format!("{} CA", frame.service).into(), read.now())))
    } else if !fits && !sans.is_empty() {
        let common_name = sans.first().cloned().unwrap_or_default();
        Some((&leaf, CertSpec::leaf(common_name, sans, ca.clone(), read.now())))
    } else {
        None
    };
    let issue = |(secret, spec): (&NsName, CertSpec)| Issue {
        secret: secret.clone(),
        spec,
        metadata: frame.metadata(&secret.name),
    };
    let state = match held {
        Some(held) if authority.is_some() => State::Issued {
            secret: leaf.clone(),
            authority: ca.clone(),
            not_after: held.not_after,
            renewal: held.renewal(),
        },
        _ => State::Issuing { secret: leaf.clone() },
    };
    Plan {
        refs: vec![secret_ref(&leaf)],
        objects: published_authority(frame, &ca, read),
        issues: wish.map(issue).into_iter().collect(),
        unfit: unfit.into_iter().flatten().collect(),
        state,
    }
}

/// A CA whose key is gone cannot sign: it counts as absent.
fn is_whole(secret: &Secret) -> bool {
    secret.get("tls.key").is_some_and(|key| !key.is_empty())
}

/// The CA's certificate, without its key, for clients to trust.
fn published_authority(frame: &Frame, ca: &NsName, read: &Reader) -> Vec<Draft> {
    let certificate = read.get::<Secret>(ca).and_then(|secret| secret.get("tls.crt").map(<[u8]>::to_vec));
    let Some(text) = certificate.and_then(|bytes| String::from_utf8(bytes).ok()) else { return Vec::new() };
    let fields = Map::from_iter([("data".to_owned(), json!({"ca.crt": text}))]);
    vec![frame.draft_with(Kind::ConfigMap, ca.clone(), fields)]
}

/// The kinds of the objects that refer to the Secrets: an own Gateway, or a ListenerSet on another's.
fn holders(spec: &GrpcServiceSpec) -> Vec<Kind> {
    let entries = spec.gateways.as_deref().unwrap_or_default();
    let own = entries.iter().any(|entry| entry.own.is_some());
    let shared = entries.is_empty() || entries.iter().any(|entry| entry.own.is_none());
    let kinds = [own.then_some(Kind::Gateway), shared.then_some(Kind::ListenerSet)];
    kinds.into_iter().flatten().collect()
}

/// Permission comes before existence, so that nobody learns what another namespace holds.
fn provided(frame: &Frame, tls: &Tls, holders: &[Kind], read: &Reader) -> Plan {
    let namespace = &frame.service.namespace;
    let refs = tls.certificate_refs.iter().flatten();
    let wanted: Vec<NsName> = refs
        .map(|wanted| {
            let namespace = wanted.namespace.as_deref().map_or_else(|| namespace.clone(), Text::from);
            NsName { namespace, name: wanted.name.as_str().into() }
        })
        .collect();
    let refs = wanted.iter().map(secret_ref).collect();
    let (mut secrets, mut forbidden) = (Vec::new(), Vec::new());
    for secret in wanted {
        let target = Ref::new(Kind::Secret, secret.clone());
        match holders.iter().find(|from| !grant::permits(**from, namespace, &target, read)) {
            Some(from) => forbidden.push((secret, grant::remedy(*from, namespace, &target))),
            None => secrets.push(secret),
        }
    }
    let first = secrets.first().and_then(|key| read.get::<Secret>(key)).and_then(|secret| Held::read(secret));
    Plan {
        refs,
        objects: Vec::new(),
        issues: Vec::new(),
        unfit: Vec::new(),
        state: State::Provided { secrets, forbidden, not_after: first.map(|held| held.not_after) },
    }
}

/// What cert-manager does about it is its own: it is followed by the Secret and by what the Certificate's status says.
fn cert_manager(frame: &Frame, tls: &Tls, names: &[Text], read: &Reader) -> Plan {
    let secret = frame.sibling("tls");
    let held = read.get::<Secret>(&secret).and_then(|secret| Held::read(secret));
    let mut sans = names.to_vec();
    sans.sort();
    let fits = held.as_ref().is_some_and(|held| held.sans == sans);
    let certificate = tls.issuer_ref.as_ref().filter(|_| !sans.is_empty()).map(|issuer| {
        let issuer = json!({"group": issuer.group(), "kind": issuer.kind(), "name": issuer.name});
        let spec = json!({
            "secretName": secret.name, "dnsNames": sans, "issuerRef": issuer,
            "usages": ["digital signature", "key encipherment", "server auth"],
        });
        frame.draft(Kind::Certificate, secret.clone(), spec)
    });
    Plan {
        refs: vec![secret_ref(&secret)],
        objects: certificate.into_iter().collect(),
        issues: Vec::new(),
        unfit: Vec::new(),
        state: State::CertManager { secret, not_after: held.map(|held| held.not_after), fits },
    }
}
