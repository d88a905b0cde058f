//! The way back: existing Gateway API objects → GrpcServices that say the same.
//!
//! GRPCRoutes, GrpcPolicies, ReferenceGrants → [`Imported`]: GrpcServices and notes
//!
//! **Invariant:** authoring an imported service gives the rules of the route that it was made from; only a reflection
//! rule moves to the end and is served in both versions.
//! **Invariant:** what a GrpcService cannot say is said in a note, and nothing is dropped in silence.
//! **Invariant:** Gateways stay as they are: services refer to them.
//!
//! Knows nothing of a cluster: references are carried over, not checked.

mod backends;
mod grants;
mod rules;
mod sources;

use crate::key::{Kind, NsName, Ref};
use backends::Pool;
use rules::Rules;
use serde_json::Value;
use sluice_api::{
    ADOPT_ANNOTATION, GrpcService, GrpcServiceSpec,
    gateway_api::grpcroutes::{GrpcRouteParentRefs, GrpcRouteRules},
    grpcservice::GatewayEntry,
};
use sources::{Sources, WireRoute};

/// What was made of existing objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// One for each GRPCRoute that can be expressed, in the order of the routes.
    pub services: Vec<GrpcService>,
    /// What has to be done beside, and what was not carried over.
    pub notes: Vec<Note>,
}

/// Something that whoever imports has to know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// The object that it is about.
    pub object: Ref,
    /// The field, such as `spec.rules[2]`; empty: the object as a whole.
    pub path: String,
    /// What, and what to do.
    pub message: String,
}

/// Names of services are prefixes of generated names and label values. Source: the rule of GrpcService's own API.
const NAME_LENGTH: usize = 52;
/// A label's length, for names of entries and rules.
const LABEL_LENGTH: usize = 63;
/// Limit of `spec.gateways`.
const MOST_GATEWAYS: usize = 8;
/// Reflection is the 16th of a GRPCRoute.
const MOST_RULES: usize = 15;
/// A GRPCRoute holds 128; reflection takes 2.
const MOST_MATCHES: usize = 126;
/// Of a service, and of a rule.
const MOST_BACKENDS: usize = 16;

/// Turns every GRPCRoute of `objects` into a GrpcService. Objects of other kinds are read for what they say of those
/// routes.
pub fn import(objects: &[Value]) -> Imported {
    let mut sources = Sources::default();
    for object in objects {
        sources.read(object);
    }
    let mut imported = Imported { services: Vec::new(), notes: std::mem::take(&mut sources.notes) };
    for route in &sources.routes {
        let mut writer = Writer { route, sources: &sources, notes: Vec::new() };
        imported.services.extend(writer.service());
        imported.notes.append(&mut writer.notes);
    }
    imported
}

/// One route on its way to a service.
struct Writer<'a> {
    route: &'a WireRoute,
    sources: &'a Sources,
    notes: Vec<Note>,
}

impl Writer<'_> {
    fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let object = self.route.reference();
        self.notes.push(Note { object, path: path.into(), message: message.into() });
    }

    /// `None` when the route is more than a GrpcService holds: half a route would be worse than none.
    fn service(&mut self) -> Option<GrpcService> {
        let rules = self.route.spec.rules.clone().unwrap_or_default();
        let mut pool = Pool::new(self.route.key().namespace.clone());
        let Rules { rules, reflection } = self.rules(&rules, &mut pool);
        let spec = GrpcServiceSpec {
            hostnames: self.route.spec.hostnames.clone().filter(|names| !names.is_empty()),
            gateways: self.gateways(),
            grants: grants::carried(&self.sources.grants, self.route.key(), &pool.own_services()),
            backends: pool.into_backends(),
            rules: Some(rules),
            reflection,
            ..GrpcServiceSpec::default()
        };
        if let Some(reason) = excess(&spec) {
            self.note("spec", format!("not imported: {reason}"));
            return None;
        }
        Some(self.named(spec))
    }

    fn named(&mut self, spec: GrpcServiceSpec) -> GrpcService {
        let NsName { namespace, name } = self.route.key().clone();
        let service = label(&name, NAME_LENGTH);
        let advice = if *service == *name {
            let scope = if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") };
            format!(
                "hand the route over before you apply the GrpcService: kubectl annotate grpcroute {name}{scope} \
                {ADOPT_ANNOTATION}={service}"
            )
        } else {
            format!(
                "the GrpcService is called {service}, and so will its route be: delete this one when the new one is \
                accepted"
            )
        };
        self.note("metadata.name", advice);
        if self.route.is_annotated() {
            self.note(
                "metadata.annotations",
                "annotations are not carried over: write those that the generated route \
            needs in spec.generatedMetadata.annotations",
            );
        }
        let mut made = GrpcService::new(&service, spec);
        made.metadata.namespace = (!namespace.is_empty()).then(|| namespace.to_string());
        let labels = self.route.metadata.labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        made.metadata.labels =
            Some(labels.collect()).filter(|labels: &std::collections::BTreeMap<_, _>| !labels.is_empty());
        made
    }

    fn gateways(&mut self) -> Option<Vec<GatewayEntry>> {
        let mut entries: Vec<GatewayEntry> = Vec::new();
        let parents = self.route.spec.parent_refs.clone().unwrap_or_default();
        for (at, parent) in parents.into_iter().enumerate() {
            let path = format!("spec.parentRefs[{at}]");
            if !is_gateway(&parent) {
                let kind = parent.kind.as_deref().unwrap_or_default();
                self.note(
                    path,
                    format!(
                        "a {kind} is no parent of a GrpcService, only a Gateway or ListenerSet is: the \
                reference is left out"
                    ),
                );
            } else if entries.len() == MOST_GATEWAYS {
                self.note(
                    path,
                    format!("a GrpcService refers to {MOST_GATEWAYS} Gateways at most: the reference is left out"),
                );
            } else {
                let name = entry_name(&parent, &entries);
                entries.push(GatewayEntry { name, own: None, ref_: Some(parent) });
            }
        }
        if entries.is_empty() {
            self.note(
                "spec.parentRefs",
                "the route names no Gateway: the service will attach to the platform's \
            default Gateway; write spec.gateways to choose another",
            );
        }
        Some(entries).filter(|entries| !entries.is_empty())
    }
}

/// Why a GRPCRoute does not fit into a GrpcService.
fn excess(spec: &GrpcServiceSpec) -> Option<String> {
    let rules = spec.rules.as_deref().unwrap_or_default();
    let matches: usize = rules.iter().map(|rule| rule.matches.as_ref().map_or(1, Vec::len)).sum();
    if spec.backends.is_empty() {
        return Some(
            "no rule has a Service as its backend, and a GrpcService has at least one; delete the route, or \
        give it a backend"
                .into(),
        );
    }
    let lists = [
        ("rules", rules.len(), MOST_RULES),
        ("matches", matches, MOST_MATCHES),
        ("backends", spec.backends.len(), MOST_BACKENDS),
    ];
    let (what, number, most) = lists.into_iter().find(|(_, number, most)| number > most)?;
    Some(format!("{number} {what}, and a GrpcService has {most} at most: split the route"))
}

fn is_gateway(parent: &GrpcRouteParentRefs) -> bool {
    let group = parent.group.as_deref().unwrap_or(crate::key::GATEWAY_GROUP);
    let kind = parent.kind.as_deref().unwrap_or(Kind::Gateway.name());
    matches!(Kind::named(group, kind), Some(Kind::Gateway | Kind::ListenerSet))
}

/// After the Gateway, and where several entries are on one, after the listener.
fn entry_name(parent: &GrpcRouteParentRefs, entries: &[GatewayEntry]) -> String {
    let section = parent.section_name.as_ref().map(|section| format!("{}-{section}", parent.name));
    let port = parent.port.map(|port| format!("{}-{port}", parent.name));
    let wanted = [Some(parent.name.clone()), section, port].into_iter().flatten();
    fresh(wanted, |name| entries.iter().any(|entry| entry.name == name))
}

/// The first of the wanted names, made a label, that is not taken; else the first with a number.
fn fresh(wanted: impl IntoIterator<Item = String>, taken: impl Fn(&str) -> bool) -> String {
    let labels: Vec<String> = wanted.into_iter().map(|name| label(&name, LABEL_LENGTH)).collect();
    let stem = labels.first().cloned().unwrap_or_default();
    let numbered = (2_usize..).map(|number| format!("{}-{number}", label(&stem, LABEL_LENGTH - 4)));
    labels.into_iter().chain(numbered).find(|name| !taken(name)).unwrap_or(stem)
}

/// A DNS label out of a DNS subdomain.
fn label(name: &str, length: usize) -> String {
    let dashed: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .take(length)
        .collect();
    dashed.trim_matches('-').to_owned()
}

/// Rules as they are written, for what the type does not hold.
fn unknown_fields(rule: &Value) -> Vec<&String> {
    const KNOWN: [&str; 4] = ["name", "matches", "filters", "backendRefs"];
    rule.as_object()
        .into_iter()
        .flat_map(|fields| fields.keys())
        .filter(|name| !KNOWN.contains(&name.as_str()))
        .collect()
}

/// A rule of a route with its place in the list.
#[derive(Clone, Copy)]
struct Numbered<'a> {
    at: usize,
    rule: &'a GrpcRouteRules,
}
