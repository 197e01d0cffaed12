//! The bytes of announcements: pure functions from address and hardware address to Ethernet frames.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet::packet::Packet;
use pnet::packet::arp::{ArpHardwareTypes, ArpOperation, ArpOperations, MutableArpPacket};
use pnet::packet::ethernet::{EtherType, EtherTypes, MutableEthernetPacket};
use pnet::packet::icmpv6::ndp::{Icmpv6Codes, MutableNeighborAdvertPacket, NdpOption, NdpOptionTypes, NeighborAdvertFlags};
use pnet::packet::icmpv6::{Icmpv6Packet, Icmpv6Types, checksum};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::util::MacAddr;

const ETHERNET: usize = 14;
const IPV6: usize = 40;

/// Length of an ARP frame without the padding that the network card adds.
pub(super) const ARP_FRAME: usize = ETHERNET + 28;

/// Length of an ICMPv6 neighbour advertisement with one option.
const ADVERTISEMENT: u16 = 32;

/// Length of a frame with a neighbour advertisement.
pub(super) const ADVERTISEMENT_FRAME: usize = ETHERNET + IPV6 + ADVERTISEMENT as usize;

/// The link-local group of all nodes, ff02::1 (RFC 4291 §2.7.1), and the Ethernet address that it maps to (RFC 2464 §7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddr = MacAddr(0x33, 0x33, 0, 0, 0, 1);

/// Which form a gratuitous ARP takes. Some systems heed only the one, some only the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ArpForm {
    /// RFC 5227 §2.3: a request for the address itself; the target's hardware address is zero.
    Request,
    /// RFC 5944 §4.6: a reply that nobody asked for; both hardware addresses are the sender's.
    Reply,
}

/// A gratuitous ARP: `address` is at `mac`.
#[expect(clippy::expect_used, reason = "each part of the frame has the length of its packet")]
pub(super) fn gratuitous_arp(form: ArpForm, address: Ipv4Addr, mac: [u8; 6]) -> [u8; ARP_FRAME] {
    let mac = MacAddr::from(mac);
    let (operation, target): (ArpOperation, _) = match form {
        ArpForm::Request => (ArpOperations::Request, MacAddr::zero()),
        ArpForm::Reply => (ArpOperations::Reply, mac),
    };
    let mut frame = [0; ARP_FRAME];
    ethernet(&mut frame, MacAddr::broadcast(), mac, EtherTypes::Arp);
    let mut arp = MutableArpPacket::new(&mut frame[ETHERNET..]).expect("28 bytes hold an ARP packet");
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(operation);
    arp.set_sender_hw_addr(mac);
    arp.set_sender_proto_addr(address);
    arp.set_target_hw_addr(target);
    arp.set_target_proto_addr(address);
    frame
}

/// An unsolicited neighbour advertisement to all nodes, RFC 4861 §7.2.6: `address` is at `mac`, whatever was known before.
#[expect(clippy::expect_used, reason = "each part of the frame has the length of its packet")]
pub(super) fn unsolicited_advertisement(address: Ipv6Addr, mac: [u8; 6]) -> [u8; ADVERTISEMENT_FRAME] {
    let mut frame = [0; ADVERTISEMENT_FRAME];
    ethernet(&mut frame, ALL_NODES_MAC, MacAddr::from(mac), EtherTypes::Ipv6);

    let mut ip = MutableIpv6Packet::new(&mut frame[ETHERNET..]).expect("72 bytes hold an IPv6 header");
    ip.set_version(6);
    ip.set_payload_length(ADVERTISEMENT);
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    // RFC 4861 §7.1.2: anything less has crossed a router and is dropped.
    ip.set_hop_limit(255);
    ip.set_source(address);
    ip.set_destination(ALL_NODES);

    let body = &mut frame[ETHERNET + IPV6..];
    let mut advertisement = MutableNeighborAdvertPacket::new(body).expect("32 bytes hold a neighbour advertisement");
    advertisement.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    advertisement.set_icmpv6_code(Icmpv6Codes::NoCode);
    advertisement.set_flags(NeighborAdvertFlags::Override);
    advertisement.set_target_addr(address);
    // The length of an option is counted in units of eight bytes.
    advertisement.set_options(&[NdpOption { option_type: NdpOptionTypes::TargetLLAddr, length: 1, data: mac.to_vec() }]);

    let sum = checksum(&Icmpv6Packet::new(advertisement.packet()).expect("32 bytes hold an ICMPv6 header"), &address, &ALL_NODES);
    advertisement.set_checksum(sum);
    frame
}

#[expect(clippy::expect_used, reason = "every frame begins with 14 bytes for it")]
fn ethernet(frame: &mut [u8], to: MacAddr, from: MacAddr, kind: EtherType) {
    let mut ethernet = MutableEthernetPacket::new(frame).expect("a frame holds an Ethernet header");
    ethernet.set_destination(to);
    ethernet.set_source(from);
    ethernet.set_ethertype(kind);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x02, 0x00, 0x5e, 0x10, 0x00, 0x01];

    #[test]
    fn a_request_names_the_address_twice_and_no_target() {
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01,
            0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, 192, 0, 2, 11,
            0, 0, 0, 0, 0, 0, 192, 0, 2, 11,
        ];
        assert_eq!(gratuitous_arp(ArpForm::Request, [192, 0, 2, 11].into(), MAC), expected);
    }

    #[test]
    fn a_reply_names_the_hardware_address_twice() {
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x02,
            0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, 192, 0, 2, 11,
            0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, 192, 0, 2, 11,
        ];
        assert_eq!(gratuitous_arp(ArpForm::Reply, [192, 0, 2, 11].into(), MAC), expected);
    }

    #[test]
    fn an_advertisement_overrides_and_carries_the_checksum_of_rfc_4443() {
        #[rustfmt::skip]
        let mut expected = [
            0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, 0x86, 0xdd,
            0x60, 0, 0, 0, 0, 32, 58, 255,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            136, 0, 0, 0, 0x20, 0, 0, 0,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11,
            2, 1, 0x02, 0x00, 0x5e, 0x10, 0x00, 0x01,
        ];
        // Source, destination, length and next header, then the message, as 16-bit words:
        // 2001+0db8+0011 + ff02+0001 + 0020 + 003a + 8800+0000+2000+0000 + 2001+0db8+0011 + 0201+0200+5e10+0001 = 0x26503,
        // folded 0x6505, complemented 0x9afa.
        expected[56..58].copy_from_slice(&[0x9a, 0xfa]);
        assert_eq!(unsolicited_advertisement("2001:db8::11".parse().unwrap(), MAC), expected);
    }
}
