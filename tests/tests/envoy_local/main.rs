//! `sluice local` with a real Envoy, called by real clients.

mod matching;
mod mistakes;
mod refusal;
mod replies;
mod restart;
