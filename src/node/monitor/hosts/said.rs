//! What one record says of a host: questions to records, without a memory.
//!
//! Pure functions; asked by `hosts.rs`.

use std::net::IpAddr;

use crate::types::host::{HostHead, HostId};
use crate::types::item::Item;
use crate::types::message::{Record, Sender, VersionedItem};

/// The control addresses that the sender of a datagram says it has.
pub(super) fn own_control(sender: Sender, record: &Record) -> Option<&[IpAddr]> {
    match record {
        Record::Detail(record) => (record.id == sender.host && record.boot == sender.boot).then_some(record.detail.control.as_slice()),
        Record::Head(_)
        | Record::Hearing(_)
        | Record::Items(_)
        | Record::Addresses(_)
        | Record::Zone(_)
        | Record::Command(_)
        | Record::Wish(_)
        | Record::Verdict(_)
        | Record::Freeze(_) => None,
    }
}

/// The head of the very start that sent the datagram.
pub(super) fn own_head(sender: Sender, record: &Record) -> Option<&HostHead> {
    match record {
        Record::Head(head) => (head.id == sender.host && head.boot == sender.boot).then_some(head),
        Record::Hearing(_)
        | Record::Detail(_)
        | Record::Items(_)
        | Record::Addresses(_)
        | Record::Zone(_)
        | Record::Command(_)
        | Record::Wish(_)
        | Record::Verdict(_)
        | Record::Freeze(_) => None,
    }
}

/// Whether the record is about this host and nobody else.
pub(super) fn is_of(host: HostId, record: &Record) -> bool {
    match record {
        Record::Head(head) => head.id == host,
        Record::Hearing(report) => report.by == host,
        Record::Detail(detail) => detail.id == host,
        Record::Items(items) => items.id == host,
        Record::Addresses(_) | Record::Zone(_) | Record::Command(_) | Record::Wish(_) | Record::Verdict(_) | Record::Freeze(_) => false,
    }
}

/// The item, if the change says that its host holds it or has let it go.
pub(super) fn rivalled(change: &VersionedItem) -> Option<Item> {
    match change {
        VersionedItem::Present { item, .. } => item.state.is_held().then(|| item.item.clone()),
        VersionedItem::Gone { item, .. } => Some(item.clone()),
    }
}

/// What placement, leadership and the zone read of a head.
pub(super) fn placement_facts(head: &HostHead) -> impl PartialEq + use<> {
    (
        (head.ok, head.duty, head.settled, head.role, head.spare, head.restarting),
        (head.version, head.load, head.capacity, head.incarnation, head.database, head.frozen.is_some()),
    )
}
