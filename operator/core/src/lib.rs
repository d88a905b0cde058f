//! The pure core of Sluice: what the objects of a cluster mean for gRPC traffic.
//!
//! [`world::World`] (trimmed objects, clock, proxies' answers) → `author` (level 1: objects to write),
//! `translate` (level 2: [`ir`]), `status` (conditions) and `lint` (traps).
//!
//! **Invariant:** every function is a function of its arguments; the same world gives the same output, byte for byte.
//! **Invariant:** translation never fails: it returns what can be served and the problems beside it.
//! **Invariant:** the world is read through [`world::Reader`] only, which records what was read, absence included.
//!
//! Knows nothing of Envoy's protobuf, of xDS, of a Kubernetes client, of files or of time other than as data.

pub mod author;
pub mod duration;
pub mod explain;
pub mod hostname;
pub mod ir;
pub mod key;
pub mod lint;
mod network;
pub mod status;
pub mod translate;
pub mod world;
