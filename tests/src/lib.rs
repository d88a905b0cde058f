//! What the suites share: real servers as children of a test, and nothing that judges their answers.
//!
//! paths of binaries → running servers
//!
//! **Invariant:** no server outlives the test that started it, however that test ends.
//!
//! It must not know what is expected of them.

pub mod api_server;
pub mod audit;
pub mod bench;
pub mod calls;
pub mod child;
pub mod cluster;
pub mod echoes;
pub mod envoy;
pub mod golden;
pub mod load;
pub mod local;
pub mod manifests;
pub mod offline;
pub mod operator;
pub mod recorder;
pub mod relay;
pub mod stage;
pub mod wire;
