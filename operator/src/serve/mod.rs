//! The servers: thin shells around pure state.
//!
//! sockets ↔ [`sluice_xds::Session`]s, snapshots and statuses
//!
//! **Invariant:** no decision is taken here: what to send and when is the session's, what to serve is the engine's.
//! **Invariant:** no stream, of whatever method, is read or answered that the [`Gate`] has not let in.
//!
//! Must not know: what a resource means.

pub(crate) mod admin;
mod ads;
mod directory;
mod frames;
mod gate;
mod wire;

pub(crate) use ads::{Ads, LINGER, News, Report};
pub(crate) use directory::Directory;
pub(crate) use gate::{Gate, Open, Pass};
