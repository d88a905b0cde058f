//! Who is let in to the control plane, and until when.
//!
//! the certificate that a connection showed, who leads, and who is in already → [`Pass`]
//!
//! Must not know: how the certificate was checked.

use super::{Validity, leaf};
use crate::{
    cluster::{leadership::Leadership, seats::Seats},
    serve::{Gate, Pass},
};
use chrono::Utc;
use futures::FutureExt;
use http::Extensions;
use sluice_core::key::NsName;
use std::time::Duration;
use tokio::time::sleep;
use tonic::{
    Status,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

/// Lets in proxies that hold a certificate, for their own Gateway, as long as that is valid and this replica leads; not more of them
/// than there are seats.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    leadership: Leadership,
    seats: Seats,
}

impl Guard {
    /// A guard of the replica that may or may not lead.
    pub(crate) fn new(leadership: Leadership, seats: Seats) -> Self {
        Self { leadership, seats }
    }
}

impl Gate for Guard {
    fn open(&self, connection: &Extensions) -> Result<Pass, Status> {
        if !self.leadership.leads() {
            return Err(standby());
        }
        let shown = connection.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        let certificate = shown.as_ref().and_then(|chain| chain.first());
        let stranger = || Status::unauthenticated("the client's certificate names no Gateway");
        let certificate = certificate.ok_or_else(stranger)?;
        let gateway = leaf::gateway(certificate).ok_or_else(stranger)?;
        let left = leaf::validity(certificate).map(left).ok_or_else(stranger)?;
        if left.is_zero() {
            return Err(expired());
        }
        let seat = self.seats.take(&gateway).ok_or_else(|| crowded(&gateway))?;
        let leadership = self.leadership.clone();
        let lapse = async move {
            let told = tokio::select! {
                () = leadership.lost() => standby(),
                () = sleep(left) => expired(),
            };
            // Taken for as long as somebody waits for this.
            drop(seat);
            told
        };
        Ok(Pass { gateway: Some(gateway), lapse: lapse.boxed() })
    }
}

fn left(validity: Validity) -> Duration {
    (validity.to - Utc::now()).to_std().unwrap_or_default()
}

fn standby() -> Status {
    Status::unavailable("this replica does not lead: connect again to reach the one that does")
}

fn crowded(gateway: &NsName) -> Status {
    tracing::warn!("Gateway {gateway} has more streams than its pods can need: one more was refused");
    Status::resource_exhausted(format!("Gateway {gateway} has too many streams: end some before you connect again"))
}

fn expired() -> Status {
    Status::unauthenticated("the client's certificate has expired: connect again with a new one")
}
