//! The delta ADS state machine of one control plane: what a proxy should have, and what to send so that it gets there.
//!
//! [`Resource`]s → [`Snapshot`] (one a revision, shared by all proxies) → [`Session`] (one a stream) → [`Response`]s and [`Event`]s
//!
//! **Invariant:** a session never sends a resource before the clusters that it `requires` are warm on that stream, and never
//! removes a resource that a form which the proxy still holds `requires`.
//! **Invariant:** the same inputs give the same outputs; nothing here reads a clock, an environment or a random source.
//!
//! Must not know: Kubernetes, Gateway API, protobuf messages, sockets. Of Envoy it knows the order of types and the naming of
//! virtual hosts (`<route configuration>/<hostname>`), nothing else.

mod message;
mod resource;
mod session;
mod snapshot;

pub use message::{Event, Input, Output, Request, Response};
pub use resource::{Id, Name, PerType, Resource, ResourceType, UnknownType, Version};
pub use session::{Config, Session};
pub use snapshot::{Edit, Snapshot, Table};
