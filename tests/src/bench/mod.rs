//! What benchmarks are made of: a real API server and a real Envoy around a controller that is only looked at from outside.
//!
//! a controller's process ids, GatewayClass and discovery service → figures, each beside the floor that was measured in the same run
//!
//! **Invariant:** nothing is read from the controller but what any other one has too: its writes, its stream, its CPU and memory.
//! **Invariant:** a figure that misses its limit fails the run, unless a floor of the same run alone is above that limit.
//!
//! It must not know how the controller works.

pub mod audit;
pub mod child;
pub mod figure;
pub mod fleet;
mod frames;

pub mod meter;
pub mod minimal;
pub mod objects;
pub mod open_loop;
mod plot;
pub mod replay;
pub mod sample;
pub mod stand_in;
pub mod subject;
pub mod tap;
pub mod watcher;
pub mod writer;
