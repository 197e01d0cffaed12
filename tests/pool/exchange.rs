//! The exchange that `docs/protocol.md` shows: two hosts start, one loses power and comes back, the other stops.
//!
//! Real nodes in virtual time, so it is the same in every run. `UPDATE=1 cargo test --test pool` writes the section anew; else it
//! must be what stands there. Of each message only what its sender has not said before is shown.

use std::collections::BTreeMap;

use raisd::node::event::Event;
use raisd::types::host::{BootId, BootTag, Duty, HostHead, HostId, HostItem, Sequence};
use raisd::types::item::ItemState;
use raisd::types::message::{AddressRecord, Command, CommandKind, HearingRecord, MessageKind, Record, VersionedItem};
use raisd::types::time::Time;

use crate::network::Datagram;
use crate::setup::{address, ms, policy, secs};
use crate::world::World;

const BEGIN: &str = "<!-- exchange: written by `UPDATE=1 cargo test --test pool` -->\n";
const END: &str = "<!-- exchange: end -->\n";

#[test]
fn the_exchange_that_the_protocol_page_shows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("where the section begins");
    let (stored, after) = rest.split_once(END).expect("where it ends");
    let section = section();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{section}{END}{after}")).expect("written");
    } else {
        assert_eq!(stored, section, "UPDATE=1 cargo test --test pool writes docs/protocol.md anew");
    }
}

fn section() -> String {
    let mut world = World::new(1, [policy(1, &[address(1)]), policy(2, &[address(2)])]);
    world.capture = Some(Vec::new());
    let mut exchange = Exchange::default();
    let home = [(address(1), 1), (address(2), 2)];

    exchange.stage(&world, "### Two hosts start at the same moment\n\n\
        Nobody is proved, nobody is settled. Each names the other's boot id, and by that the other lives. Both listen for `timeout` and a heartbeat; \
        then both are settled, the lower id leads, and waits until the other has heard that it is settled before it decides.");
    world.boot(1);
    world.boot(2);
    world.run_until("both serve", secs(5), |world| world.is_served(&home));
    world.run_for(ms(300));
    exchange.tell(&mut world);

    exchange.stage(&world, "### web2 loses power\n\n\
        It is not heard for `timeout`. The leader takes the address itself, with the next epoch, which needs no message to anybody but its `info`.");
    world.power_off(2);
    world.run_until("web1 serves both", secs(3), |world| world.is_served(&[(address(1), 1), (address(2), 1)]));
    world.run_for(ms(300));
    exchange.tell(&mut world);

    exchange.stage(&world, "### web2 comes back\n\n\
        Its disk has its start count, so its incarnation is 2. It is settled as soon as a settled host has proved itself and its entry is whole, and it \
        is wanted home: the leader releases what it holds, sees in its own entry that it is gone, and has web2 acquire it.");
    world.boot(2);
    world.run_until("both serve their own", secs(5), |world| world.is_served(&home));
    world.run_for(ms(300));
    exchange.tell(&mut world);

    exchange.stage(
        &world,
        "### web1 is stopped\n\n\
        It releases, says so, and says goodbye three times. web2 leads at once and need not wait for any timeout.",
    );
    world.tell(1, Event::Stopped);
    world.run_until("web2 serves both", secs(2), |world| world.is_served(&[(address(1), 2), (address(2), 2)]));
    world.run_for(ms(300));
    exchange.tell(&mut world);
    exchange.text
}

/// The text, and what each start has said so far.
#[derive(Default)]
struct Exchange {
    text: String,
    said: BTreeMap<(BootId, String), String>,
}

impl Exchange {
    fn stage(&mut self, world: &World, text: &str) {
        self.text.push_str(&format!("{text}\n\n"));
        assert!(world.capture.as_ref().is_some_and(Vec::is_empty), "what was sent before belongs to the stage before");
    }

    /// Tells what was sent since.
    fn tell(&mut self, world: &mut World) {
        let sent = world.capture.replace(Vec::new()).expect("kept");
        self.text.push_str("```text\n");
        let mut silent = 0;
        for datagram in &sent {
            let news: Vec<String> = datagram.records.iter().flat_map(lines).filter_map(|line| self.news(datagram, line)).collect();
            if news.is_empty() {
                silent += 1;
                continue;
            }
            self.tell_silent(&mut silent);
            let (at, from) = (milliseconds(datagram.sent), name(datagram.sender.host));
            let kind = match datagram.kind {
                MessageKind::Info => "info",
                MessageKind::Acquire => "acquire",
                MessageKind::Release => "release",
            };
            let number = if datagram.number == u64::MAX { "last".to_owned() } else { datagram.number.to_string() };
            self.text.push_str(&format!("{at:>8} ms  {from} {kind}, datagram {number}\n"));
            for line in news {
                self.text.push_str(&format!("               {line}\n"));
            }
        }
        self.tell_silent(&mut silent);
        self.text.push_str("```\n\n");
    }

    fn tell_silent(&mut self, silent: &mut u32) {
        if *silent > 0 {
            let datagrams = if *silent == 1 { "1 datagram says".to_owned() } else { format!("{silent} datagrams say") };
            self.text.push_str(&format!("             … {datagrams} nothing else\n"));
        }
        *silent = 0;
    }

    /// The line, unless this start has said it already.
    fn news(&mut self, datagram: &Datagram, line: Line) -> Option<String> {
        let before = self.said.insert((datagram.sender.boot, line.about), line.compared.clone());
        (before.as_ref() != Some(&line.compared)).then_some(line.shown)
    }
}

/// What a record says about one thing; what changes with every message is not compared.
struct Line {
    about: String,
    compared: String,
    shown: String,
}

fn lines(record: &Record) -> Vec<Line> {
    let line = |about: String, says: String| Line { shown: format!("{about}: {says}"), compared: says, about };
    match record {
        Record::Head(head) => vec![head_line(head)],
        Record::Hearing(report) => vec![hearing_line(report)],
        Record::Detail(detail) => {
            let control: Vec<String> = detail.detail.control.iter().map(ToString::to_string).collect();
            vec![line(
                format!("Detail {}", name(detail.id)),
                format!("version {}, control addresses {}", detail.version.0, control.join(" ")),
            )]
        }
        Record::Items(items) => {
            let one = |item: &VersionedItem| match item {
                VersionedItem::Present { version, item } => line(
                    format!("Items {}: {}/{}", name(items.id), item.item, item.prefix),
                    format!("version {}, {}", version.0, item_text(item)),
                ),
                VersionedItem::Gone { version, item } => {
                    line(format!("Items {}: {item}", name(items.id)), format!("version {}, gone", version.0))
                }
            };
            items.items.iter().map(one).collect()
        }
        Record::Addresses(addresses) => {
            addresses.iter().map(|address| line(format!("Addresses {}", address.item), address_text(address))).collect()
        }
        Record::Zone(zone) => {
            let all: Vec<String> = zone.addresses.iter().map(ToString::to_string).collect();
            let all = if all.is_empty() { "empty".to_owned() } else { all.join(" ") };
            vec![line("Zone".to_owned(), format!("serial {} of {}: {all}", zone.serial, name(zone.leader)))]
        }
        Record::Command(command) => command_lines(command),
        // No operator wishes anything here.
        Record::Wish(_) | Record::Verdict(_) | Record::Freeze(_) => vec![line("Wish".to_owned(), format!("{record:?}"))],
    }
}

fn head_line(head: &HostHead) -> Line {
    let mut words = vec![format!("incarnation {}", head.incarnation), format!("boot {}", boot(head.boot.tag()))];
    if head.sequence == Sequence::FAREWELL {
        words.push("farewell".to_owned());
    }
    let items = if head.items.count == 1 { "item" } else { "items" };
    words.push(format!("version {}, {} {items}", head.version.0, head.items.count));
    words.push(if head.ok { "ok" } else { "not ok" }.to_owned());
    words.push(if head.settled { "settled" } else { "not settled" }.to_owned());
    if head.duty != Duty::Active {
        words.push(format!("{:?}", head.duty));
    }
    words.push(format!("database of {}, zone serial {}", head.database.count, head.zone_serial));
    let compared = words.join(", ");
    let sequence = if head.sequence == Sequence::FAREWELL { String::new() } else { format!("info {}, ", head.sequence.0) };
    let relayed = if head.age.is_zero() { String::new() } else { format!("{} ms old, ", head.age.as_millis()) };
    let about = format!("Head {}", name(head.id));
    Line { shown: format!("{about}: {sequence}{relayed}{compared}"), compared, about }
}

fn hearing_line(report: &HearingRecord) -> Line {
    let heard = |sequences: bool| {
        let one = |heard: &raisd::types::host::Hearing| {
            let proved = if heard.proved { "proved" } else { "not proved" };
            let sequence = if sequences { format!(" up to info {}", heard.sequence.0) } else { String::new() };
            let networks: Vec<String> = heard.networks.iter().map(|network| network.network.to_string()).collect();
            let networks = if networks.is_empty() { "on no network".to_owned() } else { format!("on networks {}", networks.join(" ")) };
            let whole =
                if heard.complete.0 == 0 { "nothing whole".to_owned() } else { format!("whole as of version {}", heard.complete.0) };
            format!("{} (boot {}){sequence}, {proved}, {whole}, {networks}", name(heard.host), boot(heard.boot))
        };
        let all: Vec<String> = report.heard.iter().map(one).collect();
        if all.is_empty() { "nobody".to_owned() } else { all.join("; ") }
    };
    let about = format!("Hearing of {}", name(report.by));
    Line { shown: format!("{about}: {}", heard(true)), compared: heard(false), about }
}

fn item_text(item: &HostItem) -> String {
    let mut words = Vec::new();
    if item.preferred {
        words.push("preferred".to_owned());
    }
    words.push(
        match item.state {
            ItemState::NotServing => "not serving",
            ItemState::Acquiring => "acquiring",
            ItemState::Online => "online",
            ItemState::Releasing => "releasing",
        }
        .to_owned(),
    );
    words.push(format!("epoch {}", item.epoch));
    if item.kernel {
        words.push("in the kernel".to_owned());
    }
    words.join(", ")
}

fn address_text(address: &AddressRecord) -> String {
    let home = address.preferred_host.map_or_else(|| "of nobody".to_owned(), |host| format!("of {}", name(host)));
    let orphaned = if address.orphaned.is_zero() { "not orphaned" } else { "orphaned" };
    format!("{home}, {orphaned}, epoch {}", address.epoch)
}

fn command_lines(command: &Command) -> Vec<Line> {
    let verb = match command.kind {
        CommandKind::Acquire => "acquire",
        CommandKind::Release => "release",
    };
    let one = |item: &raisd::types::message::CommandItem| {
        let about = format!("Command to {}: {verb} {}/{}", name(command.to), item.item, item.prefix);
        let compared = format!("epoch {}, {}", item.epoch, item.reason);
        let shown = format!("{about}, {compared}, incarnation {}, based on info {}", command.to_incarnation, command.based_on.0);
        Line { about, compared, shown }
    };
    command.items.iter().map(one).collect()
}

fn name(host: HostId) -> String {
    match host.0 {
        std::net::IpAddr::V4(id) => format!("web{}", id.octets()[3]),
        std::net::IpAddr::V6(id) => id.to_string(),
    }
}

fn boot(tag: BootTag) -> String {
    tag.0[..2].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn milliseconds(time: Time) -> String {
    let elapsed = time.since_start();
    format!("{}.{}", elapsed.as_millis(), elapsed.subsec_micros() / 100 % 10)
}
