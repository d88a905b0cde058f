//! One xDS resource and how it is named.
//!
//! kind + name + version + bytes → [`Resource`]
//!
//! **Invariant:** a resource never changes; another form is another `Arc` with another [`Version`].
//!
//! Must not know: which resources exist together (that is a snapshot), who has them (that is a session).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// The name of a resource, shared between snapshots and sessions.
pub type Name = Arc<str>;

/// The kinds of resources that a proxy is given, in the order in which they go on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `Cluster` (CDS).
    Cluster,
    /// `ClusterLoadAssignment` (EDS).
    Assignment,
    /// `Secret` (SDS).
    Secret,
    /// `Listener` (LDS).
    Listener,
    /// `TypedExtensionConfig` (ECDS).
    ExtensionConfig,
    /// `RouteConfiguration` (RDS).
    RouteConfiguration,
    /// `VirtualHost` (VHDS).
    VirtualHost,
}

/// A type URL that is none of [`ResourceType::ALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownType(pub String);

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no resource type has the URL {:?}", self.0)
    }
}

impl std::error::Error for UnknownType {}

impl ResourceType {
    /// Every type, in wire order.
    pub const ALL: [Self; 7] = [
        Self::Cluster,
        Self::Assignment,
        Self::Secret,
        Self::Listener,
        Self::ExtensionConfig,
        Self::RouteConfiguration,
        Self::VirtualHost,
    ];

    /// The type URL of the v3 API.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Assignment => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }

    /// The type with this URL.
    pub fn from_type_url(url: &str) -> Result<Self, UnknownType> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url).ok_or_else(|| UnknownType(url.to_owned()))
    }

    /// An empty first subscription to these types means everything. Envoy asks so for clusters, listeners and virtual hosts.
    pub(crate) const fn is_wildcard_by_default(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener | Self::VirtualHost)
    }

    /// Updates of these types never wait for an answer: a cluster warms only once they arrive.
    pub(crate) const fn is_leaf(self) -> bool {
        matches!(self, Self::Assignment | Self::Secret)
    }

    /// Envoy applies the good part of a refused response of these types; of the others it applies nothing.
    pub(crate) const fn is_applied_in_part(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }

    /// Whether a form of this type whose content is unknown could name a resource of type `other`.
    pub(crate) const fn may_require(self, other: Self) -> bool {
        match self {
            Self::Cluster => matches!(other, Self::Assignment | Self::Secret),
            Self::Listener => !matches!(other, Self::Listener | Self::VirtualHost | Self::Assignment),
            Self::RouteConfiguration | Self::VirtualHost => matches!(other, Self::Cluster),
            Self::ExtensionConfig => matches!(other, Self::Cluster | Self::Secret),
            Self::Assignment | Self::Secret => false,
        }
    }

    const fn short(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Assignment => "assignment",
            Self::Secret => "secret",
            Self::Listener => "listener",
            Self::ExtensionConfig => "extension",
            Self::RouteConfiguration => "route-configuration",
            Self::VirtualHost => "virtual-host",
        }
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Which resource: its type and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The type.
    pub kind: ResourceType,
    /// The name, unique in the type.
    pub name: Name,
}

impl Id {
    /// The resource of this type with this name.
    pub fn new(kind: ResourceType, name: impl Into<Name>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// The hash of what a resource means. Equal versions of one name are the same resource, on every replica and after a restart.
///
/// On the wire it is eleven URL-safe characters: a reconnecting proxy repeats the version of everything it has in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const WIRE_LENGTH: u32 = 11;

impl Version {
    /// Reads the wire form. `None` for anything that [`fmt::Display`] does not write, such as another control plane's versions.
    pub fn parse(text: &str) -> Option<Self> {
        let mut value = 0_u128;
        for byte in text.bytes() {
            value = value << 6 | u128::try_from(DIGITS.iter().position(|digit| *digit == byte)?).ok()?;
            if value > u128::from(u64::MAX) {
                return None;
            }
        }
        let length_fits = text.len() == usize::try_from(WIRE_LENGTH).ok()?;
        u64::try_from(value).ok().filter(|_| length_fits).map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for position in (0..WIRE_LENGTH).rev() {
            let digit = usize::try_from(self.0 >> (6 * position) & 63).unwrap_or_default();
            write!(f, "{}", char::from(DIGITS.get(digit).copied().unwrap_or(b'A')))?;
        }
        Ok(())
    }
}

/// One resource in one form, encoded once and shared by all proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its type and name.
    pub id: Id,
    /// The hash of its meaning.
    pub version: Version,
    /// The protobuf message of the resource itself: the value of the `Any` on the wire.
    pub bytes: Bytes,
    /// What must be with the proxy for this form to work. Clusters named here are waited for; all are kept while it is held.
    pub requires: Box<[Id]>,
}

/// One `T` for each type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerType<T> {
    cluster: T,
    assignment: T,
    secret: T,
    listener: T,
    extension: T,
    route_configuration: T,
    virtual_host: T,
}

impl<T> PerType<T> {
    /// That of `kind`.
    pub const fn get(&self, kind: ResourceType) -> &T {
        match kind {
            ResourceType::Cluster => &self.cluster,
            ResourceType::Assignment => &self.assignment,
            ResourceType::Secret => &self.secret,
            ResourceType::Listener => &self.listener,
            ResourceType::ExtensionConfig => &self.extension,
            ResourceType::RouteConfiguration => &self.route_configuration,
            ResourceType::VirtualHost => &self.virtual_host,
        }
    }

    /// That of `kind`, to change.
    pub const fn get_mut(&mut self, kind: ResourceType) -> &mut T {
        match kind {
            ResourceType::Cluster => &mut self.cluster,
            ResourceType::Assignment => &mut self.assignment,
            ResourceType::Secret => &mut self.secret,
            ResourceType::Listener => &mut self.listener,
            ResourceType::ExtensionConfig => &mut self.extension,
            ResourceType::RouteConfiguration => &mut self.route_configuration,
            ResourceType::VirtualHost => &mut self.virtual_host,
        }
    }

    /// All of them, in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceType, &T)> {
        ResourceType::ALL.into_iter().map(|kind| (kind, self.get(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_url() {
        for kind in ResourceType::ALL {
            assert_eq!(ResourceType::from_type_url(kind.type_url()), Ok(kind));
        }
        assert!(ResourceType::from_type_url("type.googleapis.com/envoy.config.route.v3.Unknown").is_err());
    }

    #[test]
    fn a_version_is_eleven_url_safe_characters_and_parses_back() {
        for value in [0, 1, 63, 64, u64::MAX / 3, u64::MAX] {
            let text = Version(value).to_string();
            assert_eq!(text.len(), 11);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
            assert_eq!(Version::parse(&text), Some(Version(value)));
        }
    }

    #[test]
    fn a_foreign_version_does_not_parse() {
        for text in ["", "1", "AAAAAAAAAA", "AAAAAAAAAAAA", "___________", "AAAAA+AAAAA", "AAAAAAAAAA\u{e9}"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn wire_order_is_the_order_of_the_types() {
        assert!(ResourceType::ALL.is_sorted());
    }
}
