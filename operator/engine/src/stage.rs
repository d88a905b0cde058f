//! The memoised stages: each file holds what one stage remembers, and how it moves when its inputs did.
//!
//! Stale [`crate::deps::Task`]s → new values, and what they make stale in turn.
//!
//! **Invariant:** a stage that evaluates to what it had before makes nothing else stale.
//! **Invariant:** what a stage costs is said where it loops over more than what moved.
//!
//! Knows the core's functions by name, and nothing of what they do.

mod author;
mod backend;
mod departure;
mod gateway;
mod host;
mod infrastructure;
mod observe;
mod route;
mod status;
mod trial;

pub(crate) use author::Authors;
pub(crate) use backend::{Backends, Certificates, material, trusted};
pub(crate) use departure::Departures;
pub(crate) use gateway::Gateways;
pub(crate) use host::{Hosts, named};
pub(crate) use infrastructure::Deployed;
pub(crate) use route::Routes;
pub(crate) use status::Statuses;
pub(crate) use trial::Trials;
