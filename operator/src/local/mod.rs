//! Local mode: manifests on disk instead of an API server, Envoy as a child instead of a Deployment.
#![allow(dead_code)]
pub(crate) mod admission;
pub(crate) mod endpoints;
pub(crate) mod files;
pub(crate) mod finding;
pub(crate) mod identity;
pub(crate) mod manifest;
pub(crate) mod state;
pub(crate) mod store;
