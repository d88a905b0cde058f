//! Networks as CIDRs.

use std::net::IpAddr;

/// Whether a network such as `192.0.2.0/24` holds an address. What is no network, or no address, holds and is held by nothing.
pub(crate) fn holds(network: &str, address: &str) -> bool {
    contains(network, address).unwrap_or(false)
}

fn contains(network: &str, address: &str) -> Option<bool> {
    let (base, length) = network.split_once('/')?;
    let ((base, size), (address, family), length) = (bits(base)?, bits(address)?, length.parse::<u32>().ok()?);
    // A shift by all bits leaves nothing that could differ.
    let differs = (base ^ address).checked_shr(u128::BITS - length.min(u128::BITS)).unwrap_or(0) != 0;
    Some(size == family && length <= size && !differs)
}

/// The bits of an address from the first on, and how many there are.
fn bits(address: &str) -> Option<(u128, u32)> {
    Some(match address.parse().ok()? {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << (u128::BITS - u32::BITS), u32::BITS),
        IpAddr::V6(address) => (address.to_bits(), u128::BITS),
    })
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn an_address_is_in_a_network_of_its_family_with_the_same_beginning() {
        for (network, address, expected) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.7/32", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            ("192.0.2.99/25", "192.0.2.1", true),
            ("0.0.0.0/0", "10.0.0.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("192.0.2.0/33", "192.0.2.0", false),
            ("::/129", "::", false),
            ("192.0.2.0", "192.0.2.0", false),
            ("192.0.2.0/24", "name.example.com", false),
        ] {
            assert_eq!(holds(network, address), expected, "{address} in {network}");
        }
    }
}
