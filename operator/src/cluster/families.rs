//! The families of the addresses that pods have: those of the operator's own, as all pods of a cluster have the same.
//!
//! `status.podIPs` → where proxies bind
//!
//! Source: Kubernetes, IPv4/IPv6 dual-stack.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Families {
    /// IPv4 alone.
    #[default]
    Four,
    /// IPv6 alone.
    Six,
    /// Both: dual stack.
    Both,
}

impl Families {
    /// Those of these addresses; without any, IPv4.
    pub(crate) fn of(addresses: &[IpAddr]) -> Self {
        match (addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6)) {
            (true, true) => Self::Both,
            (false, true) => Self::Six,
            (_, false) => Self::Four,
        }
    }

    /// What stands for every address. `::` takes IPv4, too, but not where the kernel has no IPv6.
    pub(crate) fn everywhere(self) -> IpAddr {
        match self {
            Self::Four => Ipv4Addr::UNSPECIFIED.into(),
            Self::Six | Self::Both => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Families;
    use std::net::IpAddr;

    #[test]
    fn proxies_bind_in_every_family_that_pods_have() {
        let cases = [
            ("", Families::Four, "0.0.0.0"),
            ("10.0.0.1", Families::Four, "0.0.0.0"),
            ("fd00::1", Families::Six, "::"),
            ("10.0.0.1,fd00::1", Families::Both, "::"),
        ];
        for (addresses, families, everywhere) in cases {
            let addresses: Vec<IpAddr> = addresses.split_terminator(',').map(|text| text.parse().unwrap()).collect();
            assert_eq!(Families::of(&addresses), families);
            assert_eq!(families.everywhere().to_string(), everywhere);
        }
    }
}
