//! What Sluice believes of Envoy, each belief a test against the real binary.
//!
//! When the pinned Envoy moves, these say what moved with it. Some beliefs are of mishaps: a test that fails because Envoy no longer
//! does the wrong thing tells which precaution is no longer needed.

mod chains;
mod clusters;
mod forms;
mod listeners;
mod managers;
mod port;
mod refusals;
mod replies;
mod requests;
mod vhds;
