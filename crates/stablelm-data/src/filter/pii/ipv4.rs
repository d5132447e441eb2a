//! Finds what datatrove's regular expression for IPv4 addresses matches, and which are public.

use std::net::Ipv4Addr;
use std::ops::Range;

use memchr::memchr;

/// The first match at or after `from` that is an address, and one of the public internet where
/// `only_public` asks for that. What matches and is none of these is passed as a whole.
pub(super) fn find(text: &str, from: usize, only_public: bool) -> Option<Range<usize>> {
    let mut from = from;
    while let Some(found) = find_match(text.as_bytes(), from) {
        // Numbers with leading zeros match, and are no address, as for Python's `ipaddress`.
        let address = text[found.clone()].parse();
        if address.is_ok_and(|address| !only_public || is_global(address)) {
            return Some(found);
        }
        from = found.end;
    }
    None
}

fn find_match(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let mut next = from;
    // A match is found from its first dot, of which there are fewer than digits.
    while let Some(dot) = memchr(b'.', &bytes[next..]) {
        let dot = next + dot;
        for start in from.max(dot.saturating_sub(3))..dot {
            if octet_len(&bytes[start..dot]) == Some(dot - start)
                && let Some(len) = rest_len(&bytes[dot + 1..])
            {
                return Some(start..dot + 1 + len);
            }
        }
        next = dot + 1;
    }
    None
}

/// The length of the three numbers after the first dot.
fn rest_len(bytes: &[u8]) -> Option<usize> {
    let second = leading_octet(bytes)? + 1;
    let third = leading_octet(&bytes[second..])? + 1;
    let last = octet_len(&bytes[second + third..])?;
    Some(second + third + last)
}

/// The length of a number with a dot after it.
pub(super) fn leading_octet(bytes: &[u8]) -> Option<usize> {
    let len = bytes.iter().take(4).position(|&byte| byte == b'.')?;
    (octet_len(&bytes[..len]) == Some(len)).then_some(len)
}

/// How many digits `25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?` takes.
pub(super) fn octet_len(bytes: &[u8]) -> Option<usize> {
    let digits = bytes
        .iter()
        .take(3)
        .take_while(|byte| byte.is_ascii_digit());
    match digits.count() {
        0 => None,
        3 if &bytes[..3] > b"255".as_slice() => Some(2),
        len => Some(len),
    }
}

/// Whether the IANA IPv4 Special-Purpose Address Registry lets `address` be reached from everywhere,
/// which is `ipaddress.is_global` of Python 3.13. Older ones take most of 192.0.0.0/24 for public.
fn is_global(address: Ipv4Addr) -> bool {
    const NOT_GLOBAL: [(Ipv4Addr, u32); 14] = [
        (Ipv4Addr::UNSPECIFIED, 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(240, 0, 0, 0), 4),
        (Ipv4Addr::BROADCAST, 32),
    ];
    // Port Control Protocol and TURN anycast.
    let exceptions = [Ipv4Addr::new(192, 0, 0, 9), Ipv4Addr::new(192, 0, 0, 10)];
    let is_in = |&(network, len): &(Ipv4Addr, u32)| {
        let differing = address.to_bits() ^ network.to_bits();
        differing >> (32 - len) == 0
    };
    exceptions.contains(&address) || !NOT_GLOBAL.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_those_of_the_expression() {
        fn check(text: &str, expected: Option<&str>) {
            let found = find_match(text.as_bytes(), 0).map(|at| &text[at]);
            assert_eq!(found, expected, "{text:?}");
        }
        check("", None);
        check("1.2.3", None);
        check("1.2.3.", None);
        check("1.2.3.4", Some("1.2.3.4"));
        check("at 01.2.3.4.5", Some("01.2.3.4"));
        check("1234.5.6.7", Some("234.5.6.7"));
        check("1256.5.6.7", Some("56.5.6.7"));
        check("256.5.6.7", Some("56.5.6.7"));
        check("1.2.3.256", Some("1.2.3.25"));
        check("1.2.3.1999", Some("1.2.3.199"));
        check("1.2.300.1", None);
        check("1.2.3000.1.2.3", Some("000.1.2.3"));
        check("1..2.3.4", None);
        check("0.1.22.333.4.5.6", Some("0.1.22.33"));
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_found() {
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(
                find(text, 0, true).map(|at| &text[at]),
                expected,
                "{text:?}"
            );
        }
        check("8.8.8.8", Some("8.8.8.8"));
        check("10.1.2.3 then 11.1.2.3", Some("11.1.2.3"));
        check("08.8.8.8", None);
        check(
            "100.64.0.0 100.127.255.255 100.128.0.0",
            Some("100.128.0.0"),
        );
        check(
            "127.0.0.1 169.254.1.1 172.31.0.1 172.32.0.1",
            Some("172.32.0.1"),
        );
        check("192.0.0.8 192.0.0.9", Some("192.0.0.9"));
        check(
            "192.0.2.1 192.168.0.1 198.19.0.1 198.20.0.1",
            Some("198.20.0.1"),
        );
        check("198.51.100.1 203.0.113.1 240.0.0.1 255.255.255.255", None);
        check("224.0.0.1", Some("224.0.0.1"));
        assert_eq!(find("10.0.0.1", 0, false), Some(0..8));
    }
}
