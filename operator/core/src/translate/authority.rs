//! Certificate authorities: ConfigMaps → what proxies trust, or what is wrong with them.
//!
//! `caCertificateRefs[]` → ConfigMaps that can be used and [`AuthorityProblem`]s; ConfigMaps → [`ir::Authorities`]
//!
//! **Invariant:** what is returned can be loaded by a proxy: PEM certificates that parse, and nothing else.
//! **Invariant:** permission comes before existence, so that nobody learns what another namespace holds.
//!
//! Knows nothing of who is to be validated.

use super::grant;
use crate::{
    ir,
    key::{Kind, NsName, Ref, Text},
    world::{Reader, gateway::ObjectRef, secret::ConfigMap},
};
use x509_parser::pem::Pem;

/// The entry that holds the certificates. Source: Gateway API, `caCertificateRefs`.
const ENTRY: &str = "ca.crt";

/// What is wrong with a reference to authorities; the message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is said by its message, each field named in it")]
pub enum AuthorityProblem {
    #[error(
        "caCertificateRef {name} has kind {kind} of group {group:?}: only ConfigMap of the core group is supported"
    )]
    Kind { group: Text, kind: Text, name: Text },
    #[error("the reference to ConfigMap {map} needs permission: {remedy}")]
    NotPermitted { map: NsName, remedy: String },
    #[error("ConfigMap {0} does not exist: create it with the certificates of the authorities in ca.crt")]
    Absent(NsName),
    #[error("ConfigMap {0} lacks ca.crt: put the certificates of the authorities there, PEM encoded")]
    Lacks(NsName),
    #[error(
        "ca.crt of ConfigMap {0} holds something else than X.509 certificates: put PEM certificates there, and nothing else"
    )]
    NotCertificates(NsName),
}

/// The ConfigMaps that can be used, in order, distinct, and what is wrong with the others.
pub(crate) fn resolve(refs: &[ObjectRef], from: &Ref, read: &Reader<'_>) -> (Vec<NsName>, Vec<AuthorityProblem>) {
    let (mut usable, mut problems) = (Vec::new(), Vec::new());
    for reference in refs {
        match check(reference, from, read) {
            Ok(map) if !usable.contains(&map) => usable.push(map),
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
    }
    (usable, problems)
}

fn check(reference: &ObjectRef, from: &Ref, read: &Reader<'_>) -> Result<NsName, AuthorityProblem> {
    if Kind::named(&reference.group, &reference.kind) != Some(Kind::ConfigMap) {
        let (group, kind, name) = (reference.group.clone(), reference.kind.clone(), reference.name.clone());
        return Err(AuthorityProblem::Kind { group, kind, name });
    }
    let own = &from.key.namespace;
    let namespace = reference.namespace.clone().unwrap_or_else(|| own.clone());
    let map = NsName { namespace, name: reference.name.clone() };
    let target = Ref::new(Kind::ConfigMap, map.clone());
    if !grant::permits(from.kind, own, &target, read) {
        return Err(AuthorityProblem::NotPermitted { map, remedy: grant::remedy(from.kind, own, &target) });
    }
    certificates(&map, read).map(|_| map)
}

/// What proxies are given; `None` if none of the maps can be used any more.
pub fn load(maps: &[NsName], read: &Reader<'_>) -> Option<ir::Authorities> {
    let texts: Vec<&Text> = maps.iter().filter_map(|map| certificates(map, read).ok()).collect();
    let pem = texts.iter().map(|text| text.trim_end()).collect::<Vec<_>>().join("\n");
    (!texts.is_empty()).then(|| ir::Authorities { name: ir::Authorities::name_of(maps), pem: pem.into() })
}

fn certificates<'w>(map: &NsName, read: &Reader<'w>) -> Result<&'w Text, AuthorityProblem> {
    let object = read.get::<ConfigMap>(map).ok_or_else(|| AuthorityProblem::Absent(map.clone()))?;
    let text = object.data.get(ENTRY).filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| AuthorityProblem::Lacks(map.clone()))?;
    let blocks = Pem::iter_from_buffer(text.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    let valid = |block: &Pem| &*block.label == "CERTIFICATE" && block.parse_x509().is_ok();
    let all = !blocks.is_empty() && blocks.iter().all(valid);
    all.then_some(text).ok_or_else(|| AuthorityProblem::NotCertificates(map.clone()))
}
