//! What the operator writes to a real API server, and what it leaves alone.
//!
//! Each test has a namespace of its own, with an operator that looks at nothing else: there are no controllers of Kubernetes,
//! no proxies and no other Gateway controllers than those that a test plays.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an integration test is all test, but clippy knows only the functions marked so"
)]

mod bundles;
mod front;
mod interrupted;
mod leaders;
mod objects;
mod proxies;
mod room;
mod statuses;
mod watches;
