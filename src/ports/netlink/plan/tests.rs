use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::*;
use crate::node::event::OpId;

/// An interface `eth0` with these addresses: text, whose, scope.
fn inventory(addresses: &[(&str, Mark, AddressScope)]) -> Inventory {
    let mut link = LinkMessage::default();
    link.header.index = 7;
    link.attributes = vec![LinkAttribute::IfName("eth0".to_owned())];
    let addresses: Vec<_> = addresses
        .iter()
        .map(|(text, mark, scope)| {
            let address: ServiceAddress = text.parse().unwrap();
            let mut message = AddressMessage::default();
            message.header.index = 7;
            message.header.prefix_len = address.prefix;
            message.header.scope = *scope;
            message.attributes = vec![AddressAttribute::Address(address.address)];
            if *mark == Mark::Ours {
                message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
            }
            message
        })
        .collect();
    let mut inventory = Inventory::default();
    inventory.replace(&[link], &addresses);
    inventory
}

fn change(kind: ChangeKind, interface: &str, address: &str) -> AddressChange {
    AddressChange { op: OpId(1), kind, interface: interface.to_owned(), address: address.parse().unwrap() }
}

fn ask(address: &str, verb: Verb) -> Step {
    Step::Ask(Request { index: 7, address: address.parse().unwrap(), verb })
}

const GLOBAL: AddressScope = AddressScope::Universe;
const DONE: Step = Step::Answer(Outcome::Done);

#[test]
fn what_to_add_depends_on_what_is_there() {
    let mark = || Verb::Mark(AddressFlags::empty());
    for (wanted, there, expected) in [
        ("192.0.2.1", vec![], ask("192.0.2.1", Verb::Add(AddressScope::Host))),
        ("192.0.2.1", vec![("192.0.2.2/32", Mark::Foreign, GLOBAL)], ask("192.0.2.1", Verb::Add(AddressScope::Host))),
        ("192.0.2.1/24", vec![("192.0.2.9/24", Mark::Foreign, GLOBAL)], ask("192.0.2.1/24", Verb::Add(GLOBAL))),
        ("192.0.2.1/25", vec![("192.0.2.9/24", Mark::Foreign, GLOBAL)], ask("192.0.2.1/25", Verb::Add(AddressScope::Host))),
        ("192.0.2.1", vec![("192.0.2.1", Mark::Ours, AddressScope::Host)], DONE),
        ("192.0.2.1", vec![("192.0.2.1/24", Mark::Ours, GLOBAL)], DONE),
        ("192.0.2.1", vec![("192.0.2.1", Mark::Foreign, GLOBAL)], ask("192.0.2.1", mark())),
        ("192.0.2.1", vec![("192.0.2.1/24", Mark::Foreign, GLOBAL)], ask("192.0.2.1/24", mark())),
        ("192.0.2.1", vec![("192.0.2.1/24", Mark::Foreign, GLOBAL), ("192.0.2.1", Mark::Foreign, GLOBAL)], ask("192.0.2.1", mark())),
        ("192.0.2.1", vec![("192.0.2.1/24", Mark::Foreign, GLOBAL), ("192.0.2.1", Mark::Ours, GLOBAL)], DONE),
        ("2001:db8::1", vec![("2001:db8::1/64", Mark::Foreign, GLOBAL)], ask("2001:db8::1/64", mark())),
    ] {
        assert_eq!(plan(&change(ChangeKind::Add, "eth0", wanted), &inventory(&there)), expected, "{wanted} to {there:?}");
    }
}

#[test]
fn only_what_is_ours_is_removed() {
    for (there, expected) in [
        (vec![], DONE),
        (vec![("192.0.2.1", Mark::Ours, GLOBAL)], ask("192.0.2.1", Verb::Remove)),
        (vec![("192.0.2.1/24", Mark::Ours, GLOBAL)], ask("192.0.2.1/24", Verb::Remove)),
        (vec![("192.0.2.1/24", Mark::Foreign, GLOBAL), ("192.0.2.1", Mark::Ours, GLOBAL)], ask("192.0.2.1", Verb::Remove)),
        (vec![("192.0.2.2", Mark::Ours, GLOBAL)], DONE),
    ] {
        assert_eq!(plan(&change(ChangeKind::Remove, "eth0", "192.0.2.1"), &inventory(&there)), expected, "{there:?}");
    }
    let foreign = inventory(&[("192.0.2.1/24", Mark::Foreign, GLOBAL)]);
    let Step::Answer(Outcome::Failed { why }) = plan(&change(ChangeKind::Remove, "eth0", "192.0.2.1"), &foreign) else {
        panic!("a foreign address would be removed")
    };
    assert!(why.contains("192.0.2.1/24") && why.contains("eth0") && why.contains("0x52"), "{why}");
}

#[test]
fn without_the_interface_nothing_can_be_added_and_nothing_is_left_to_remove() {
    let inventory = inventory(&[]);
    assert!(
        matches!(plan(&change(ChangeKind::Add, "eth1", "192.0.2.1"), &inventory), Step::Answer(Outcome::Failed { why }) if why.contains("eth1"))
    );
    assert_eq!(plan(&change(ChangeKind::Remove, "eth1", "192.0.2.1"), &inventory), DONE);
}

#[test]
fn a_new_address_is_marked_and_kept_from_being_a_source() {
    for (address, lifetime, expected) in [
        ("192.0.2.1", None, AddressFlags::Noprefixroute),
        ("2001:db8::1", Some((u32::MAX, 0)), AddressFlags::Noprefixroute | AddressFlags::Nodad),
    ] {
        let request = Request { index: 7, address: address.parse().unwrap(), verb: Verb::Add(AddressScope::Host) };
        let message = request.message();
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(body)) = message.payload else { panic!("{message:?}") };
        assert_eq!(message.header.flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        assert!(body.attributes.contains(&AddressAttribute::Protocol(AddressProtocol::Other(0x52))));
        assert!(body.attributes.contains(&AddressAttribute::Flags(expected)));
        let found = body
            .attributes
            .iter()
            .find_map(|a| if let AddressAttribute::CacheInfo(c) = a { Some((c.ifa_valid, c.ifa_preferred)) } else { None });
        assert_eq!(found, lifetime, "{address}");
    }
}

#[test]
fn the_probe_s_refusal_tells_an_old_kernel_and_a_missing_capability() {
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(body)) = probe().payload else { panic!("no address") };
    assert_eq!(body.attributes.last(), Some(&AddressAttribute::Other(DefaultNla::new(11, Vec::new()))));
    assert!(!body.attributes.iter().any(|attribute| matches!(attribute, AddressAttribute::Protocol(_))));
    assert!(matches!(judge_probe(libc::ENODEV), Err(NetlinkError::MarkUnsupported)));
    assert!(matches!(judge_probe(libc::EPERM), Err(NetlinkError::NotPermitted)));
    assert!(judge_probe(libc::ERANGE).is_ok());
}

#[test]
fn a_refusal_that_means_a_change_is_looked_at_again_and_any_other_explained() {
    let change = change(ChangeKind::Add, "eth0", "2001:db8::1");
    let request = Request { index: 7, address: change.address, verb: Verb::Add(GLOBAL) };
    let inventory = inventory(&[]);
    assert_eq!(judge(&change, request, libc::EEXIST, "", &inventory), Refusal::LookAgain);
    for (errno, words) in [(libc::EPERM, "CAP_NET_ADMIN"), (libc::EACCES, "disable_ipv6"), (libc::EINVAL, "oops")] {
        let Refusal::Final(Outcome::Failed { why }) = judge(&change, request, errno, "oops", &inventory) else { panic!("{errno}") };
        assert!(why.contains(words) && why.contains("2001:db8::1/128 on eth0"), "{why}");
    }
}
