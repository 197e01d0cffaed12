//! Sentences of the transcript that readers and stories rest on.

use std::time::Duration;

use super::*;
use crate::node::action::Report;
use crate::node::event::{Arrival, Heard, OpId, Outcome, Way};
use crate::types::host::{BootId, Incarnation, Sequence};
use crate::types::item::{Epoch, Item, Reason, ServiceAddress};
use crate::types::message::{Command, CommandItem, CommandKind, Sender};

fn names() -> Names {
    let mut names = Names::default();
    for (number, name) in [(1, "web1"), (2, "web2")] {
        names.add_host(HostId([10, 0, 0, number].into()), name);
    }
    names
}

#[test]
fn a_command_names_who_tells_whom_to_do_what_and_why() {
    let command = Command {
        kind: CommandKind::Acquire,
        leader: HostId([10, 0, 0, 1].into()),
        leader_boot: BootId([0xab; 16]),
        to: HostId([10, 0, 0, 2].into()),
        to_incarnation: Incarnation(3),
        based_on: Sequence(17),
        items: vec![CommandItem {
            item: Item::Address([192, 0, 2, 9].into()),
            prefix: 32,
            epoch: Epoch(4),
            reason: Reason::Assigned,
            overlaps: None,
        }],
    };
    let heard = Heard {
        group: GroupIndex(0),
        network: 1,
        way: Way::Multicast,
        sender: Sender { host: HostId([10, 0, 0, 1].into()), incarnation: Incarnation(1), boot: BootId([0xab; 16]) },
        number: 5,
        arrival: Arrival::First,
        records: vec![Record::Command(command)],
    };
    let lines = event(&Event::Heard(heard), &names());
    assert_eq!(
        lines,
        [
            "hears web1: datagram 5 of start 1, boot abababab, by multicast on network 1",
            "  leader web1 (boot abababab) tells web2, start 3, on its info 17: take",
            "    192.0.2.9/32: epoch 4, assigned",
        ]
    );
}

#[test]
fn an_operation_is_told_with_its_number_and_again_with_its_end() {
    let address = ServiceAddress::host([192, 0, 2, 9].into());
    let asked = action(&Action::AddAddress { op: OpId(7), interface: "svc0".to_owned(), address }, &names());
    assert_eq!(asked, ["operation 7: put 192.0.2.9/32 on svc0"]);
    let why = "no\nroom".to_owned();
    let ended = event(&Event::Finished { op: OpId(7), outcome: Outcome::Failed { why } }, &names());
    assert_eq!(ended, ["operation 7 has failed: no\u{fffd}room"]);
}

#[test]
fn a_host_without_a_known_name_goes_by_its_id() {
    let report = Report::LeaderChanged { leader: Some(HostId([10, 0, 0, 9].into())), was: Some(HostId([10, 0, 0, 2].into())) };
    let told = action(&Action::Report { group: Some(GroupIndex(0)), report }, &names());
    assert_eq!(told, ["tell the operator: leader is 10.0.0.9, was web2"]);
}

#[test]
fn the_group_is_named_where_there_are_several() {
    let mut names = names();
    names.add_group(GroupIndex(0), "mail");
    names.add_group(GroupIndex(1), "www");
    let told = action(&Action::Report { group: Some(GroupIndex(1)), report: Report::Settled }, &names);
    assert_eq!(told, ["tell the operator of group www: has listened long enough to lead and to acquire"]);
}

#[test]
fn durations_are_exact() {
    let said = [0, 250_000_000, 1_500_000, 1_250_000_000, 120_000_000_000, 3_600_000_000_000, 150_000]
        .map(|nanos| words::span(Duration::from_nanos(nanos)));
    assert_eq!(said, ["0", "250ms", "1.5ms", "1.25s", "2m", "1h", "0.15ms"]);
}
