//! HTTPS listeners of a port that a client may mistake for each other.
//!
//! accepted listeners, the names in their certificates → for each, whether and how it overlaps
//!
//! A client may reuse a connection for every name that the server's certificate is valid for (RFC 9113, 9.1.1).
//! Source: Gateway API, `OverlappingTLSConfig`.

use super::{Entry, judge::Judged};
use crate::{hostname::Hostname, status::listener::Overlap};
use std::collections::{BTreeMap, BTreeSet};

/// Which listeners claim a name on a port.
type Claims<'n> = BTreeMap<(u16, &'n Hostname), BTreeSet<usize>>;

/// The overlap of each entry, in their order. O(names · labels · log names), however many listeners share a name.
pub(super) fn find(entries: &[Entry], judged: &[Judged]) -> Vec<Option<Overlap>> {
    let secure = || {
        let pairs = entries.iter().zip(judged).enumerate();
        pairs.filter(|(_, (entry, judged))| entry.is_secure() && judged.refusal.is_none())
    };
    let mut hostnames = Claims::new();
    let mut certified = Claims::new();
    for (place, (entry, judged)) in secure() {
        hostnames.entry((entry.spec.port, &entry.spec.hostname)).or_default().insert(place);
        for name in &judged.names {
            certified.entry((entry.spec.port, name)).or_default().insert(place);
        }
    }
    let by_hostname = shared(&hostnames);
    let by_certificate = shared(&certified);
    let overlap = |place| {
        let hostnames = by_hostname.contains(&place).then_some(Overlap::Hostnames);
        hostnames.or_else(|| by_certificate.contains(&place).then_some(Overlap::Certificates))
    };
    (0..entries.len()).map(overlap).collect()
}

/// The listeners with a name that another one's name equals, covers or is covered by.
fn shared(claims: &Claims) -> BTreeSet<usize> {
    let mut shared = BTreeSet::new();
    for ((port, name), claimants) in claims {
        if claimants.len() > 1 {
            shared.extend(claimants);
        }
        for wider in name.covering().into_iter().skip(1) {
            let above = claims.get(&(*port, &wider)).into_iter().flatten().copied().collect::<BTreeSet<_>>();
            if above.union(claimants).count() > 1 {
                shared.extend(above.iter().chain(claimants));
            }
        }
    }
    shared
}
