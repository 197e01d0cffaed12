//! Single values: durations, names, domain names, networks. Text in, value or what was expected out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::types::item::{NAME_BYTES_MAX, ServiceAddress};

/// The longest duration: more than any of them makes sense, and far below the end of the core's time line (584 years).
pub(super) const DURATION_MAX: Duration = Duration::from_secs(100 * YEAR_S);

const YEAR_S: u64 = 365 * DAY_S;
const DAY_S: u64 = 86_400;

/// What every duration looks like.
pub(super) const DURATION_FORM: &str = "a whole number with ms, s, m, h, d or y, like \"250ms\"";

/// The longest name that the kernel gives to an interface (`IFNAMSIZ` less the final zero).
const INTERFACE_BYTES_MAX: usize = 15;

/// Reads `250ms`, `3s`, `1m`, `2h`, `30d`, `1y`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_S * 1_000,
        "y" => YEAR_S * 1_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// Writes a duration in the greatest unit that keeps it whole.
pub(super) fn duration_text(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return String::from("0s");
    }
    let units = [("y", YEAR_S * 1_000), ("d", DAY_S * 1_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, size)| millis.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", millis / size),
        None => format!("{millis}ms"),
    }
}

/// A name that travels, stands in file names and in logs.
pub(super) fn name(text: &str) -> Result<(), String> {
    let expected = || format!("1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 . _ -, the first a letter or digit");
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    let sane = text.chars().all(|character| character.is_ascii_alphanumeric() || ".-_".contains(character));
    if starts_well && sane && text.len() <= NAME_BYTES_MAX { Ok(()) } else { Err(expected()) }
}

/// A word of the swarm: where a host stands or what it can do.
pub(super) fn word(text: &str) -> Result<(), String> {
    let sane = text.chars().all(|character| character.is_ascii_alphanumeric() || ".-_:/".contains(character));
    if sane && !text.is_empty() && text.len() <= NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(format!("1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 . _ - : /"))
    }
}

/// A name that an interface can have.
pub(super) fn interface(text: &str) -> Result<(), String> {
    let sane = text.chars().all(|character| character.is_ascii_graphic() && character != '/' && character != ':');
    if sane && !text.is_empty() && text.len() <= INTERFACE_BYTES_MAX && text != "." && text != ".." {
        Ok(())
    } else {
        Err(format!("the name of an interface, at most {INTERFACE_BYTES_MAX} characters"))
    }
}

/// An absolute domain name, in lower case.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let Some(relative) = text.strip_suffix('.') else {
        return Err(format!("an absolute name, with a dot at its end: \"{text}.\""));
    };
    let sane_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !relative.split('.').all(sane_label) {
        return Err(String::from("labels of 1 to 63 letters, digits and hyphens, with dots between them"));
    }
    // RFC 1035 §3.1: at most 255 bytes on the wire, of which one is the length of the first label and one the root.
    if text.len() > 254 {
        return Err(String::from("a name of at most 254 characters"));
    }
    Ok(text.to_ascii_lowercase())
}

/// `user@host`.
pub(super) fn mail(text: &str) -> Result<(), String> {
    let expected = || String::from("a mail address, like \"hostmaster@example.com\"");
    let Some((local, host)) = text.rsplit_once('@') else { return Err(expected()) };
    let sane_local =
        (1..=63).contains(&local.len()) && local.bytes().all(|byte| byte.is_ascii_graphic() && !b"@\"\\(),:;<>[]".contains(&byte));
    let host = if host.ends_with('.') { host.to_owned() } else { format!("{host}.") };
    if sane_local && domain(&host).is_ok() { Ok(()) } else { Err(expected()) }
}

/// Whether an address can belong to one host: what is wrong with it if not.
pub(super) fn host_address(address: IpAddr) -> Result<(), &'static str> {
    if address.is_unspecified() {
        return Err("stands for no address");
    }
    if address.is_loopback() {
        return Err("is a loopback address");
    }
    if address.is_multicast() {
        return Err("is a multicast address");
    }
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() => Err("is the broadcast address"),
        IpAddr::V4(_) => Ok(()),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err("is a link-local address, which means something else on each link"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err("is an IPv4 address in IPv6 form"),
        IpAddr::V6(_) => Ok(()),
    }
}

/// Whether an address can serve: what is wrong with it if not.
pub(super) fn service_address(service: ServiceAddress) -> Result<(), &'static str> {
    host_address(service.address)?;
    let Ok(network) = IpNet::new(service.address, service.prefix) else { return Err("has a prefix length beyond its family") };
    // RFC 3021 and RFC 6164: a prefix one bit short of the whole has no address for the network as such.
    if network.prefix_len() + 1 >= network.max_prefix_len() {
        return Ok(());
    }
    if network.network() == service.address {
        return Err("is the network itself, not a host in it");
    }
    if service.address.is_ipv4() && network.broadcast() == service.address {
        return Err("is the broadcast address of its network");
    }
    Ok(())
}

/// A network, or an address that stands for itself.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let parsed = if text.contains('/') { text.parse::<IpNet>().ok() } else { text.parse::<IpAddr>().ok().map(IpNet::from) };
    match parsed {
        Some(network) if network.trunc() == network => Ok(network),
        Some(network) => Err(format!("\"{}\", or an address without prefix length", network.trunc())),
        None => Err(String::from("a network or address, like \"192.0.2.0/24\"")),
    }
}

/// `ADDRESS[:PORT]`, `[ADDRESS]:PORT` or an IPv6 address alone.
pub(super) fn endpoint(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(|address: IpAddr| SocketAddr::new(address, port)).or_else(|_| text.parse()).ok()
}

/// `HOST:PORT` with a name or an address; IPv6 addresses stand in brackets.
pub(super) fn host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    port.parse::<u16>().is_ok_and(|port| port != 0) && is_host(host)
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let relative = host.strip_suffix('.').unwrap_or(host);
    domain(&format!("{relative}.")).is_ok()
}

/// `http://HOST[:PORT][/PATH]` or the same with `https`: what was expected if it is not.
pub(super) fn http_url(text: &str) -> Result<(), String> {
    let expected = || String::from("\"http://HOST[:PORT]/PATH\" or \"https://HOST[:PORT]/PATH\"");
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else { return Err(expected()) };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let sane = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('#');
    if sane && host_header(authority).is_ok() { Ok(()) } else { Err(expected()) }
}

/// `HOST` or `HOST:PORT`.
pub(super) fn host_header(text: &str) -> Result<(), String> {
    if is_host(text) || host_and_port(text) { Ok(()) } else { Err(String::from("\"HOST\" or \"HOST:PORT\"")) }
}

/// A domain name with or without its last dot, or an address.
pub(super) fn server_name(text: &str) -> Result<(), String> {
    let is_name = || domain(&format!("{}.", text.strip_suffix('.').unwrap_or(text))).is_ok();
    if text.parse::<IpAddr>().is_ok() || is_name() { Ok(()) } else { Err(String::from("a domain name or an address")) }
}

/// The name of a unit of systemd, with its suffix (systemd.unit(5)).
pub(super) fn unit(text: &str) -> Result<(), String> {
    const SUFFIXES: [&str; 11] = ["automount", "device", "mount", "path", "scope", "service", "slice", "socket", "swap", "target", "timer"];
    let sane = text.chars().all(|character| character.is_ascii_alphanumeric() || ":-_.\\@".contains(character));
    let has_suffix = text.rsplit_once('.').is_some_and(|(name, suffix)| !name.is_empty() && SUFFIXES.contains(&suffix));
    if sane && has_suffix && text.len() <= 255 { Ok(()) } else { Err(String::from("a unit with its suffix, like \"nginx.service\"")) }
}

/// `64MiB` or `0`, in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let unit: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    Some(u64::from(number.parse::<u32>().ok()?) * unit)
}

/// `1Gbit`: in kilobits.
pub(super) fn kilobits(text: &str) -> Option<u32> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let size = match unit.to_ascii_lowercase().as_str() {
        "kbit" => 1,
        "mbit" => 1_000,
        "gbit" => 1_000_000,
        "tbit" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(size).filter(|kilobits| *kilobits > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_in_every_unit() {
        for (text, millis) in
            [("250ms", 250), ("3s", 3_000), ("1m", 60_000), ("2h", 7_200_000), ("30d", 2_592_000_000), ("1y", 31_536_000_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        assert_eq!(duration_text(Duration::ZERO), "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", "-1s", "1.5s", "1 s", "1s ", "1w", "1S", "99999999999999999999s", "18446744073709551615y", "１s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn domain_names_are_absolute() {
        assert_eq!(domain("WWW.pool.example."), Ok("www.pool.example.".to_owned()));
        for text in ["www.pool.example", ".", "", "a..b.", "-a.example.", "a-.example.", "a b.example.", &format!("{}.", "a".repeat(64))] {
            assert!(domain(text).is_err(), "{text}");
        }
        let longest = format!("{}{}.", "a234567.".repeat(31), "b".repeat(5));
        assert_eq!(longest.len(), 254);
        assert!(domain(&longest).is_ok());
        assert!(domain(&format!("a{longest}")).is_err());
    }

    #[test]
    fn endpoints_may_leave_the_port_out() {
        for (text, expected) in [
            ("239.255.42.1", "239.255.42.1:4242"),
            ("239.255.42.1:7", "239.255.42.1:7"),
            ("ff15::1", "[ff15::1]:4242"),
            ("[ff15::1]", "[ff15::1]:4242"),
            ("[ff15::1]:7", "[ff15::1]:7"),
        ] {
            assert_eq!(endpoint(text, 4242), expected.parse().ok(), "{text}");
        }
        for text in ["", "239.255.42.1:", "239.255.42.1:x", "239.255.42.1:65536", "ff15::1]:7", "www:80"] {
            assert_eq!(endpoint(text, 4242), None, "{text}");
        }
    }

    #[test]
    fn urls_and_ports_name_a_host() {
        for text in ["http://127.0.0.1", "https://www/health", "http://[::1]:8080/x?y=1", "http://www.example.:80"] {
            assert!(http_url(text).is_ok(), "{text}");
        }
        for text in ["ftp://www/", "https://", "http://:80/", "http://www:0/", "http://a b/", "www", "http://u@www/"] {
            assert!(http_url(text).is_err(), "{text}");
        }
        assert!(host_and_port("db.example:5432") && host_and_port("[::1]:53"));
        assert!(!host_and_port("db.example") && !host_and_port("::1:53x") && !host_and_port(":53"));
    }

    #[test]
    fn a_rate_has_a_unit_and_fits() {
        for (text, kilobits) in
            [("1kbit", Some(1)), ("100Mbit", Some(100_000)), ("10gbit", Some(10_000_000)), ("4Tbit", Some(4_000_000_000))]
        {
            assert_eq!(super::kilobits(text), kilobits, "{text}");
        }
        for text in ["", "1", "Gbit", "0Gbit", "1.5Gbit", "1 Gbit", "5Tbit", "1GB", "-1kbit"] {
            assert_eq!(super::kilobits(text), None, "{text}");
        }
    }

    #[test]
    fn a_unit_has_a_suffix_that_systemd_knows() {
        for text in ["nginx.service", "getty@tty1.service", "dev-disk-by\\x2dlabel.swap", "a.b.timer"] {
            assert!(unit(text).is_ok(), "{text}");
        }
        for text in ["nginx", "nginx.servce", ".service", "a b.service", "a/b.service", &format!("{}.service", "a".repeat(255))] {
            assert!(unit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_of_a_network_as_such_cannot_serve() {
        for (text, fit) in [
            ("192.0.2.0/24", false),
            ("192.0.2.255/24", false),
            ("192.0.2.1/24", true),
            ("192.0.2.0/32", true),
            ("192.0.2.0/31", true),
            ("2001:db8::/64", false),
            ("2001:db8::/128", true),
            ("127.0.0.1", false),
            ("fe80::1", false),
            ("::ffff:192.0.2.1", false),
            ("224.0.0.1", false),
        ] {
            assert_eq!(service_address(text.parse().unwrap()).is_ok(), fit, "{text}");
        }
    }
}
