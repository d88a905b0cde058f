//! Backends of a rule: shares, the share of what is invalid, and copies.
//!
//! `backendRefs[]` and the rule's filters → [`Draft`]
//!
//! **Invariant:** valid backends keep their part of the whole: an invalid one's part answers UNAVAILABLE (R17).
//! **Invariant:** weights that sum to 0 never reach Envoy, which refuses them.
//!
//! Knows nothing of matches.

use super::{
    filters::{self, Filters},
    rule::Lowering,
};
use crate::{
    ir::{self, Action, Forward, Share},
    status::route::{Problem, RuleFault},
    translate::backend,
    world::{
        gateway::ParametersRef,
        route::{BackendRef, BackendTarget, Mirror, Rule},
    },
};

/// What happens to the calls of a rule, and what is wrong with it.
pub(super) struct Draft {
    pub(super) action: Action,
    pub(super) clusters: Vec<ir::Cluster>,
    pub(super) problems: Vec<Problem>,
}

impl Draft {
    /// Calls that no backend sees.
    pub(super) fn redirect(to: ir::Redirect) -> Self {
        Self { action: Action::Redirect(Box::new(to)), clusters: Vec::new(), problems: Vec::new() }
    }
}

/// Source: Gateway API, `BackendRef.weight`. Keeps the sum of 16 within Envoy's 32 bits.
const MAX_WEIGHT: u32 = 1_000_000;
const MILLION: u32 = 1_000_000;

/// The backends of the rule at `at`.
pub(super) fn draft(lowering: &Lowering<'_>, rule: &Rule, filters: &Filters<'_>, at: &str) -> Result<Draft, RuleFault> {
    let mut drafting = Drafting { lowering, forward: Forward::default(), clusters: Vec::new(), problems: Vec::new() };
    for (index, backend) in rule.backends.iter().enumerate() {
        let at = format!("{at}.backendRefs[{index}]");
        drafting.share(backend, filters::sort(&backend.filters, &at)?, &at)?;
    }
    drafting.forward.mirrors = drafting.mirrors(&filters.mirrors)?;
    drafting.forward.rewrite = filters.rewrite.as_ref().map(|(_, rewrite)| Box::new(rewrite.clone()));
    drafting.extensions(&filters.extensions);
    let usable = filters.extensions.is_empty() && !drafting.forward.shares.is_empty();
    Ok(if usable { drafting.forwarding() } else { drafting.unavailable(at) })
}

/// A URL is that of a rule: which backend is chosen, is decided after it is known.
fn urls_stay(own: &Filters<'_>) -> Result<(), RuleFault> {
    let why = "changes the URL for one backend alone: put the filter into the rule's filters";
    let edited = own.redirect.as_ref().map(|(at, _)| at).or(own.rewrite.as_ref().map(|(at, _)| at));
    edited.map_or(Ok(()), |at| Err(RuleFault::Incompatible { at: at.clone(), why }))
}

struct Drafting<'a> {
    lowering: &'a Lowering<'a>,
    forward: Forward,
    clusters: Vec<ir::Cluster>,
    problems: Vec<Problem>,
}

impl Drafting<'_> {
    fn share(&mut self, backend: &BackendRef, own: Filters<'_>, at: &str) -> Result<(), RuleFault> {
        urls_stay(&own)?;
        let weight = backend.weight.min(MAX_WEIGHT);
        self.extensions(&own.extensions);
        let cluster = self.resolve(&backend.target, at).filter(|_| own.extensions.is_empty());
        let mirrors = self.mirrors(&own.mirrors)?;
        match cluster {
            Some(cluster) if weight > 0 => self.add(cluster, weight, own, mirrors),
            Some(_) => {}
            None => self.forward.unavailable += weight,
        }
        Ok(())
    }

    /// Linear in the shares: a rule has at most 16.
    fn add(&mut self, cluster: ir::Cluster, weight: u32, own: Filters<'_>, mirrors: Vec<ir::Mirror>) {
        let new = Share {
            cluster: cluster.name(),
            weight,
            request_headers: own.request.unwrap_or_default().into(),
            response_headers: own.response.unwrap_or_default().into(),
            mirrors,
        };
        self.clusters.push(cluster);
        match self.forward.shares.iter_mut().find(|share| is_same(share, &new)) {
            Some(share) => share.weight += weight,
            None => self.forward.shares.push(new),
        }
    }

    /// A mirror that leads nowhere is left out, and the calls go on.
    fn mirrors(&mut self, mirrors: &[(String, &Mirror)]) -> Result<Vec<ir::Mirror>, RuleFault> {
        let mut copies = Vec::new();
        for (at, mirror) in mirrors {
            let parts_per_million = parts_per_million(mirror, at)?;
            let resolved = self.resolve(&mirror.backend_ref, &format!("{at}.requestMirror.backendRef"));
            if let Some(cluster) = resolved.filter(|_| parts_per_million > 0) {
                copies.push(ir::Mirror { cluster: cluster.name(), parts_per_million });
                self.clusters.push(cluster);
            }
        }
        Ok(copies)
    }

    /// No kind of extension is known yet; the specification forbids to act as if it were not there.
    fn extensions(&mut self, extensions: &[(String, &ParametersRef)]) {
        let problems = extensions.iter().map(|(at, extension)| Problem::Extension {
            at: format!("{at}.extensionRef"),
            target: format!("{}/{} {}", extension.group, extension.kind, extension.name),
        });
        self.problems.extend(problems);
    }

    fn resolve(&mut self, target: &BackendTarget, at: &str) -> Option<ir::Cluster> {
        let Lowering { route, source, read, .. } = self.lowering;
        match backend::resolve(target, route, |protocol| source.upstream(protocol), read) {
            Ok(cluster) => Some(cluster),
            Err(fault) => {
                let target = format!("{} {}", target.kind, backend::service_of(target, route));
                self.problems.push(Problem::Backend { at: at.to_owned(), target, fault });
                None
            }
        }
    }

    fn forwarding(self) -> Draft {
        Draft { action: Action::Forward(self.forward), clusters: self.clusters, problems: self.problems }
    }

    /// Callers read the text, so it names the route and leaves what is wrong with it to its status.
    fn unavailable(self, at: &str) -> Draft {
        let text = format!("{at} of {} has no usable backend", self.lowering.route);
        Draft { action: Action::Unavailable(text.into()), clusters: Vec::new(), problems: self.problems }
    }
}

fn is_same(one: &Share, other: &Share) -> bool {
    one.cluster == other.cluster
        && one.request_headers == other.request_headers
        && one.response_headers == other.response_headers
        && one.mirrors == other.mirrors
}

fn parts_per_million(mirror: &Mirror, at: &str) -> Result<u32, RuleFault> {
    let (numerator, denominator) = match (mirror.percent, &mirror.fraction) {
        (None, None) => (1, 1),
        (Some(percent), None) => (percent, 100),
        (None, Some(fraction)) => (fraction.numerator, fraction.denominator.unwrap_or(100)),
        (Some(_), Some(_)) => {
            let why = "says percent and fraction: keep one";
            return Err(RuleFault::Incompatible { at: format!("{at}.requestMirror"), why });
        }
    };
    let parts = u64::from(MILLION) * u64::from(numerator);
    let parts = parts.checked_div(u64::from(denominator)).and_then(|parts| u32::try_from(parts).ok());
    parts.filter(|parts| *parts <= MILLION).ok_or_else(|| RuleFault::Malformed {
        at: format!("{at}.requestMirror"),
        value: format!("{numerator}/{denominator}").into(),
        expected: "a share between 0 and 1",
    })
}
