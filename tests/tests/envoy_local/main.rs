//! `sluice local` with a real Envoy, called by real clients.

mod expressions;
mod matching;
mod mistakes;
mod refusal;
mod replies;
mod restart;
