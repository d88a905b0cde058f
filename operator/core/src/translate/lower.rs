//! One route, whatever its kind: what it asks for, where, and what is wrong with it.
//!
//! a route and what it refers to → [`Lowered`]

use super::Lowered;
use crate::{key::Ref, world::Reader};

/// What becomes of a route; `None` if there is no such route.
pub fn lower(route: &Ref, read: &Reader<'_>) -> Option<Lowered> {
    read.route(route).map(|_| Lowered {
        attachments: Vec::new(),
        routes: Vec::new(),
        clusters: Vec::new(),
        problems: Vec::new(),
    })
}
