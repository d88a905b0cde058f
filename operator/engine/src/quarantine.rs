//! What the proxies refused.

/// Refusals. Part of [`crate::State`], so that a recomputation from scratch sees them.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {}
