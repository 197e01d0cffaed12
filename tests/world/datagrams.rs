//! Messages into datagrams: as the wire floor does it, but counted in members instead of bytes.

use raisd::types::message::{Command, HearingRecord, ItemsRecord, RECORD_MEMBERS_MAX, Record, ZoneRecord};

/// A datagram carries about so many list members.
const MEMBERS_MAX: usize = 40;

/// Records in datagrams of about so many list members (0: as many as fit); lists are cut.
pub(crate) fn pack(records: Vec<Record>, members_max: usize) -> Vec<Vec<Record>> {
    let members_max = if members_max == 0 { MEMBERS_MAX } else { members_max };
    let mut datagrams = Vec::new();
    let mut open = Vec::new();
    let mut weight = 0;
    for record in records.into_iter().flat_map(cut) {
        let more = weigh(&record);
        if weight + more > members_max && !open.is_empty() {
            datagrams.push(std::mem::take(&mut open));
            weight = 0;
        }
        weight += more;
        open.push(record);
    }
    datagrams.push(open);
    datagrams
}

pub(crate) fn weigh_all(records: &[Record]) -> usize {
    records.iter().map(weigh).sum()
}

fn weigh(record: &Record) -> usize {
    match record {
        Record::Head(_) | Record::Detail(_) => 5,
        Record::Wish(_) | Record::Verdict(_) | Record::Freeze(_) => 3,
        Record::Hearing(report) => report.heard.len() + 1,
        Record::Items(items) => items.items.len() + 1,
        Record::Addresses(addresses) => addresses.len(),
        Record::Zone(zone) => zone.addresses.len() / 2 + 1,
        Record::Command(command) => command.items.len() + 1,
    }
}

fn chunks<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    if list.is_empty() { vec![Vec::new()] } else { list.chunks(RECORD_MEMBERS_MAX).map(<[T]>::to_vec).collect() }
}

fn cut(record: Record) -> Vec<Record> {
    match record {
        Record::Head(_) | Record::Detail(_) | Record::Wish(_) | Record::Verdict(_) | Record::Freeze(_) => vec![record],
        Record::Zone(ZoneRecord { .. }) => vec![record],
        Record::Hearing(report) => {
            let piece = |heard| Record::Hearing(HearingRecord { heard, ..report.clone() });
            chunks(&report.heard).into_iter().map(piece).collect()
        }
        Record::Items(items) => {
            let piece = |members| Record::Items(ItemsRecord { items: members, ..items.clone() });
            chunks(&items.items).into_iter().map(piece).collect()
        }
        Record::Addresses(addresses) => chunks(&addresses).into_iter().map(Record::Addresses).collect(),
        Record::Command(command) => {
            let piece = |items| Record::Command(Command { items, ..command.clone() });
            chunks(&command.items).into_iter().map(piece).collect()
        }
    }
}
