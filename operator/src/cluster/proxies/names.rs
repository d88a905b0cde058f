//! What the objects of a Gateway's proxies are called, and how they are known for ours.
//!
//! a Gateway and its class → a name, labels; an object → its Gateway
//!
//! Source: GEP-1762 (in-cluster Gateway deployments).

use kube::core::ObjectMeta;
use sluice_api::{MANAGED_BY, MANAGED_BY_LABEL};
use sluice_core::{
    key::{Kind, NsName, Text},
    translate::infrastructure::Infrastructure,
};
use std::collections::BTreeMap;
use twox_hash::XxHash64;

/// The longest name of a Service, and the longest value of a label.
const LONGEST: usize = 63;

const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
const CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";
/// On each pod: the name of its Gateway, which may be longer than a label.
pub(super) const POD_GATEWAY: &str = "sluice.dev/gateway";

const COMPONENT: &str = "app.kubernetes.io/component";
const PROXY: &str = "proxy";

/// Selects the objects of all proxies.
pub(super) const SELECTOR: &str = "app.kubernetes.io/managed-by=sluice,app.kubernetes.io/component=proxy";

/// `<gateway>-<class>`, as far as a Service may be called so.
pub(super) fn object(gateway: &NsName, class: &str) -> String {
    bounded(&format!("{}-{class}", gateway.name))
}

/// Names of Gateways and classes may be longer than Services' are, hold dots, and begin with a digit. What is changed gets a hash of
/// the whole, so that no two of them meet.
fn bounded(name: &str) -> String {
    let is_label =
        name.len() <= LONGEST && !name.contains('.') && name.starts_with(|first: char| first.is_ascii_lowercase());
    if is_label {
        return name.to_owned();
    }
    let letters: String = format!("g-{name}").replace('.', "-").chars().take(LONGEST - 17).collect();
    format!("{}-{:016x}", letters.trim_end_matches('-'), XxHash64::oneshot(0, name.as_bytes()))
}

/// What tells the pods of one Gateway from all others. Never changes: a Deployment's selector cannot.
pub(super) fn selector(of: &Infrastructure) -> BTreeMap<String, String> {
    let label = |name: &str| if name.len() <= LONGEST { name.to_owned() } else { bounded(name) };
    [(GATEWAY, label(&of.gateway.name)), (CLASS, label(&of.class)), (COMPONENT, PROXY.to_owned())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// Labels of everything that is made for a Gateway: those of its `spec.infrastructure`, and ours before them.
pub(super) fn labels(of: &Infrastructure) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<_, _> = text(&of.labels).collect();
    labels.extend(selector(of));
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
    labels
}

/// `spec.infrastructure.annotations`.
pub(super) fn annotations(of: &Infrastructure) -> BTreeMap<String, String> {
    text(&of.annotations).collect()
}

fn text(map: &BTreeMap<Text, Text>) -> impl Iterator<Item = (String, String)> {
    map.iter().map(|(name, value)| (name.to_string(), value.to_string()))
}

/// The Gateway and the class that an object of ours was made for: by its owner, since the label may be a shortened name.
pub(super) fn owner(metadata: &ObjectMeta) -> Option<(NsName, Text)> {
    let label = |name: &str| metadata.labels.as_ref()?.get(name).map(String::as_str);
    if label(COMPONENT) != Some(PROXY) || label(MANAGED_BY_LABEL) != Some(MANAGED_BY) {
        return None;
    }
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.kind == Kind::Gateway.name())?;
    Some((NsName::new(metadata.namespace.as_deref()?, owner.name.as_str()), label(CLASS)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_as_it_is_where_a_service_may_have_it_and_is_told_apart_where_it_may_not() {
        let name = |gateway: &str| object(&NsName::new("a", gateway), "sluice");
        assert_eq!(name("edge"), "edge-sluice");
        let odd = ["edge.one", "edge-one.two", "1edge", &"x".repeat(80), &format!("{}y", "x".repeat(79))];
        let names = odd.map(name);
        for name in &names {
            assert!(name.len() <= LONGEST && name.starts_with(|first: char| first.is_ascii_lowercase()), "{name}");
            assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'));
        }
        assert_eq!(std::collections::BTreeSet::from(names).len(), odd.len());
    }
}
