use netlink_packet_route::link::LinkHeader;

use super::*;

fn link(index: u32, name: &str, flags: LinkFlags) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader { index, flags, link_layer_type: LinkLayerType::Ether, ..LinkHeader::default() };
    message.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])];
    message
}

fn address(index: u32, address: &str, attributes: Vec<AddressAttribute>) -> AddressMessage {
    let address: ServiceAddress = address.parse().unwrap();
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix;
    message.attributes = vec![AddressAttribute::Address(address.address)];
    message.attributes.extend(attributes);
    message
}

fn created(cstamp: u32) -> AddressAttribute {
    let mut cache = netlink_packet_route::address::CacheInfo::default();
    cache.cstamp = cstamp;
    AddressAttribute::CacheInfo(cache)
}

const MARKED: AddressAttribute = AddressAttribute::Protocol(AddressProtocol::Other(MARK));

#[test]
fn a_port_that_leaves_its_bridge_is_still_there() {
    let mut inventory = Inventory::default();
    inventory.replace(&[link(2, "eth0", LinkFlags::Up | LinkFlags::Running)], &[]);
    let mut message = link(2, "eth0", LinkFlags::Up);
    message.header.interface_family = AddressFamily::Bridge;
    assert_eq!(inventory.apply(&RouteNetlinkMessage::DelLink(message)), Touched::Nothing);
    assert_eq!(inventory.link("eth0"), Link::Up { mac: Some([2, 0, 0, 0, 0, 1]) });
}

#[test]
fn an_interface_is_up_only_if_switched_on_and_running() {
    let mut inventory = Inventory::default();
    for (flags, expected) in [
        (LinkFlags::empty(), Link::Down),
        (LinkFlags::Running, Link::Down),
        (LinkFlags::Up, Link::Down),
        (LinkFlags::Up | LinkFlags::Running, Link::Up { mac: Some([2, 0, 0, 0, 0, 1]) }),
    ] {
        inventory.replace(&[link(2, "eth0", flags)], &[]);
        assert_eq!(inventory.link("eth0"), expected, "{flags:?}");
    }
    assert_eq!(inventory.link("eth1"), Link::Absent);
}

#[test]
fn a_renamed_interface_takes_its_addresses_along() {
    let mut inventory = Inventory::default();
    inventory.replace(&[link(2, "eth0", LinkFlags::Up)], &[address(2, "192.0.2.1/24", vec![])]);
    let touched = inventory.apply(&RouteNetlinkMessage::NewLink(link(2, "eth1", LinkFlags::Up)));
    assert_eq!(touched, Touched::Link(vec!["eth0".to_owned(), "eth1".to_owned()]));
    assert_eq!(inventory.link("eth0"), Link::Absent);
    assert_eq!(inventory.addresses_of("eth0").count(), 0);
    assert_eq!(inventory.addresses_of("eth1").count(), 1);
}

#[test]
fn names_that_are_swapped_end_at_the_right_interfaces() {
    let mut inventory = Inventory::default();
    inventory.replace(&[link(2, "a", LinkFlags::Up), link(3, "b", LinkFlags::Up)], &[]);
    for (index, name) in [(2, "c"), (3, "a"), (2, "b")] {
        inventory.apply(&RouteNetlinkMessage::NewLink(link(index, name, LinkFlags::Up)));
    }
    assert_eq!((inventory.index("a"), inventory.index("b"), inventory.index("c")), (Some(3), Some(2), None));
}

#[test]
fn an_interface_that_comes_back_under_its_number_is_another() {
    let mut inventory = Inventory::default();
    inventory.replace(&[link(2, "eth0", LinkFlags::Up)], &[address(2, "192.0.2.1/24", vec![])]);
    let generation = |inventory: &Inventory| inventory.snapshot().named("eth0").map(|i| i.generation);
    let first = generation(&inventory);
    inventory.apply(&RouteNetlinkMessage::DelLink(link(2, "eth0", LinkFlags::Up)));
    assert_eq!(inventory.addresses().count(), 0);
    inventory.apply(&RouteNetlinkMessage::NewLink(link(2, "eth0", LinkFlags::Up)));
    let second = generation(&inventory);
    assert!(first.is_some() && second.is_some() && first != second);
    inventory.replace(&[link(2, "eth0", LinkFlags::Up)], &[]);
    assert_eq!(generation(&inventory), second);
}

#[test]
fn the_oldest_global_address_that_is_not_ours_stands_for_the_interface() {
    let mut inventory = Inventory::default();
    inventory.replace(
        &[link(2, "eth0", LinkFlags::Up)],
        &[
            address(2, "fe80::1/64", vec![created(1)]),
            address(2, "2001:db8::1", vec![created(2), MARKED]),
            address(2, "2001:db8::2/64", vec![created(3), AddressAttribute::Flags(AddressFlags::Deprecated)]),
            address(2, "2001:db8::9/64", vec![created(4)]),
            address(2, "2001:db8::3/64", vec![created(5)]),
            address(2, "192.0.2.7/24", vec![created(9)]),
            address(2, "192.0.2.8/24", vec![created(8)]),
        ],
    );
    let interfaces = inventory.snapshot();
    let interface = interfaces.named("eth0").unwrap();
    assert_eq!(interface.first_global([0, 0, 0, 0].into()), "192.0.2.8".parse().ok());
    assert_eq!(interface.first_global("::".parse().unwrap()), "2001:db8::9".parse().ok());
    assert_eq!(interfaces.holding("2001:db8::1".parse().unwrap()), None);
}

#[test]
fn an_address_that_changes_hands_is_told_to_all() {
    let mut inventory = Inventory::default();
    inventory.replace(&[link(2, "eth0", LinkFlags::Up)], &[address(2, "192.0.2.1", vec![])]);
    let expected = |mark| Touched::Address("eth0".to_owned(), "192.0.2.1".parse().unwrap(), mark);
    let marked = RouteNetlinkMessage::NewAddress(address(2, "192.0.2.1", vec![MARKED]));
    assert_eq!(inventory.apply(&marked), expected(Mark::Foreign));
    assert_eq!(inventory.apply(&marked), Touched::Nothing);
    assert_eq!(inventory.apply(&RouteNetlinkMessage::DelAddress(address(2, "192.0.2.1", vec![MARKED]))), expected(Mark::Ours));
}
