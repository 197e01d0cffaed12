//! The plan of the pool's networks: which addresses, interfaces and hardware addresses a host has, by its number.
//!
//! Pure arithmetic: owns nothing, changes nothing. Called by the topology, and by all that must know where a host is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most hosts of a topology: their addresses end in 201 to 249.
pub const HOSTS_MAX: u8 = 49;

/// One of the networks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Network {
    /// Over which hosts talk to each other: 0 or 1.
    Control(u8),
    /// On which the service addresses are.
    Service,
}

impl Network {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Control(0), Self::Control(1), Self::Service];

    /// Its bridge, and each host's interface to it.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Control(0) => "ctl0",
            Self::Control(_) => "ctl1",
            Self::Service => "svc0",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Control(number) => number.min(1),
            Self::Service => 2,
        }
    }

    /// A second bridge, for hosts that are cut off together.
    pub(super) fn far_bridge(self) -> String {
        format!("far-{}", self.interface())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.interface())
    }
}

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The addresses that a host has of its own, by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Plan(pub u8);

impl Plan {
    /// `web1` for 1.
    #[must_use]
    pub fn name(self) -> String {
        format!("web{}", self.0)
    }

    /// Its control address on a control network: `10.0.0.11` for host 1 on network 0.
    #[must_use]
    pub fn control(self, network: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, network, 0, self.0.saturating_add(10))
    }

    /// Its IPv6 control address: `fd00:0:0:1::11` for host 1 on network 1, counted in decimal digits up to host 9.
    #[must_use]
    pub fn control_v6(self, network: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, u16::from(network), 0, 0, 0, 0x10 + u16::from(self.0))
    }

    /// Its own address on the service network, which never moves: `192.0.2.201` for host 1.
    #[must_use]
    pub fn own(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.0.saturating_add(200))
    }

    /// The same in IPv6: `2001:db8::200:1` for host 1.
    #[must_use]
    pub fn own_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x200, u16::from(self.0))
    }

    /// The service address that it usually prefers: `192.0.2.11` for host 1.
    #[must_use]
    pub fn service(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.0.saturating_add(10))
    }

    /// The same in IPv6: `2001:db8::11` for host 1, counted in decimal digits up to host 9.
    #[must_use]
    pub fn service_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10 + u16::from(self.0))
    }

    /// The hardware address of its interface to a network.
    #[must_use]
    pub fn mac(self, network: Network) -> Mac {
        // 0x02: administered locally. "RA", then network and host.
        Mac([0x02, 0x52, 0x41, 0x00, network.number(), self.0])
    }

    /// The index of its interface to a network, and of its port there: no two interfaces of a topology have the same.
    #[must_use]
    pub fn interface_index(self, network: Network) -> u32 {
        100 * (u32::from(network.number()) + 1) + u32::from(self.0)
    }

    /// The host whose interface to a network has this index.
    #[must_use]
    pub fn of_interface(index: u32, network: Network) -> Option<Self> {
        let number = u8::try_from(index.checked_sub(Self(0).interface_index(network))?).ok()?;
        (1..=HOSTS_MAX).contains(&number).then_some(Self(number))
    }

    /// All its own addresses on a network, with their prefixes.
    pub(super) fn addresses(self, network: Network) -> [(IpAddr, u8); 2] {
        match network {
            Network::Control(number) => [(self.control(number).into(), 24), (self.control_v6(number).into(), 64)],
            Network::Service => [(self.own().into(), 24), (self.own_v6().into(), 64)],
        }
    }
}
