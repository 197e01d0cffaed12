//! Digests of entries and databases: the bytes that are hashed, the same on every host and in every build.
//!
//! `docs/protocol.md` lays them out. What changes by itself with time (ages, remaining back-off) is left out.

use std::hash::Hasher;
use std::net::IpAddr;

use crate::types::fnv::Fnv;
use crate::types::host::{HostDetail, HostItem};
use crate::types::item::Item;
use crate::types::message::AddressRecord;

/// Digest of one item of an entry.
pub(crate) fn item_digest(item: &HostItem) -> u64 {
    let mut hash = Fnv::default();
    hash.write(b"item");
    write_item(&mut hash, &item.item);
    hash.write(&[item.prefix, u8::from(item.preferred), u8::from(item.floating), state_byte(item), presence_byte(item)]);
    hash.write_u64(item.epoch.0);
    hash.write_u32(item.failed.map_or(0, |failed| failed.count));
    hash.finish()
}

/// Whether two views of an item differ in nothing but what changes with time.
pub(crate) fn same(one: &HostItem, other: &HostItem) -> bool {
    let count = |item: &HostItem| item.failed.map(|failed| failed.count);
    let rest = |item: &HostItem| HostItem { failed: None, ..item.clone() };
    count(one) == count(other) && rest(one) == rest(other)
}

/// What the kernel has, and whether it is to stay.
fn presence_byte(item: &HostItem) -> u8 {
    u8::from(item.kernel) | u8::from(item.pinned) << 1
}

fn state_byte(item: &HostItem) -> u8 {
    use crate::types::item::ItemState;
    match item.state {
        ItemState::NotServing => 0,
        ItemState::Acquiring => 1,
        ItemState::Online => 2,
        ItemState::Releasing => 3,
    }
}

/// Digest of the detail of an entry.
pub(crate) fn detail_digest(detail: &HostDetail) -> u64 {
    let mut hash = Fnv::default();
    hash.write(b"detail");
    write_text(&mut hash, &detail.name);
    write_text(&mut hash, &detail.software);
    for control in &detail.control {
        write_address(&mut hash, *control);
    }
    hash.write_u8(u8::from(detail.multicast));
    hash.write_u8(u8::from(detail.mac.is_some()));
    hash.write(&detail.mac.unwrap_or_default());
    for network in &detail.accept {
        write_address(&mut hash, network.addr());
        hash.write_u8(network.prefix_len());
    }
    write_text(&mut hash, &detail.location);
    for capability in &detail.capabilities {
        write_text(&mut hash, capability);
    }
    for key in &detail.config {
        hash.write(&key.to_le_bytes());
    }
    hash.write_u32(detail.keys.sends.0);
    for id in &detail.keys.opens {
        hash.write_u32(id.0);
    }
    hash.finish()
}

/// Digest of one address of the database.
pub(crate) fn address_digest(record: &AddressRecord) -> u64 {
    let mut hash = Fnv::default();
    hash.write(b"address");
    write_item(&mut hash, &record.item);
    hash.write(&[record.prefix, u8::from(record.floating), u8::from(record.tombstone), u8::from(record.preferred_host.is_some())]);
    if let Some(host) = record.preferred_host {
        write_address(&mut hash, host.0);
    }
    hash.write_u64(record.epoch.0);
    hash.write_u32(record.returned.map_or(0, |returned| returned.quick));
    hash.finish()
}

/// What everybody draws alike: from a group, an item and an epoch.
pub(crate) fn draw(group: &str, item: &Item, epoch: u64) -> u64 {
    let mut hash = Fnv::default();
    hash.write(b"draw");
    write_text(&mut hash, group);
    write_item(&mut hash, item);
    hash.write_u64(epoch);
    hash.finish()
}

fn write_item(hash: &mut Fnv, item: &Item) {
    match item {
        Item::Address(address) => write_address(hash, *address),
        Item::DataSet(name) => {
            hash.write_u8(0);
            write_text(hash, name);
        }
    }
}

fn write_address(hash: &mut Fnv, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            hash.write_u8(4);
            hash.write(&address.octets());
        }
        IpAddr::V6(address) => {
            hash.write_u8(6);
            hash.write(&address.octets());
        }
    }
}

fn write_text(hash: &mut Fnv, text: &str) {
    hash.write_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    hash.write(text.as_bytes());
}
