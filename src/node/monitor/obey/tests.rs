//! Figures 4B and 4C of the seed, and what `behaviour.md` adds: a node hears a command and obeys it or not.

use std::time::Duration;

use crate::node::action::{Action, StoredGroup};
use crate::node::event::{Arrival, Event, GroupIndex, Heard, KernelChange, Link, OpId, Outcome, Request, TestResult, Token, Way};
use crate::node::{Node, Start};
use crate::types::host::{
    BootId, Duty, EntryVersion, Extent, Hearing, HostHead, HostId, HostKeys, Incarnation, NetworkHearing, Role, Sequence,
};
use crate::types::item::{Epoch, Item, Reason, ServiceAddress};
use crate::types::message::{AddressRecord, Command, CommandItem, CommandKind, HearingRecord, Record, Sender};
use crate::types::policy::{
    AllFailed, AnnounceMethod, AnnouncePolicy, Assign, Failback, GroupPolicy, Handover, HostPolicy, NodePolicy, SharedPolicy, TestPolicy,
};
use crate::types::time::Time;

const ME: HostId = HostId(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)));
const LEADER: HostId = HostId(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));
const OTHER: HostId = HostId(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3)));
const BOOT: BootId = BootId([2; 16]);
const LEADERS_BOOT: BootId = BootId([1; 16]);
const INCARNATION: Incarnation = Incarnation(7);

fn item() -> Item {
    Item::Address([192, 0, 2, 9].into())
}

fn policy() -> NodePolicy {
    NodePolicy {
        host: HostPolicy { id: ME, name: "web2".into(), control: vec![ME.0], location: String::new(), capabilities: vec![] },
        groups: vec![GroupPolicy {
            name: "www".to_owned(),
            interface: "svc0".to_owned(),
            role: Role::Server,
            preferred: vec![],
            floating: vec![],
            accept: vec![],
            multicast: true,
            peers: Vec::new(),
            tests: ["web".to_owned()].into(),
            loads: Default::default(),
            has_acquire_script: false,
            has_release_script: false,
            script_timeout: Duration::from_secs(30),
            announce: AnnouncePolicy { method: AnnounceMethod::None, count: 5, refresh: Duration::from_secs(30) },
            keys: HostKeys::insecure(),
            shared: SharedPolicy {
                heartbeat: Duration::from_millis(250),
                timeout: Duration::from_secs(1),
                orphan_lifetime: Duration::from_secs(3600),
                assign: Assign::Random,
                failback: Failback::Never,
                rebalance: None,
                all_failed: AllFailed::Keep,
                handover: Handover::Break,
                zone: None,
            },
        }],
        tests: vec![TestPolicy { name: "web".to_owned(), rise: 1, fall: 1 }],
    }
}

/// A node of host 2 that hears host 1 every heartbeat.
struct Bench {
    node: Node,
    now: Time,
    leader_sequence: u64,
    /// The newest `info` of the node, and when it was sent.
    sent: Vec<(Sequence, Time)>,
}

impl Bench {
    /// Settled, ok, and following host 1; the address is known with epoch 4.
    fn following(policy: &NodePolicy) -> Self {
        let mut bench = Self::start(policy);
        bench.run(Duration::from_secs(3));
        assert_eq!(bench.node.view(bench.now).groups[0].leader, Some(LEADER));
        bench
    }

    fn start(policy: &NodePolicy) -> Self {
        let known = AddressRecord {
            item: item(),
            prefix: 32,
            preferred_host: Some(LEADER),
            floating: false,
            orphaned: Duration::ZERO,
            home_served: None,
            lifetime: Duration::from_secs(3600),
            epoch: Epoch(4),
            tombstone: false,
            returned: None,
        };
        let start = Start {
            boot: BOOT,
            incarnation: INCARNATION,
            software: "0.1.0".to_owned(),
            stored: vec![StoredGroup { addresses: vec![known], ..StoredGroup::default() }],
            kernel: vec![KernelChange::Link { interface: "svc0".to_owned(), link: Link::Up { mac: None } }],
        };
        let now = Time::after_start(Duration::from_secs(1000));
        let (node, actions) = Node::start(now, policy, start);
        let mut bench = Self { node, now, leader_sequence: 0, sent: vec![] };
        bench.note(&actions);
        let passed = Event::Tested { test: "web".to_owned(), result: TestResult::Passed };
        bench.feed(passed);
        bench
    }

    fn feed(&mut self, event: Event) -> Vec<Action> {
        let actions = self.node.handle(self.now, event);
        self.note(&actions);
        actions
    }

    fn note(&mut self, actions: &[Action]) {
        let sent = actions.iter().filter_map(|action| match action {
            Action::Send { message, .. } => Some(message),
            Action::AddAddress { .. }
            | Action::RemoveAddress { .. }
            | Action::Announce { .. }
            | Action::RunScript { .. }
            | Action::PublishZone { .. }
            | Action::StoreGroup { .. }
            | Action::StoreIncarnation { .. }
            | Action::Report { .. }
            | Action::Reply { .. }
            | Action::EndGroup { .. }
            | Action::Exit { .. } => None,
        });
        for record in sent.flat_map(|message| &message.records) {
            if let Record::Head(head) = record
                && head.id == ME
            {
                self.sent.push((head.sequence, self.now));
            }
        }
    }

    /// Lets time pass; the leader is heard every heartbeat.
    fn run(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        let mut beat = self.now;
        loop {
            let deadline = self.node.deadline().unwrap();
            if beat.min(deadline) > end {
                break;
            }
            self.now = self.now.max(beat.min(deadline));
            if beat <= deadline {
                self.hear_leader();
                beat = beat.plus(Duration::from_millis(250));
            } else {
                self.feed(Event::Timeout);
            }
        }
        self.now = end;
    }

    fn hear_leader(&mut self) {
        self.leader_sequence += 1;
        let sequence = Sequence(self.leader_sequence);
        let heard = Hearing {
            host: ME,
            boot: BOOT.tag(),
            sequence: self.newest(),
            proved: true,
            complete: EntryVersion(0),
            networks: vec![NetworkHearing { network: 0, loss: 0, multicast: true }],
        };
        let head = HostHead {
            id: LEADER,
            incarnation: Incarnation(1),
            boot: LEADERS_BOOT,
            sequence,
            age: Duration::ZERO,
            uptime: Duration::from_secs(100),
            version: EntryVersion(1),
            items: Extent::default(),
            ok: true,
            duty: Duty::Active,
            settled: true,
            role: Role::Server,
            spare: false,
            frozen: None,
            restarting: false,
            config_hash: policy().groups[0].shared.config_hash(),
            ruling: policy().groups[0].shared.ruling(),
            load: 0,
            capacity: 1,
            promise: None,
            database: Extent::default(),
            zone_serial: 0,
        };
        let report = HearingRecord { by: LEADER, boot: LEADERS_BOOT, sequence, heard: vec![heard] };
        self.hear(vec![Record::Head(Box::new(head)), Record::Hearing(report)]);
    }

    fn hear(&mut self, records: Vec<Record>) -> Vec<Action> {
        self.leader_sequence += 1;
        let sender = Sender { host: LEADER, incarnation: Incarnation(1), boot: LEADERS_BOOT };
        let number = self.leader_sequence;
        self.feed(Event::Heard(Heard {
            group: GroupIndex(0),
            network: 0,
            way: Way::Multicast,
            sender,
            number,
            arrival: Arrival::First,
            records,
        }))
    }

    fn newest(&self) -> Sequence {
        self.sent.last().map_or(Sequence(0), |(sequence, _)| *sequence)
    }

    fn command(&self, kind: CommandKind, epoch: u64) -> Command {
        Command {
            kind,
            leader: LEADER,
            leader_boot: LEADERS_BOOT,
            to: ME,
            to_incarnation: INCARNATION,
            based_on: self.newest(),
            items: vec![CommandItem { item: item(), prefix: 32, epoch: Epoch(epoch), reason: Reason::Assigned, overlaps: None }],
        }
    }

    /// Whether the command is obeyed: an address goes on or off.
    fn obeys(&mut self, command: Command) -> bool {
        let actions = self.hear(vec![Record::Command(command)]);
        actions.iter().any(|action| matches!(action, Action::AddAddress { .. } | Action::RemoveAddress { .. }))
    }

    /// Holds the address with epoch 5.
    fn hold(&mut self) {
        let command = self.command(CommandKind::Acquire, 5);
        let actions = self.hear(vec![Record::Command(command)]);
        let op = operation(&actions);
        self.feed(Event::Finished { op, outcome: Outcome::Done });
        // As the kernel's answers do, the settling of what they change comes a moment later.
        self.run(Duration::from_millis(300));
        assert_eq!(self.node.view(self.now).groups[0].addresses[0].served_by, [ME]);
    }
}

fn operation(actions: &[Action]) -> OpId {
    let op = |action: &Action| match action {
        Action::AddAddress { op, .. } | Action::RemoveAddress { op, .. } => Some(*op),
        Action::Announce { .. }
        | Action::RunScript { .. }
        | Action::Send { .. }
        | Action::PublishZone { .. }
        | Action::StoreGroup { .. }
        | Action::StoreIncarnation { .. }
        | Action::Report { .. }
        | Action::Reply { .. }
        | Action::EndGroup { .. }
        | Action::Exit { .. } => None,
    };
    actions.iter().find_map(op).expect("an address goes on or off")
}

fn quiesce() -> Event {
    Event::Asked { token: Token(1), request: Request::Quiesce { group: None, reason: String::new() } }
}

fn fail() -> Event {
    Event::Tested { test: "web".to_owned(), result: TestResult::Failed { why: "refused".to_owned() } }
}

#[test]
fn a_command_may_rest_on_the_oldest_info_that_is_no_older_than_timeout() {
    let mut bench = Bench::following(&policy());
    let timeout = policy().groups[0].shared.timeout;
    let (oldest, _) = *bench.sent.iter().find(|(_, at)| bench.now.since(*at) <= timeout).expect("it sends");
    assert!(bench.sent.iter().any(|(sequence, _)| *sequence < oldest), "there are older ones");
    let rests_on = |bench: &Bench, sequence| Command { based_on: sequence, ..bench.command(CommandKind::Acquire, 5) };
    let command = rests_on(&bench, Sequence(oldest.0 - 1));
    assert!(!bench.obeys(command));
    let command = rests_on(&bench, oldest);
    assert!(bench.obeys(command));
}

type Change = fn(&mut Command);

#[test]
fn figure_4b_the_acquire_message() {
    let rows: [(&str, Change, bool); 19] = [
        ("all checks pass: schedule acquire", |_| {}, true),
        ("step 412: not for that host", |c| c.to = OTHER, false),
        ("step 416: not from that host's leader", |c| c.leader = OTHER, false),
        ("departs: from an earlier start of the leader", |c| c.leader_boot = BootId([9; 16]), false),
        ("departs: to another incarnation, lower", |c| c.to_incarnation = Incarnation(6), false),
        ("departs: to another incarnation, higher", |c| c.to_incarnation = Incarnation(8), false),
        ("departs: based on an info older than timeout", |c| c.based_on = Sequence(1), false),
        ("departs: based on an info that was never sent", |c| c.based_on.0 += 1, false),
        ("departs: based on the farewell", |c| c.based_on = Sequence::FAREWELL, false),
        ("departs: based on the last but one, which is young enough", |c| c.based_on.0 -= 1, true),
        ("departs: to overlap with who serves it, and there is no fence", |c| c.items[0].overlaps = Some(LEADER), false),
        ("departs: epoch equal to the known one", |c| c.items[0].epoch = Epoch(4), false),
        ("departs: epoch below the known one", |c| c.items[0].epoch = Epoch(3), false),
        ("departs: epoch far above the known one", |c| c.items[0].epoch = Epoch(400), true),
        ("a prefix that no address has", |c| c.items[0].prefix = 33, false),
        ("a prefix that covers everything", |c| c.items[0].prefix = 0, false),
        ("an address that cannot be served", |c| c.items[0].item = Item::Address([127, 0, 0, 1].into()), false),
        ("a group address", |c| c.items[0].item = Item::Address([224, 0, 0, 1].into()), false),
        ("a data set, which the swarm places", |c| c.items[0].item = Item::DataSet("orders".to_owned()), false),
    ];
    for (name, change, obeyed) in rows {
        let mut bench = Bench::following(&policy());
        let mut command = bench.command(CommandKind::Acquire, 5);
        change(&mut command);
        assert_eq!(bench.obeys(command), obeyed, "{name}");
    }
}

#[test]
fn figure_4b_the_host_that_receives_it() {
    let mut bench = Bench::following(&policy());
    bench.feed(fail());
    let command = bench.command(CommandKind::Acquire, 5);
    assert!(!bench.obeys(command), "step 418: host is not OK");

    let mut bench = Bench::following(&policy());
    bench.feed(quiesce());
    let command = bench.command(CommandKind::Acquire, 5);
    assert!(!bench.obeys(command), "step 420: host is quiesced");

    let mut bench = Bench::following(&policy());
    let drain = Request::Drain { group: None, timeout: Duration::from_secs(9), reason: String::new() };
    bench.feed(Event::Asked { token: Token(1), request: drain });
    let command = bench.command(CommandKind::Acquire, 5);
    assert!(!bench.obeys(command), "departs: host drains");

    let mut bench = Bench::following(&policy());
    bench.hold();
    let command = bench.command(CommandKind::Acquire, 6);
    assert!(!bench.obeys(command), "step 422: host is servicing the service address");

    let mut bench = Bench::start(&policy());
    bench.run(Duration::from_millis(600));
    assert_eq!(bench.node.view(bench.now).groups[0].leader, Some(LEADER));
    let command = bench.command(CommandKind::Acquire, 5);
    assert!(!bench.obeys(command), "departs: host is not settled");

    let mut bench = Bench::following(&policy());
    bench.feed(Event::Stopped);
    let command = bench.command(CommandKind::Acquire, 5);
    assert!(!bench.obeys(command), "departs: host stops");

    let lists: [(&[&str], bool); 4] =
        [(&["192.0.2.0/24"], true), (&["192.0.2.9/32"], true), (&["198.51.100.0/24"], false), (&["198.51.100.0/24", "192.0.2.0/24"], true)];
    for (accept, obeyed) in lists {
        let mut policy = policy();
        policy.groups[0].accept = accept.iter().map(|network| network.parse().unwrap()).collect();
        let mut bench = Bench::following(&policy);
        let command = bench.command(CommandKind::Acquire, 5);
        assert_eq!(bench.obeys(command), obeyed, "departs: host accepts {accept:?}");
    }

    let mut policy = policy();
    policy.groups[0].role = Role::Observer;
    let mut bench = Bench::following(&policy);
    let command = bench.command(CommandKind::Acquire, 5);
    assert!(!bench.obeys(command), "departs: host is an observer");
}

#[test]
fn figure_4c_the_release_message() {
    let rows: [(&str, Change, bool); 10] = [
        ("all checks pass: schedule release", |_| {}, true),
        ("step 432: not for that host", |c| c.to = OTHER, false),
        ("step 436: not from that host's leader", |c| c.leader = OTHER, false),
        ("departs: from an earlier start of the leader", |c| c.leader_boot = BootId([9; 16]), false),
        ("departs: to another incarnation", |c| c.to_incarnation = Incarnation(6), false),
        ("departs: based on an info older than timeout", |c| c.based_on = Sequence(1), false),
        ("departs: based on an info that was never sent", |c| c.based_on.0 += 1, false),
        ("departs: of an earlier holding", |c| c.items[0].epoch = Epoch(4), false),
        ("departs: of a later holding", |c| c.items[0].epoch = Epoch(6), false),
        ("step 440: the service address is not being serviced", |c| c.items[0].item = Item::Address([192, 0, 2, 8].into()), false),
    ];
    for (name, change, obeyed) in rows {
        let mut bench = Bench::following(&policy());
        bench.hold();
        let mut command = bench.command(CommandKind::Release, 5);
        change(&mut command);
        assert_eq!(bench.obeys(command), obeyed, "{name}");
    }
}

#[test]
fn figure_4c_the_host_that_receives_it() {
    for (name, event) in [("departs: also when quiesced", quiesce()), ("departs: also when not OK (all_failed = keep)", fail())] {
        let mut bench = Bench::following(&policy());
        bench.hold();
        bench.feed(event);
        let command = bench.command(CommandKind::Release, 5);
        assert!(bench.obeys(command), "{name}");
    }
    let mut bench = Bench::following(&policy());
    bench.hold();
    let release = bench.command(CommandKind::Release, 5);
    assert!(bench.obeys(release.clone()));
    assert!(!bench.obeys(release), "step 440: it is releasing already");

    let mut bench = Bench::following(&policy());
    let acquire = bench.command(CommandKind::Acquire, 5);
    assert!(bench.obeys(acquire));
    let release = bench.command(CommandKind::Release, 5);
    assert!(!bench.obeys(release), "step 440: it is not on-line but acquiring");
}

#[test]
fn a_command_that_comes_twice_is_obeyed_once() {
    let mut bench = Bench::following(&policy());
    let acquire = bench.command(CommandKind::Acquire, 5);
    let actions = bench.hear(vec![Record::Command(acquire.clone()), Record::Command(acquire.clone())]);
    let added = actions.iter().filter(|action| matches!(action, Action::AddAddress { .. })).count();
    assert_eq!(added, 1);
    let op = operation(&actions);
    bench.feed(Event::Finished { op, outcome: Outcome::Done });
    assert!(!bench.obeys(acquire));
}

#[test]
fn an_acquire_that_was_obeyed_and_ended_is_not_obeyed_again() {
    let mut bench = Bench::following(&policy());
    bench.hold();
    let acquire = bench.command(CommandKind::Acquire, 5);
    let release = bench.command(CommandKind::Release, 5);
    let actions = bench.hear(vec![Record::Command(release)]);
    let op = operation(&actions);
    bench.feed(Event::Finished { op, outcome: Outcome::Done });
    bench.run(Duration::from_millis(300));
    assert!(!bench.obeys(acquire), "its epoch is the known one");
    let again = bench.command(CommandKind::Acquire, 6);
    assert!(bench.obeys(again));
}

#[test]
fn a_command_is_obeyed_with_its_prefix_and_its_epoch() {
    let mut bench = Bench::following(&policy());
    let mut command = bench.command(CommandKind::Acquire, 41);
    command.items[0].prefix = 24;
    let actions = bench.hear(vec![Record::Command(command)]);
    let op = operation(&actions);
    let address = ServiceAddress { address: [192, 0, 2, 9].into(), prefix: 24 };
    assert!(actions.contains(&Action::AddAddress { op, interface: "svc0".to_owned(), address }));
    bench.feed(Event::Finished { op, outcome: Outcome::Done });
    bench.run(Duration::from_millis(300));
    assert_eq!(bench.node.view(bench.now).groups[0].addresses[0].epoch, 41);
}
