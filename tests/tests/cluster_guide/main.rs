//! The guide, walked in a real cluster with the commands that it prints, in both forms.
//!
//! The tests take turns: the guide's objects have the names that it gives them, in the namespace `default`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an integration test is all test, but clippy knows only the functions marked so"
)]

mod pitfalls;
mod scenarios;
mod walk;
