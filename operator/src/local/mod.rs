//! Local mode: manifests on disk instead of an API server, Envoy as a child instead of a Deployment.
#![allow(dead_code, unreachable_pub)]
pub mod finding;
pub mod manifest;
