//! [`Subnet`]: addresses that share their first bits, as in `10.0.0.0/8`.
//!
//! Invariant: an IPv4 address is the same address when it comes in its IPv6 form (`::ffff:10.0.0.1`).

use std::fmt;
use std::net::IpAddr;

/// Some network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    bits: u32,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubnetError {
    /// It is no address with a length.
    Form,
    /// There are addresses bits behind the length.
    Host,
}

impl Subnet {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or an address alone.
    ///
    /// # Errors
    /// It is no network, or names an address within one.
    pub fn parse(text: &str) -> Result<Self, SubnetError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| SubnetError::Form)?;
        let (address, most) = (address.to_canonical(), width(address.to_canonical()));
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most));
        let subnet = Self { address, bits: bits.ok_or(SubnetError::Form)? };
        // Whoever writes 10.1.2.3/8 may mean one machine or a million: better ask.
        if number(address) == number(address) & subnet.mask() { Ok(subnet) } else { Err(SubnetError::Host) }
    }

    /// Whether `address` is one of it.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.address) && number(address) & self.mask() == number(self.address)
    }

    fn mask(&self) -> u128 {
        let rest = width(self.address) - self.bits;
        u128::MAX.checked_shl(rest).unwrap_or(0)
    }
}

/// How many bits an address has.
const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

impl fmt::Display for SubnetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Form => "is no network such as 10.0.0.0/8 or 2001:db8::/32",
            Self::Host => "has bits behind its length; an address alone is ADDRESS/32, or /128",
        })
    }
}

impl std::error::Error for SubnetError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (subnet, address, expect) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "a00::", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("::1", "::1", true),
        ] {
            assert_eq!(Subnet::parse(subnet).unwrap().holds(address.parse().unwrap()), expect, "{subnet} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for (text, error) in [
            ("", SubnetError::Form),
            ("10.0.0.0/33", SubnetError::Form),
            ("10.0.0/8", SubnetError::Form),
            ("10.0.0.0/", SubnetError::Form),
            ("example.com", SubnetError::Form),
            ("10.0.0.1/8", SubnetError::Host),
            ("2001:db8::1/64", SubnetError::Host),
        ] {
            assert_eq!(Subnet::parse(text), Err(error), "{text}");
        }
    }
}
