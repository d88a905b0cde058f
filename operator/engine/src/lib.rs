//! Incremental recomputation: the only room that knows what has to be evaluated again, and the one writer of all state.
//!
//! [`Input`]s → [`Engine::step`] → [`Effects`]
//!
//! **Invariant:** after any sequence of inputs, what the engine holds equals [`scratch`] of its [`State`].
//! **Invariant:** every snapshot is closed: whatever a resource requires is in the same snapshot.
//! **Invariant:** effects are relative to the step before: nothing is said twice.
//! **Invariant:** a step costs what moved, times log n; a loop over more says its bound.
//!
//! Knows nothing of sockets, clocks, files, of a Kubernetes client, and of what the core's functions mean.

mod blame;
mod claims;
mod deps;
mod dirty;
mod effects;
mod engine;
mod few;
mod fleet;
mod hash;
mod quarantine;
mod scratch;
mod stage;
mod state;

pub use dirty::Stage;
pub use effects::{Apply, Effects, Event, Hold, Input, ProxyEvent, Status, StatusUpdate};
pub use engine::{Engine, Evaluations};
pub use fleet::Fleet;
pub use quarantine::{Memory, Quarantine};
pub use scratch::{Output, hosts, scratch};
pub use sluice_core::author::WriteOutcome;
pub use state::{Settings, State};
