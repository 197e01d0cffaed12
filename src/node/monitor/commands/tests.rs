//! When a command is answered, given up, dropped, and passed on.

use super::super::hosts::tests::{head, hear_head, hear_item, id, knowing};
use super::*;
use crate::types::host::HostHead;

const HEARTBEAT: Duration = Duration::from_millis(250);

fn at(ms: u64) -> Time {
    Time::after_start(Duration::from_secs(100) + Duration::from_millis(ms))
}

fn item() -> Item {
    Item::Address([192, 0, 2, 9].into())
}

fn decision(kind: CommandKind, epoch: u64) -> Decision {
    Decision { kind, to: id(2), item: item(), prefix: 32, epoch: Epoch(epoch), reason: Reason::Assigned }
}

/// Host 2 has been told at 0 ms.
fn told(hosts: &Hosts, kind: CommandKind, epoch: u64) -> Commands {
    let mut commands = Commands::default();
    commands.issue(at(0), HEARTBEAT, &decision(kind, epoch), hosts.get(id(2)).expect("is known"));
    assert!(commands.is_pending(id(2), &item()));
    commands
}

#[test]
fn an_acquire_is_answered_by_its_epoch_or_a_higher_one() {
    for (epoch, is_answered) in [(4, false), (5, true), (6, true)] {
        let mut hosts = knowing(&[2]);
        let mut commands = told(&hosts, CommandKind::Acquire, 5);
        // What it held before, or holds still, is no answer.
        hear_item(&mut hosts, 2, &item(), ItemState::Online, Epoch(epoch));
        assert_eq!(commands.settle(at(10), &hosts), is_answered, "epoch {epoch}");
        assert_eq!(commands.is_pending(id(2), &item()), !is_answered, "epoch {epoch}");
        assert_eq!(commands.in_back_off(at(10)).count(), 0);
    }
}

#[test]
fn an_acquire_that_is_not_answered_within_three_heartbeats_has_failed() {
    let hosts = knowing(&[2]);
    let mut commands = told(&hosts, CommandKind::Acquire, 5);
    commands.settle(at(749), &hosts);
    assert!(commands.is_pending(id(2), &item()));
    assert_eq!(commands.deadline(at(749)), Some(at(750)));
    assert!(commands.settle(at(750), &hosts));
    assert!(!commands.is_pending(id(2), &item()));
    assert_eq!(commands.in_back_off(at(750)).collect::<Vec<_>>(), [(id(2), &item())], "it is not asked again at once");
    assert_eq!(commands.back_off(at(750), id(2), &item()), Duration::from_secs(5));
    assert_eq!(commands.given(&item()), Epoch(5), "the next acquire is above the one that was lost");
}

#[test]
fn a_release_is_answered_when_a_whole_entry_does_not_hold_the_item_any_more() {
    let mut hosts = knowing(&[2]);
    hear_item(&mut hosts, 2, &item(), ItemState::Online, Epoch(5));
    let mut commands = told(&hosts, CommandKind::Release, 5);
    commands.settle(at(10), &hosts);
    assert!(commands.is_pending(id(2), &item()));
    hear_item(&mut hosts, 2, &item(), ItemState::Releasing, Epoch(5));
    commands.settle(at(20), &hosts);
    assert!(!commands.is_pending(id(2), &item()));
    // Not answered: the decision is taken anew, and the host is not in the wrong.
    let mut hosts = knowing(&[2]);
    hear_item(&mut hosts, 2, &item(), ItemState::Online, Epoch(5));
    let mut commands = told(&hosts, CommandKind::Release, 5);
    commands.settle(at(750), &hosts);
    assert!(!commands.is_pending(id(2), &item()) && commands.in_back_off(at(750)).count() == 0);
}

#[test]
fn what_can_be_obeyed_no_more_is_dropped() {
    let mut hosts = knowing(&[2]);
    let mut commands = told(&hosts, CommandKind::Acquire, 5);
    hear_head(&mut hosts, HostHead { incarnation: Incarnation(2), ..head(2, 2) });
    assert!(commands.settle(at(10), &hosts), "it continues above an incarnation that others know");
    let mut commands = told(&hosts, CommandKind::Acquire, 6);
    hosts.tick(at(5000), HEARTBEAT);
    assert!(commands.settle(at(5000), &hosts), "it is silent");
    assert_eq!(commands.in_back_off(at(5000)).count(), 0);
}

#[test]
fn a_decision_rests_on_what_its_host_said_last() {
    let mut hosts = knowing(&[2]);
    let mut commands = told(&hosts, CommandKind::Acquire, 5);
    hear_head(&mut hosts, head(2, 7));
    commands.settle(at(10), &hosts);
    let said = commands.own(id(1), BootId([1; 16]));
    assert_eq!(said.iter().map(|command| (command.to, command.based_on)).collect::<Vec<_>>(), [(id(2), Sequence(7))]);
}

#[test]
fn relayers_do_not_echo_each_other() {
    let mut commands = Commands::default();
    let command = told(&knowing(&[2]), CommandKind::Acquire, 5).own(id(1), BootId([1; 16])).remove(0);
    assert!(commands.relay(at(0), HEARTBEAT, &command), "it is news");
    assert!(!commands.relay(at(400), HEARTBEAT, &command), "it came back from another relayer");
    assert_eq!(commands.relayed(at(499)), std::slice::from_ref(&command));
    assert_eq!(commands.relayed(at(500)), [], "an echo does not keep it");
    // A younger decision of the same leader takes its place, an older one does not come back.
    let younger = Command { based_on: Sequence(9), ..command.clone() };
    commands.relay(at(600), HEARTBEAT, &younger);
    commands.relay(at(601), HEARTBEAT, &command);
    assert_eq!(commands.relayed(at(602)), [younger]);
}

#[test]
fn what_is_passed_on_is_bounded() {
    let mut commands = Commands::default();
    let command = told(&knowing(&[2]), CommandKind::Acquire, 5).own(id(1), BootId([1; 16])).remove(0);
    let of = |number: usize| {
        let number = u32::try_from(number).expect("few");
        CommandItem { item: Item::Address(std::net::Ipv4Addr::from(0x0a02_0000 + number).into()), ..command.items[0].clone() }
    };
    let many = Command { items: (0..RELAYED_MAX + 10).map(of).collect(), ..command.clone() };
    commands.relay(at(0), HEARTBEAT, &many);
    assert_eq!(commands.relayed(at(0)).iter().map(|command| command.items.len()).sum::<usize>(), RELAYED_MAX);
}
