//! Operating in a cluster: watches instead of files, writes to the API server instead of a board, pods instead of children.
//!
//! watches → `sync` → the runtime's inputs; its effects → queues → writes to the API server
//!
//! **Invariant:** what the engine is told is what the API server stored, and nothing is written by a process that does not lead.
//! **Invariant:** no task waits for the API server while it holds up the engine: everything slow stands behind a queue.
//!
//! It must not know what objects mean.

mod admin;
mod apply;
mod backoff;
mod carry;
mod class;
pub(crate) mod cleanup;
pub(crate) mod crds;
mod drift;
mod events;
mod fail;
pub(crate) mod families;
mod front;
mod holds;
pub(crate) mod identity;
mod kinds;
mod known;
mod latest;
pub(crate) mod leadership;
pub(crate) mod lease;
mod memory;
mod metrics;
pub(crate) mod proxies;
pub(crate) mod run;
pub(crate) mod scope;
mod seats;
mod seen;
mod source;
mod status;
mod sync;
mod watch;
mod write;
mod writer;
