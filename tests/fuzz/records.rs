//! Records from bytes: every kind, with hosts, starts and addresses that a small pool knows as often as not.
//!
//! The bytes choose; where they end, everything is small. Values stay within what a sender may write.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use ipnet::IpNet;
use raisd::types::host::{
    BootId, Duty, EntryVersion, Extent, FailedAcquire, Hearing, HostDetail, HostHead, HostId, HostItem, HostKeys, Incarnation, KeyId,
    NETWORKS_MAX, NetworkHearing, Role, Sequence,
};
use raisd::types::item::{Epoch, Item, ItemState, Reason};
use raisd::types::message::{
    AddressRecord, Command, CommandItem, CommandKind, DetailRecord, Freeze, HearingRecord, ItemsRecord, Message, MessageKind, Record,
    Refusal, Returned, Verdict, VerdictRecord, VersionedItem, Wish, WishKind, ZoneRecord,
};
use raisd::types::policy::{AllFailed, Ruling};
use raisd::wire::DURATION_MAX;

/// What records may name.
#[derive(Clone, Default, Debug)]
pub(crate) struct Known {
    pub(crate) hosts: Vec<HostId>,
    pub(crate) boots: Vec<BootId>,
    pub(crate) addresses: Vec<IpAddr>,
    /// Sequences, versions, epochs and incarnations lie about here.
    pub(crate) numbers: Vec<u64>,
}

/// Draws what a pool knows, or something else.
pub(crate) struct Draw<'a, 'b> {
    pub(crate) from: &'a mut Unstructured<'b>,
    pub(crate) known: &'a Known,
}

impl Draw<'_, '_> {
    /// Any message, some of them many datagrams long.
    pub(crate) fn message(&mut self) -> Result<Message> {
        let kind = *self.from.choose(&[MessageKind::Info, MessageKind::Acquire, MessageKind::Release])?;
        let incarnation = Incarnation(self.number()?);
        let records = self.many(12, Self::record)?;
        Ok(Message { kind, incarnation, records })
    }

    pub(crate) fn record(&mut self) -> Result<Record> {
        Ok(match self.from.int_in_range(0..=9)? {
            0 => Record::Head(Box::new(self.head()?)),
            1 => Record::Hearing(HearingRecord {
                by: self.host()?,
                boot: self.boot()?,
                sequence: Sequence(self.number()?),
                heard: self.many(40, Self::hearing)?,
            }),
            2 => Record::Detail(Box::new(DetailRecord {
                id: self.host()?,
                boot: self.boot()?,
                version: EntryVersion(self.number()?),
                detail: self.detail()?,
            })),
            3 => Record::Items(ItemsRecord { id: self.host()?, boot: self.boot()?, items: self.many(200, Self::versioned_item)? }),
            4 => Record::Addresses(self.many(100, Self::address_record)?),
            5 => Record::Zone(self.zone()?),
            6 => Record::Command(self.command()?),
            7 => Record::Wish(self.wish()?),
            8 => Record::Verdict(self.verdict()?),
            _ => Record::Freeze(Freeze { number: self.number()?, by: self.host()?, left: self.duration()? }),
        })
    }

    fn many<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        // A byte as a rule: few of them, and the bytes are left for what they say.
        let count = usize::from(self.from.arbitrary::<u8>()?).min(most);
        let mut list = Vec::new();
        for _ in 0..count {
            if self.from.is_empty() {
                break;
            }
            list.push(one(self)?);
        }
        Ok(list)
    }

    fn head(&mut self) -> Result<HostHead> {
        Ok(HostHead {
            id: self.host()?,
            incarnation: Incarnation(self.number()?),
            boot: self.boot()?,
            sequence: if self.from.ratio(1, 16)? { Sequence::FAREWELL } else { Sequence(self.number()?) },
            age: self.duration()?,
            uptime: self.duration()?,
            version: EntryVersion(self.number()?),
            items: self.extent()?,
            ok: self.from.arbitrary()?,
            duty: *self.from.choose(&[Duty::Active, Duty::Quiesced, Duty::Draining])?,
            settled: self.from.arbitrary()?,
            role: *self.from.choose(&[Role::Server, Role::Observer])?,
            spare: self.from.arbitrary()?,
            frozen: self.option(Self::duration)?,
            restarting: self.from.arbitrary()?,
            config_hash: self.number()?,
            ruling: Ruling {
                heartbeat: self.duration()?,
                timeout: self.duration()?,
                all_failed: *self.from.choose(&[AllFailed::Release, AllFailed::Keep])?,
            },
            load: self.from.arbitrary()?,
            capacity: self.from.arbitrary()?,
            promise: self.option(Self::duration)?,
            database: self.extent()?,
            zone_serial: self.from.arbitrary()?,
        })
    }

    fn hearing(&mut self) -> Result<Hearing> {
        Ok(Hearing {
            host: self.host()?,
            boot: self.boot()?.tag(),
            sequence: Sequence(self.number()?),
            proved: self.from.arbitrary()?,
            complete: EntryVersion(self.number()?),
            networks: self.many(NETWORKS_MAX, |draw| {
                let network = draw.from.int_in_range(0..=NETWORKS_MAX as u8 - 1)?;
                Ok(NetworkHearing { network, loss: draw.from.arbitrary()?, multicast: draw.from.arbitrary()? })
            })?,
        })
    }

    fn detail(&mut self) -> Result<HostDetail> {
        Ok(HostDetail {
            name: self.text()?,
            software: self.text()?,
            control: self.many(NETWORKS_MAX, Self::address)?,
            multicast: self.from.arbitrary()?,
            mac: self.option(|draw| draw.from.arbitrary())?,
            accept: self.many(8, Self::network)?,
            location: self.text()?,
            capabilities: self.many(4, Self::name)?,
            config: self.many(8, |draw| draw.from.arbitrary())?,
            keys: HostKeys { sends: KeyId(self.from.arbitrary()?), opens: self.many(8, |draw| Ok(KeyId(draw.from.arbitrary()?)))? },
        })
    }

    fn versioned_item(&mut self) -> Result<VersionedItem> {
        let version = EntryVersion(self.number()?);
        let (item, prefix) = self.item()?;
        if self.from.ratio(1, 4)? {
            return Ok(VersionedItem::Gone { version, item });
        }
        let states = [ItemState::NotServing, ItemState::Acquiring, ItemState::Online, ItemState::Releasing];
        let failed = |draw: &mut Self| Ok(FailedAcquire { count: draw.from.arbitrary()?, back_off: draw.duration()? });
        let item = HostItem {
            item,
            prefix,
            preferred: self.from.arbitrary()?,
            floating: self.from.arbitrary()?,
            state: *self.from.choose(&states)?,
            epoch: Epoch(self.number()?),
            kernel: self.from.arbitrary()?,
            pinned: self.from.arbitrary()?,
            failed: self.option(failed)?,
        };
        Ok(VersionedItem::Present { version, item })
    }

    fn address_record(&mut self) -> Result<AddressRecord> {
        let (item, prefix) = self.item()?;
        Ok(AddressRecord {
            item,
            prefix,
            preferred_host: self.option(Self::host)?,
            floating: self.from.arbitrary()?,
            orphaned: self.duration()?,
            home_served: self.option(Self::duration)?,
            lifetime: self.duration()?,
            epoch: Epoch(self.number()?),
            tombstone: self.from.ratio(1, 4)?,
            returned: self.option(|draw| Ok(Returned { ago: draw.duration()?, quick: draw.from.arbitrary()? }))?,
        })
    }

    fn zone(&mut self) -> Result<ZoneRecord> {
        let parts = self.from.arbitrary::<u16>()?.max(1);
        let part = self.from.int_in_range(0..=parts - 1)?;
        let (leader, serial) = (self.host()?, self.from.arbitrary()?);
        Ok(ZoneRecord { leader, serial, part, parts, addresses: self.many(16, Self::address)? })
    }

    fn command(&mut self) -> Result<Command> {
        let reasons = [Reason::Assigned, Reason::Home, Reason::Duplicate, Reason::TestFailed, Reason::Expired, Reason::Moved];
        Ok(Command {
            kind: *self.from.choose(&[CommandKind::Acquire, CommandKind::Release])?,
            leader: self.host()?,
            leader_boot: self.boot()?,
            to: self.host()?,
            to_incarnation: Incarnation(self.number()?),
            based_on: Sequence(self.number()?),
            items: self.many(100, |draw| {
                let (item, prefix) = draw.item()?;
                let reason = *draw.from.choose(&reasons)?;
                Ok(CommandItem { item, prefix, epoch: Epoch(draw.number()?), reason, overlaps: draw.option(Self::host)? })
            })?,
        })
    }

    fn wish(&mut self) -> Result<Wish> {
        let kind = if self.from.arbitrary()? {
            WishKind::Rebalance
        } else {
            WishKind::Move { item: self.item()?.0, to: self.option(Self::host)? }
        };
        let (by, boot, sequence) = (self.host()?, self.boot()?, Sequence(self.number()?));
        Ok(Wish { by, boot, sequence, number: self.number()?, left: self.duration()?, kind })
    }

    fn verdict(&mut self) -> Result<VerdictRecord> {
        let verdict = match self.from.int_in_range(0..=3)? {
            0 => Verdict::Done(self.host()?),
            1 => Verdict::There(self.host()?),
            2 => Verdict::Evened { moves: self.from.arbitrary()? },
            _ => Verdict::Refused {
                why: *self.from.choose(&[Refusal::Unknown, Refusal::Frozen, Refusal::NoHome, Refusal::HostAway])?,
                host: self.option(Self::host)?,
            },
        };
        let (leader, sequence) = (self.host()?, Sequence(self.number()?));
        Ok(VerdictRecord { leader, sequence, to: self.host()?, boot: self.boot()?, number: self.number()?, verdict })
    }

    /// An item with a prefix length of its family.
    fn item(&mut self) -> Result<(Item, u8)> {
        if self.from.ratio(1, 12)? {
            return Ok((Item::DataSet(self.name()?), 0));
        }
        let address = self.address()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = if self.from.ratio(3, 4)? { most } else { self.from.int_in_range(0..=most)? };
        Ok((Item::Address(address), prefix))
    }

    fn network(&mut self) -> Result<IpNet> {
        let address = self.address()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        Ok(IpNet::new(address, self.from.int_in_range(0..=most)?).unwrap())
    }

    fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        Ok(if self.from.arbitrary()? { Some(some(self)?) } else { None })
    }

    fn host(&mut self) -> Result<HostId> {
        let known = self.known;
        if !known.hosts.is_empty() && self.from.ratio(7, 8)? {
            Ok(*self.from.choose(&known.hosts)?)
        } else {
            Ok(HostId(self.any_address()?))
        }
    }

    fn boot(&mut self) -> Result<BootId> {
        let known = self.known;
        if !known.boots.is_empty() && self.from.ratio(7, 8)? {
            Ok(*self.from.choose(&known.boots)?)
        } else {
            Ok(BootId(self.from.arbitrary()?))
        }
    }

    fn address(&mut self) -> Result<IpAddr> {
        let known = self.known;
        if !known.addresses.is_empty() && self.from.ratio(7, 8)? { Ok(*self.from.choose(&known.addresses)?) } else { self.any_address() }
    }

    fn any_address(&mut self) -> Result<IpAddr> {
        Ok(if self.from.arbitrary()? {
            Ipv4Addr::from(self.from.arbitrary::<u32>()?).into()
        } else {
            Ipv6Addr::from(self.from.arbitrary::<u128>()?).into()
        })
    }

    /// Near what is known, small, or anything.
    fn number(&mut self) -> Result<u64> {
        let known = self.known;
        let choice: u8 = self.from.arbitrary()?;
        if !known.numbers.is_empty() && choice < 160 {
            let near: i8 = self.from.arbitrary()?;
            return Ok(self.from.choose(&known.numbers)?.saturating_add_signed(near.into()));
        }
        let number: u64 = self.from.arbitrary()?;
        Ok(number >> (choice % 64))
    }

    fn duration(&mut self) -> Result<Duration> {
        let (micros, shift): (u64, u8) = (self.from.arbitrary()?, self.from.arbitrary()?);
        Ok(Duration::from_micros((micros >> (shift % 64)).min(u64::try_from(DURATION_MAX.as_micros()).unwrap_or(u64::MAX))))
    }

    fn extent(&mut self) -> Result<Extent> {
        Ok(Extent { count: self.from.arbitrary()?, digest: self.number()? })
    }

    /// At most 64 bytes without control characters.
    fn text(&mut self) -> Result<String> {
        let letters = ["a", "z", "0", "-", " ", "ä", "€", "\"", "<", "{"];
        let count = self.from.int_in_range(0..=20)?;
        (0..count).map(|_| self.from.choose(&letters).copied()).collect()
    }

    /// Not empty.
    fn name(&mut self) -> Result<String> {
        let count = self.from.int_in_range(1..=64)?;
        (0..count).map(|_| self.from.choose(&['a', 'b', 'z', '0', '-']).copied()).collect()
    }
}
