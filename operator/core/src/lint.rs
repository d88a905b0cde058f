//! Traps: what is valid and accepted, and still does not do what it looks like.
//!
//! [`World`] → [`Finding`]s
//!
//! **Invariant:** a finding says what happens to whose calls, and what to write instead.
//! **Invariant:** what a status already says is not said again: a trap is what no condition tells.
//!
//! Knows nothing of files: a finding names an object and a field. Costs O(routes · listeners): for offline commands.

mod backends;
mod certificates;
mod routes;

use crate::{
    key::{Kind, Ref},
    world::World,
};

/// One trap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The object to change.
    pub object: Ref,
    /// The field, such as `spec.rules[2]`.
    pub path: String,
    /// What, and what to do.
    pub message: String,
}

impl Finding {
    fn new(object: Ref, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { object, path: path.into(), message: message.into() }
    }
}

/// All traps of a world, by object and field, each once.
pub fn lint(world: &World) -> Vec<Finding> {
    let mut findings = backends::overlaps(world);
    findings.extend(world.routes().iter().flat_map(|(reference, route)| routes::traps(reference, route)));
    findings.extend(certificates::gaps(world));
    findings.sort();
    findings.dedup();
    findings
}

/// Whether a GrpcService wrote the object: then the service's own status speaks of its rules.
fn is_generated(meta: &crate::world::meta::Meta) -> bool {
    meta.controller.as_ref().is_some_and(|owner| &*owner.kind == Kind::GrpcService.name())
}

#[cfg(test)]
mod tests;
