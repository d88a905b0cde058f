//! Who is served, and for how long.
//!
//! what a connection proved → [`Pass`]
//!
//! Must not know: what is served.

use futures::{
    FutureExt as _,
    future::{BoxFuture, pending},
};
use http::Extensions;
use sluice_core::key::NsName;
use tonic::Status;

/// Stands before every stream, of every method.
pub(crate) trait Gate: Send + Sync + 'static {
    /// Lets a stream of a connection in.
    ///
    /// # Errors
    /// What the client is told instead.
    fn open(&self, connection: &Extensions) -> Result<Pass, Status>;
}

/// What a stream may have.
pub(crate) struct Pass {
    /// The one Gateway; `None`: any.
    pub(crate) gateway: Option<NsName>,
    /// Ends when the stream has to, with what its client is told.
    pub(crate) lapse: BoxFuture<'static, Status>,
}

/// Lets everybody in: for sockets that nobody else can reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open;

impl Gate for Open {
    fn open(&self, _: &Extensions) -> Result<Pass, Status> {
        Ok(Pass { gateway: None, lapse: pending().boxed() })
    }
}
