//! The proxies of each Gateway as objects of the cluster.
//!
//! [`Infrastructure`](sluice_core::translate::infrastructure::Infrastructure) → `render` → objects, kept as they are wanted
//!
//! **Invariant:** everything that is made for a Gateway is owned by it, so that the cluster removes what we cannot.
//! **Invariant:** what is made and what is removed is ours by label and owner; an object of the same name that is somebody else's stays.
//!
//! Must not know: what proxies serve.

mod addresses;
mod identity;
mod inventory;
mod keep;
mod names;
mod pods;
mod quantity;
mod reach;
mod render;
mod scale;

pub(in crate::cluster) use keep::{Keeper, Office};
pub(crate) use render::{RESERVED, Settings};
