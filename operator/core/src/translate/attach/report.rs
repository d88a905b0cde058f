//! What a plan found out, for the statuses.

/// Everything that the statuses of a Gateway and of its ListenerSets say, apart from counts of routes and from delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayReport {}
