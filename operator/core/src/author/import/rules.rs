//! Rules: names, backends by name, policies, and the rule that is there for reflection.

use super::{LABEL_LENGTH, Note, Numbered, Writer, backends::Pool, label};
use crate::{
    author::route::{REFLECTION, REFLECTION_RULE},
    key::{Kind, Ref},
};
use sluice_api::{
    gateway_api::grpcroutes::{
        GrpcRouteRules, GrpcRouteRulesBackendRefs, GrpcRouteRulesMatches, GrpcRouteRulesMatchesMethodType as MethodType,
    },
    grpcservice::{BackendService, Reflection, RouteRule, RuleBackend},
};

/// `spec.rules` and `spec.reflection`.
pub(super) struct Rules {
    pub(super) rules: Vec<RouteRule>,
    pub(super) reflection: Option<Reflection>,
}

impl Writer<'_> {
    pub(super) fn rules(&mut self, written: &[GrpcRouteRules], pool: &mut Pool) -> Rules {
        let mirrored = self.reflection_of(written);
        let mut rules = Vec::new();
        let mut reflection = None;
        for (at, rule) in written.iter().enumerate() {
            let numbered = Numbered { at, rule };
            if mirrored == Some(at) {
                reflection = self
                    .references(numbered, pool)
                    .into_iter()
                    .next()
                    .map(|backend| Reflection { backend: backend.name });
            } else {
                rules.push(self.rule(numbered, written, pool));
            }
        }
        self.silence_empty(&mut rules, pool);
        Rules { rules, reflection }
    }

    /// The rule that `spec.reflection` replaces. A rule with a policy or a name that somebody chose stays a rule, and
    /// so does one that is alone: without rules a service has one for everything.
    fn reflection_of(&self, rules: &[GrpcRouteRules]) -> Option<usize> {
        let found = rules.iter().position(is_reflection)?;
        let name = rules.get(found)?.name.as_deref();
        let free = name.is_none_or(|name| REFLECTION_RULE.contains(&name));
        (free && rules.len() > 1 && self.sources.policy(self.route.key(), name).is_none()).then_some(found)
    }

    fn rule(&mut self, numbered: Numbered, all: &[GrpcRouteRules], pool: &mut Pool) -> RouteRule {
        let rule = numbered.rule;
        let name = self.rule_name(numbered, all);
        let backends = self.references(numbered, pool);
        let policy = self.sources.policy(self.route.key(), rule.name.as_deref());
        if let Some(policy) = policy {
            let object = Ref::new(Kind::GrpcPolicy, policy.metadata.key.clone());
            let message = format!(
                "carried over into rule {name}: delete the policy once the GrpcService is applied, because the older \
                policy holds"
            );
            self.notes.push(Note { object, path: String::new(), message });
        }
        RouteRule {
            name,
            matches: rule.matches.clone().filter(|matches| !matches.is_empty()),
            filters: rule.filters.clone().filter(|filters| !filters.is_empty()),
            backends: Some(backends),
            timeouts: policy.and_then(|policy| policy.spec.timeouts.clone()),
            retry: policy.and_then(|policy| policy.spec.retry.clone()),
        }
    }

    /// The rule's own name if it is a label; else one by its place, which no other rule has.
    fn rule_name(&mut self, Numbered { at, rule }: Numbered, all: &[GrpcRouteRules]) -> String {
        if let Some(name) = rule.name.as_ref().filter(|name| label(name, LABEL_LENGTH) == **name) {
            return name.clone();
        }
        let taken = |name: &String| all.iter().any(|other| other.name.as_ref() == Some(name));
        let own = rule.name.as_ref().map(|name| label(name, LABEL_LENGTH));
        let numbered =
            (0_usize..).map(|turn| if turn == 0 { format!("rule-{at}") } else { format!("rule-{at}-{turn}") });
        let chosen = own.into_iter().chain(numbered).find(|name| !taken(name)).unwrap_or_default();
        if let Some(name) = &rule.name {
            self.note(format!("spec.rules[{at}].name"), format!("{name} is no DNS label: the rule is called {chosen}"));
        }
        chosen
    }

    fn references(&mut self, Numbered { at, rule }: Numbered, pool: &mut Pool) -> Vec<RuleBackend> {
        let written = rule.backend_refs.as_deref().unwrap_or_default();
        let weighted = written.iter().any(|reference| reference.weight.is_some());
        let mut seen: Vec<BackendService> = Vec::new();
        let mut backends = Vec::new();
        for (index, reference) in written.iter().enumerate() {
            let Some(service) = service_of(reference) else {
                let message = "only a Service with a port can be a backend: the reference is left out, and its share \
                of the calls is answered by the others";
                self.note(format!("spec.rules[{at}].backendRefs[{index}]"), message);
                continue;
            };
            let occurrence = seen.iter().filter(|known| **known == service).count();
            seen.push(service.clone());
            backends.push(RuleBackend {
                name: pool.name(service, occurrence),
                weight: weighted.then(|| reference.weight.unwrap_or(1)),
                filters: reference.filters.clone().filter(|filters| !filters.is_empty()),
            });
        }
        backends
    }

    /// A rule without backends answers UNAVAILABLE; a service's rule without backends has all of them. Weight 0 says
    /// it.
    fn silence_empty(&mut self, rules: &mut [RouteRule], pool: &Pool) {
        let Some(first) = pool.first() else { return };
        for rule in rules.iter_mut().filter(|rule| rule.backends.as_ref().is_some_and(Vec::is_empty)) {
            rule.backends = Some(vec![RuleBackend { name: first.to_owned(), weight: Some(0), filters: None }]);
            let message = format!(
                "rule {} has no backend and answers UNAVAILABLE: it keeps doing so by weight 0 of backend {first}",
                rule.name
            );
            self.note("spec.rules", message);
        }
    }
}

fn service_of(reference: &GrpcRouteRulesBackendRefs) -> Option<BackendService> {
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or(Kind::Service.name());
    let port = reference.port?;
    let is_service = Kind::named(group, kind) == Some(Kind::Service);
    is_service.then(|| BackendService { name: reference.name.clone(), namespace: reference.namespace.clone(), port })
}

/// Whether a rule sends reflection, in one version or both, to one backend, and does nothing else.
fn is_reflection(rule: &GrpcRouteRules) -> bool {
    let empty = rule.filters.as_ref().is_none_or(Vec::is_empty);
    let matches = rule.matches.as_deref().unwrap_or_default();
    let plain = |reference: &GrpcRouteRulesBackendRefs| {
        service_of(reference).is_some()
            && reference.filters.as_ref().is_none_or(Vec::is_empty)
            && reference.weight.is_none_or(|weight| weight > 0)
    };
    let alone = matches!(rule.backend_refs.as_deref(), Some([only]) if plain(only));
    empty && alone && !matches.is_empty() && matches.iter().all(is_reflection_match)
}

fn is_reflection_match(wanted: &GrpcRouteRulesMatches) -> bool {
    let exact = |kind: Option<&MethodType>| !matches!(kind, Some(MethodType::RegularExpression));
    wanted.headers.as_ref().is_none_or(Vec::is_empty)
        && wanted.method.as_ref().is_some_and(|method| {
            let service = method.service.as_deref().unwrap_or_default();
            exact(method.r#type.as_ref()) && method.method.is_none() && REFLECTION.contains(&service)
        })
}
