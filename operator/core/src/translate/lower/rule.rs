//! One rule: its matches, and what happens to the calls that they take.
//!
//! a rule → [`Outcome`], or the fault for which it is left out
//!
//! **Invariant:** every match of a rule does the same.
//!
//! Knows nothing of other rules.

use super::{
    RouteSource,
    backends::{self, Draft},
    filters::{self, Filters},
    url,
};
use crate::{
    ir,
    key::{Ref, Text},
    status::route::{Problem, RuleFault},
    translate::{Rank, Ranked, matches, policy::Policies},
    world::{
        Reader,
        route::{Match, Rule},
    },
};
use std::sync::Arc;

/// What lowering a rule needs beside the rule.
pub(super) struct Lowering<'a> {
    pub(super) route: &'a Ref,
    pub(super) source: &'static dyn RouteSource,
    pub(super) policies: Policies,
    pub(super) read: &'a Reader<'a>,
}

/// What a rule becomes.
pub(super) struct Outcome {
    pub(super) routes: Vec<Ranked>,
    pub(super) clusters: Vec<ir::Cluster>,
    pub(super) problems: Vec<Problem>,
}

impl Lowering<'_> {
    pub(super) fn rule(&self, index: usize, rule: &Rule) -> Result<Outcome, RuleFault> {
        let at = format!("rules[{index}]");
        if let Some(field) = rule.unsupported.first() {
            return Err(RuleFault::NotImplemented { at, what: field.clone() });
        }
        let matchers = self.matchers(rule, &at)?;
        let mut filters = filters::sort(&rule.filters, &at)?;
        self.check_urls(&filters, &matchers)?;
        let redirect = filters.redirect.take().filter(|_| filters.extensions.is_empty());
        let Draft { action, clusters, problems } = match redirect {
            Some((_, to)) => Draft::redirect(to),
            None => backends::draft(self, rule, &filters, &at)?,
        };
        let traffic = self.policies.of(rule.name.as_ref());
        let template = ir::Route {
            origin: self.origin(index, rule.name.clone()),
            matcher: everything(),
            action,
            request_headers: filters.request.unwrap_or_default().into(),
            response_headers: filters.response.unwrap_or_default().into(),
            timeouts: traffic.timeouts,
            retry: traffic.retry.clone().map(Box::new),
        };
        let routes = matchers.into_iter().enumerate();
        let routes = routes.map(|(index, (rank, matcher))| ranked(rank, matcher, index, &template)).collect();
        Ok(Outcome { routes, clusters, problems })
    }

    /// What may be done to a URL, and where.
    fn check_urls(&self, filters: &Filters<'_>, matchers: &[(Rank, ir::Matcher)]) -> Result<(), RuleFault> {
        let redirect = filters.redirect.as_ref().map(|(at, to)| (at, to.path.as_ref()));
        let rewrite = filters.rewrite.as_ref().map(|(at, by)| (at, by.path.as_ref()));
        if let (Some((at, _)), Some(_)) = (redirect, rewrite) {
            let why =
                "redirects what another filter rewrites: write the new URL into the redirect, and remove URLRewrite";
            return Err(RuleFault::Incompatible { at: at.clone(), why });
        }
        let Some((at, edit)) = redirect.or(rewrite) else { return Ok(()) };
        if self.source.grpc_only() {
            let why = "changes a URL, which in gRPC is the name of the method: use an HTTPRoute";
            return Err(RuleFault::Incompatible { at: at.clone(), why });
        }
        matchers.iter().try_for_each(|(_, matcher)| url::fits(edit, matcher, at))
    }

    fn matchers(&self, rule: &Rule, at: &str) -> Result<Vec<(Rank, ir::Matcher)>, RuleFault> {
        let matches = rule.matches.iter().enumerate();
        matches.map(|(index, one)| self.matcher(one, &format!("{at}.matches[{index}]"))).collect()
    }

    fn matcher(&self, one: &Match, at: &str) -> Result<(Rank, ir::Matcher), RuleFault> {
        let (rank, matcher) = self.source.matcher(&one.on, at)?;
        let headers = matches::headers(&one.headers, at)?;
        let rank = Rank { headers: headers.len(), ..rank };
        Ok((rank, ir::Matcher { headers, grpc_only: self.source.grpc_only(), ..matcher }))
    }

    fn origin(&self, rule: usize, rule_name: Option<Text>) -> ir::Origin {
        ir::Origin { kind: self.route.kind, route: self.route.key.clone(), rule, rule_name, matched: 0 }
    }
}

const fn everything() -> ir::Matcher {
    ir::Matcher { path: ir::PathMatcher::Any, grpc_only: false, method: None, headers: Vec::new(), query: Vec::new() }
}

fn ranked(rank: Rank, matcher: ir::Matcher, index: usize, template: &ir::Route) -> Ranked {
    let origin = ir::Origin { matched: index, ..template.origin.clone() };
    Ranked { rank, route: Arc::new(ir::Route { origin, matcher, ..template.clone() }) }
}
