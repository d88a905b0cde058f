//! A real Envoy, and a control plane for it that a test is the script of.
//!
//! hand-made messages, or a snapshot by way of a [`sluice_xds::Session`] → Envoy → what it answers, and where it listens
//!
//! **Invariant:** each test has an Envoy, a control plane and ports of its own; all of them end with it.
//! **Invariant:** nothing is sent to Envoy that the test, or the session, did not say.
//!
//! It must not know which answer is right.

mod plane;
mod pod;
mod proxy;
mod rig;
pub mod shapes;
mod stream;

pub use plane::Plane;
pub use pod::Pod;
pub use proxy::{CONTROL_PLANE, Proxy, validate};
pub use rig::{News, Rig, Served};
pub use stream::{Answer, Message, Stream, Typed};
