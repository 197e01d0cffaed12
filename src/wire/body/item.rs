//! Items: as a host sees them, as the service-address database keeps them, as a command names them.

use std::net::IpAddr;
use std::time::Duration;

use super::{Flags, take_value};
use crate::types::host::{EntryVersion, FailedAcquire, HostId, HostItem};
use crate::types::item::{Epoch, Item, ItemState, Reason};
use crate::types::message::{AddressRecord, CommandItem, Returned, VersionedItem};
use crate::wire::bytes::{Flaw, Layout, Reader, put_number, put_text};

const ITEM_DATA_SET: u8 = 1;
const ITEM_IPV4: u8 = 4;
const ITEM_IPV6: u8 = 6;

impl Layout for Item {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        match self {
            Self::Address(address) => address.put(out),
            Self::DataSet(name) if name.is_empty() => Err(Flaw::Text { field: "data set" }),
            Self::DataSet(name) => {
                out.push(ITEM_DATA_SET);
                put_text(out, name, "data set")
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let field = "item kind";
        match from.byte(field)? {
            ITEM_IPV4 => Ok(Self::Address(from.array::<4>(field)?.into())),
            ITEM_IPV6 => Ok(Self::Address(from.array::<16>(field)?.into())),
            ITEM_DATA_SET => match from.text("data set")? {
                name if name.is_empty() => Err(Flaw::Text { field: "data set" }),
                name => Ok(Self::DataSet(name)),
            },
            value => Err(Flaw::Unknown { field, value }),
        }
    }
}

/// An item with its prefix length: at most 32 or 128 bits of an address, 0 where it is not known; 0 of a data set.
fn put_item(out: &mut Vec<u8>, item: &Item, prefix: u8) -> Result<(), Flaw> {
    item.put(out)?;
    out.push(check_prefix(item, prefix)?);
    Ok(())
}

fn take_item(from: &mut Reader<'_>) -> Result<(Item, u8), Flaw> {
    let item = Item::take(from)?;
    let prefix = check_prefix(&item, from.byte("prefix")?)?;
    Ok((item, prefix))
}

fn check_prefix(item: &Item, prefix: u8) -> Result<u8, Flaw> {
    let fits = match item {
        Item::Address(IpAddr::V4(_)) => prefix <= 32,
        Item::Address(IpAddr::V6(_)) => prefix <= 128,
        Item::DataSet(_) => prefix == 0,
    };
    if fits { Ok(prefix) } else { Err(Flaw::Prefix { field: "item", prefix }) }
}

impl Layout for ItemState {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        out.push(match self {
            Self::NotServing => 0,
            Self::Acquiring => 1,
            Self::Online => 2,
            Self::Releasing => 3,
        });
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        take_value(from, "item state", |value| match value {
            0 => Some(Self::NotServing),
            1 => Some(Self::Acquiring),
            2 => Some(Self::Online),
            3 => Some(Self::Releasing),
            _ => None,
        })
    }
}

const PRESENT: u8 = 0;
const GONE: u8 = 1;

impl Layout for VersionedItem {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        match self {
            Self::Present { version, item } => {
                out.push(PRESENT);
                put_number(out, version.0);
                item.put(out)
            }
            Self::Gone { version, item } => {
                out.push(GONE);
                put_number(out, version.0);
                item.put(out)
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let field = "item presence";
        let presence = from.byte(field)?;
        let version = EntryVersion(from.number("entry version")?);
        match presence {
            PRESENT => Ok(Self::Present { version, item: HostItem::take(from)? }),
            GONE => Ok(Self::Gone { version, item: Item::take(from)? }),
            value => Err(Flaw::Unknown { field, value }),
        }
    }
}

const ITEM_PREFERRED: u8 = 1;
const ITEM_FLOATING: u8 = 2;
const ITEM_KERNEL: u8 = 4;
const ITEM_FAILED: u8 = 8;
const ITEM_PINNED: u8 = 16;

impl Layout for HostItem {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        put_item(out, &self.item, self.prefix)?;
        let flags = Flags::of(&[
            (ITEM_PREFERRED, self.preferred),
            (ITEM_FLOATING, self.floating),
            (ITEM_KERNEL, self.kernel),
            (ITEM_FAILED, self.failed.is_some()),
            (ITEM_PINNED, self.pinned),
        ]);
        out.push(flags.0);
        self.state.put(out)?;
        put_number(out, self.epoch.0);
        if let Some(FailedAcquire { count, back_off }) = self.failed {
            put_number(out, count.into());
            back_off.put(out)?;
        }
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let (item, prefix) = take_item(from)?;
        let flags = Flags(from.byte("item flags")?);
        Ok(Self {
            item,
            prefix,
            preferred: flags.has(ITEM_PREFERRED),
            floating: flags.has(ITEM_FLOATING),
            kernel: flags.has(ITEM_KERNEL),
            pinned: flags.has(ITEM_PINNED),
            state: ItemState::take(from)?,
            epoch: Epoch(from.number("epoch")?),
            failed: flags
                .then(ITEM_FAILED, || Ok(FailedAcquire { count: from.narrow("failed acquires")?, back_off: Duration::take(from)? }))?,
        })
    }
}

const ADDRESS_FLOATING: u8 = 1;
const ADDRESS_TOMBSTONE: u8 = 2;
const ADDRESS_PREFERRED_HOST: u8 = 4;
const ADDRESS_HOME_SERVED: u8 = 8;
const ADDRESS_RETURNED: u8 = 16;

impl Layout for AddressRecord {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        put_item(out, &self.item, self.prefix)?;
        let flags = Flags::of(&[
            (ADDRESS_FLOATING, self.floating),
            (ADDRESS_TOMBSTONE, self.tombstone),
            (ADDRESS_PREFERRED_HOST, self.preferred_host.is_some()),
            (ADDRESS_HOME_SERVED, self.home_served.is_some()),
            (ADDRESS_RETURNED, self.returned.is_some()),
        ]);
        out.push(flags.0);
        if let Some(host) = self.preferred_host {
            host.put(out)?;
        }
        self.orphaned.put(out)?;
        if let Some(home_served) = self.home_served {
            home_served.put(out)?;
        }
        self.lifetime.put(out)?;
        put_number(out, self.epoch.0);
        if let Some(Returned { ago, quick }) = self.returned {
            ago.put(out)?;
            put_number(out, quick.into());
        }
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let (item, prefix) = take_item(from)?;
        let flags = Flags(from.byte("address flags")?);
        Ok(Self {
            item,
            prefix,
            preferred_host: flags.then(ADDRESS_PREFERRED_HOST, || HostId::take(from))?,
            floating: flags.has(ADDRESS_FLOATING),
            orphaned: Duration::take(from)?,
            home_served: flags.then(ADDRESS_HOME_SERVED, || Duration::take(from))?,
            lifetime: Duration::take(from)?,
            epoch: Epoch(from.number("epoch")?),
            tombstone: flags.has(ADDRESS_TOMBSTONE),
            returned: flags.then(ADDRESS_RETURNED, || Ok(Returned { ago: Duration::take(from)?, quick: from.narrow("returns")? }))?,
        })
    }
}

const COMMAND_OVERLAPS: u8 = 1;

impl Layout for CommandItem {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        put_item(out, &self.item, self.prefix)?;
        put_number(out, self.epoch.0);
        self.reason.put(out)?;
        out.push(Flags::of(&[(COMMAND_OVERLAPS, self.overlaps.is_some())]).0);
        self.overlaps.map_or(Ok(()), |host| host.put(out))
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let (item, prefix) = take_item(from)?;
        let (epoch, reason) = (Epoch(from.number("epoch")?), Reason::take(from)?);
        let flags = Flags(from.byte("command flags")?);
        Ok(Self { item, prefix, epoch, reason, overlaps: flags.then(COMMAND_OVERLAPS, || HostId::take(from))? })
    }
}

/// In the order of the list at version 1; a reason keeps its number for ever.
const REASONS: [Reason; 19] = [
    Reason::Assigned,
    Reason::Drained,
    Reason::Duplicate,
    Reason::DuplicateId,
    Reason::Expired,
    Reason::Home,
    Reason::Found,
    Reason::Isolated,
    Reason::Leftover,
    Reason::LostFence,
    Reason::LostMajority,
    Reason::Late,
    Reason::Moved,
    Reason::Rebalanced,
    Reason::RemovedByOthers,
    Reason::Stopped,
    Reason::TestFailed,
    Reason::Reconfigured,
    Reason::NotAccepted,
];

impl Layout for Reason {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        out.push(match self {
            Self::Assigned => 1,
            Self::Drained => 2,
            Self::Duplicate => 3,
            Self::DuplicateId => 4,
            Self::Expired => 5,
            Self::Home => 6,
            Self::Found => 7,
            Self::Isolated => 8,
            Self::Leftover => 9,
            Self::LostFence => 10,
            Self::LostMajority => 11,
            Self::Late => 12,
            Self::Moved => 13,
            Self::Rebalanced => 14,
            Self::RemovedByOthers => 15,
            Self::Stopped => 16,
            Self::TestFailed => 17,
            Self::Reconfigured => 18,
            Self::NotAccepted => 19,
        });
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        take_value(from, "reason", |value| REASONS.get(usize::from(value).checked_sub(1)?).copied())
    }
}
