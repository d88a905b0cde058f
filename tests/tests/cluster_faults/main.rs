//! Faults under load: what breaks is the control plane, a backend or a proxy, and never the calls.
//!
//! One fault at a time; each test says which calls may fail, if any may.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an integration test is all test, but clippy knows only the functions marked so"
)]

mod changes;
mod control_plane;
mod crowd;
mod proxies;
mod stage;
