//! Protobuf values that every message needs, in one word each.
//!
//! Rust values → wrappers, durations, `Any`s and ADS sources

use envoy_types::pb::{
    envoy::config::core::v3::{
        AggregatedConfigSource, ApiVersion, ConfigSource, DataSource, RuntimeFractionalPercent, SocketAddress, address,
        config_source, data_source::Specifier, socket_address,
    },
    envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
    google::protobuf::{Any, BoolValue, Duration, UInt32Value},
};
use prost::{Message, Name};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub(crate) fn any<T: Message + Name>(message: &T) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", T::full_name()), value: message.encode_to_vec() }
}

#[allow(clippy::unnecessary_wraps, reason = "every field of this type is optional")]
pub(crate) fn count(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

#[allow(clippy::unnecessary_wraps, reason = "every field of this type is optional")]
pub(crate) fn yes() -> Option<BoolValue> {
    Some(BoolValue { value: true })
}

/// Durations beyond what the format holds (68 years) saturate.
#[allow(clippy::unnecessary_wraps, reason = "every field of this type is optional")]
pub(crate) fn duration(value: std::time::Duration) -> Option<Duration> {
    let seconds = i64::try_from(value.as_secs()).unwrap_or(i64::MAX).min(i64::from(i32::MAX));
    let nanos = i32::try_from(value.subsec_nanos()).unwrap_or(0);
    Some(Duration { seconds, nanos })
}

pub(crate) fn seconds(value: u64) -> Option<Duration> {
    duration(std::time::Duration::from_secs(value))
}

pub(crate) fn parts_per_million(numerator: u32) -> RuntimeFractionalPercent {
    let share = FractionalPercent { numerator, denominator: DenominatorType::Million.into() };
    RuntimeFractionalPercent { default_value: Some(share), ..Default::default() }
}

pub(crate) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        ..Default::default()
    }
}

pub(crate) fn text(value: impl Into<String>) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineString(value.into())), ..Default::default() }
}

pub(crate) fn address(value: SocketAddr) -> envoy_types::pb::envoy::config::core::v3::Address {
    let socket = SocketAddress {
        address: value.ip().to_string(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(value.port().into())),
        // `::` is every address of both families.
        ipv4_compat: value.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED),
        ..Default::default()
    };
    envoy_types::pb::envoy::config::core::v3::Address { address: Some(address::Address::SocketAddress(socket)) }
}
