//! `sluice local` with a real Envoy, called by real clients.

mod expressions;
mod guide;
mod http;
mod matching;
mod mistakes;
mod reconnect;
mod refusal;
mod replies;
mod restart;
mod rotation;
mod rules;
mod service;
mod specification;
mod tls;
