//! Envoy's side of Sluice: from the intermediate representation to the messages that Envoy reads.
//!
//! [`sluice_core::ir`] → [`encode`] → [`sluice_xds::Resource`]; [`bootstrap`] and [`json`] show the rest of the same configuration;
//! a line that Envoy writes → [`refusal`].
//!
//! **Invariant:** a version is a hash of the ir and of [`encode::ENCODER`], never of bytes: envoy-types keeps maps in hash order,
//! so that equal messages have many encodings.
//! **Invariant:** no edit of a route, label or certificate reaches a listener's bytes.
//!
//! Must not know: Kubernetes objects, who receives what, which revision it is.

pub mod bootstrap;
pub mod encode;
pub mod json;
pub mod refusal;
mod wire;
