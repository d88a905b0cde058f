//! Local mode: manifests on disk instead of an API server, Envoy as a child instead of a Deployment.
//!
//! files → `store` (admission, identities) → the runtime's inputs; its effects → `operate` → ports, proxies, board
//!
//! **Invariant:** the engine cannot tell local mode from a cluster: it gets the objects that an API server would have stored.
//!
//! It must not know what objects mean beyond their schemas.

pub(crate) mod admission;
mod board;
pub(crate) mod endpoints;
mod envoy;
pub(crate) mod files;
pub(crate) mod finding;
mod identity;
pub(crate) mod manifest;
mod operate;
pub(crate) mod ports;
mod refusals;
pub(crate) mod run;
pub(crate) mod screen;
mod state;
pub(crate) mod store;
pub(crate) mod summary;
