//! The `sluice` binary.
mod local;
fn main() {}
