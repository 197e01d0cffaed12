//! What a host says of itself and of whom it hears.

use std::net::IpAddr;
use std::time::Duration;

use super::{Flags, MEMBERS_MAX, take_value};
use crate::types::host::{
    BootId, BootTag, Duty, EntryVersion, Extent, Hearing, HostDetail, HostHead, HostId, HostKeys, Incarnation, KeyId, NETWORKS_MAX,
    NetworkHearing, Role, Sequence,
};
use crate::types::message::DetailRecord;
use crate::types::policy::{AllFailed, Ruling};
use crate::wire::bytes::{Flaw, Layout, Reader, put_count, put_number, put_text, take_count};

impl Layout for HostId {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.0.put(out)
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        IpAddr::take(from).map(Self)
    }
}

impl Layout for BootId {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        from.array("boot id").map(Self)
    }
}

impl Layout for Extent {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        put_number(out, self.count.into());
        out.extend_from_slice(&self.digest.to_be_bytes());
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        Ok(Self { count: from.narrow("count")?, digest: u64::from_be_bytes(from.array("digest")?) })
    }
}

impl Layout for Duty {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        out.push(match self {
            Self::Active => 0,
            Self::Quiesced => 1,
            Self::Draining => 2,
        });
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        take_value(from, "duty", |value| match value {
            0 => Some(Self::Active),
            1 => Some(Self::Quiesced),
            2 => Some(Self::Draining),
            _ => None,
        })
    }
}

impl Layout for Role {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        out.push(match self {
            Self::Server => 0,
            Self::Observer => 1,
        });
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        take_value(from, "role", |value| match value {
            0 => Some(Self::Server),
            1 => Some(Self::Observer),
            _ => None,
        })
    }
}

const HEAD_OK: u8 = 1;
const HEAD_SETTLED: u8 = 2;
const HEAD_SPARE: u8 = 4;
const HEAD_RESTARTING: u8 = 8;
const HEAD_FROZEN: u8 = 16;
const HEAD_PROMISE: u8 = 32;
const HEAD_KEEP: u8 = 64;

impl Layout for HostHead {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.id.put(out)?;
        put_number(out, self.incarnation.0);
        self.boot.put(out)?;
        put_number(out, self.sequence.0);
        self.age.put(out)?;
        self.uptime.put(out)?;
        put_number(out, self.version.0);
        self.items.put(out)?;
        let flags = Flags::of(&[
            (HEAD_OK, self.ok),
            (HEAD_SETTLED, self.settled),
            (HEAD_SPARE, self.spare),
            (HEAD_RESTARTING, self.restarting),
            (HEAD_FROZEN, self.frozen.is_some()),
            (HEAD_PROMISE, self.promise.is_some()),
            (HEAD_KEEP, self.ruling.all_failed == AllFailed::Keep),
        ]);
        out.push(flags.0);
        self.duty.put(out)?;
        self.role.put(out)?;
        if let Some(frozen) = self.frozen {
            frozen.put(out)?;
        }
        out.extend_from_slice(&self.config_hash.to_be_bytes());
        self.ruling.heartbeat.put(out)?;
        self.ruling.timeout.put(out)?;
        put_number(out, self.load.into());
        put_number(out, self.capacity.into());
        if let Some(promise) = self.promise {
            promise.put(out)?;
        }
        self.database.put(out)?;
        put_number(out, self.zone_serial.into());
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let id = HostId::take(from)?;
        let incarnation = Incarnation(from.number("incarnation")?);
        let boot = BootId::take(from)?;
        let sequence = Sequence(from.number("sequence")?);
        let age = Duration::take(from)?;
        let uptime = Duration::take(from)?;
        let version = EntryVersion(from.number("entry version")?);
        let items = Extent::take(from)?;
        let flags = Flags(from.byte("head flags")?);
        Ok(Self {
            id,
            incarnation,
            boot,
            sequence,
            age,
            uptime,
            version,
            items,
            ok: flags.has(HEAD_OK),
            duty: Duty::take(from)?,
            settled: flags.has(HEAD_SETTLED),
            role: Role::take(from)?,
            spare: flags.has(HEAD_SPARE),
            frozen: flags.then(HEAD_FROZEN, || Duration::take(from))?,
            restarting: flags.has(HEAD_RESTARTING),
            config_hash: u64::from_be_bytes(from.array("configuration hash")?),
            ruling: Ruling {
                heartbeat: Duration::take(from)?,
                timeout: Duration::take(from)?,
                all_failed: if flags.has(HEAD_KEEP) { AllFailed::Keep } else { AllFailed::Release },
            },
            load: from.narrow("load")?,
            capacity: from.narrow("capacity")?,
            promise: flags.then(HEAD_PROMISE, || Duration::take(from))?,
            database: Extent::take(from)?,
            zone_serial: from.narrow("zone serial")?,
        })
    }
}

const HEARING_PROVED: u8 = 1;

/// Beside the number of a network.
const HEARING_MULTICAST: u8 = 128;

impl Layout for Hearing {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.host.put(out)?;
        out.extend_from_slice(&self.boot.0);
        put_number(out, self.sequence.0);
        out.push(Flags::of(&[(HEARING_PROVED, self.proved)]).0);
        put_number(out, self.complete.0);
        put_count(out, self.networks.len(), NETWORKS_MAX, "networks")?;
        for NetworkHearing { network, loss, multicast } in &self.networks {
            let way = Flags::of(&[(HEARING_MULTICAST, *multicast)]);
            out.extend_from_slice(&[check_network(*network)? | way.0, *loss]);
        }
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let host = HostId::take(from)?;
        let boot = BootTag(from.array("boot tag")?);
        let sequence = Sequence(from.number("sequence")?);
        let flags = Flags(from.byte("hearing flags")?);
        let complete = EntryVersion(from.number("entry version")?);
        let count = take_count(from, NETWORKS_MAX, "networks")?;
        let mut networks = Vec::with_capacity(count);
        for _ in 0..count {
            let [network, loss] = from.array("network hearing")?;
            let multicast = Flags(network).has(HEARING_MULTICAST);
            networks.push(NetworkHearing { network: check_network(network & !HEARING_MULTICAST)?, loss, multicast });
        }
        Ok(Self { host, boot, sequence, proved: flags.has(HEARING_PROVED), complete, networks })
    }
}

fn check_network(network: u8) -> Result<u8, Flaw> {
    if usize::from(network) < NETWORKS_MAX { Ok(network) } else { Err(Flaw::Range { field: "network" }) }
}

const DETAIL_MAC: u8 = 1;
const DETAIL_MULTICAST: u8 = 2;

impl Layout for DetailRecord {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.id.put(out)?;
        self.boot.put(out)?;
        put_number(out, self.version.0);
        let HostDetail { name, software, control, multicast, mac, accept, location, capabilities, config, keys } = &self.detail;
        out.push(Flags::of(&[(DETAIL_MAC, mac.is_some()), (DETAIL_MULTICAST, *multicast)]).0);
        put_text(out, name, "host name")?;
        put_text(out, software, "software version")?;
        put_count(out, control.len(), NETWORKS_MAX, "control addresses")?;
        for address in control {
            address.put(out)?;
        }
        if let Some(mac) = mac {
            out.extend_from_slice(mac);
        }
        put_count(out, accept.len(), MEMBERS_MAX, "accepted networks")?;
        for network in accept {
            network.put(out)?;
        }
        put_text(out, location, "location")?;
        put_count(out, capabilities.len(), MEMBERS_MAX, "capabilities")?;
        for capability in capabilities {
            put_text(out, capability, "capability")?;
        }
        put_count(out, config.len(), MEMBERS_MAX, "group-wide keys")?;
        for hash in config {
            out.extend_from_slice(&hash.to_be_bytes());
        }
        put_number(out, keys.sends.0.into());
        put_count(out, keys.opens.len(), MEMBERS_MAX, "keys")?;
        for id in &keys.opens {
            put_number(out, id.0.into());
        }
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let id = HostId::take(from)?;
        let boot = BootId::take(from)?;
        let version = EntryVersion(from.number("entry version")?);
        let flags = Flags(from.byte("detail flags")?);
        let name = from.text("host name")?;
        let software = from.text("software version")?;
        let control = (0..take_count(from, NETWORKS_MAX, "control addresses")?).map(|_| IpAddr::take(from)).collect::<Result<_, _>>()?;
        let multicast = flags.has(DETAIL_MULTICAST);
        let mac = flags.then(DETAIL_MAC, || from.array("hardware address"))?;
        let accept = (0..take_count(from, MEMBERS_MAX, "accepted networks")?).map(|_| Layout::take(from)).collect::<Result<_, _>>()?;
        let location = from.text("location")?;
        let capabilities =
            (0..take_count(from, MEMBERS_MAX, "capabilities")?).map(|_| from.text("capability")).collect::<Result<_, _>>()?;
        let config = (0..take_count(from, MEMBERS_MAX, "group-wide keys")?)
            .map(|_| from.array("group-wide key").map(u16::from_be_bytes))
            .collect::<Result<_, _>>()?;
        let sends = KeyId(from.narrow("key id")?);
        let opens = (0..take_count(from, MEMBERS_MAX, "keys")?).map(|_| from.narrow("key id").map(KeyId)).collect::<Result<_, _>>()?;
        let keys = HostKeys { sends, opens };
        let detail = HostDetail { name, software, control, multicast, mac, accept, location, capabilities, config, keys };
        Ok(Self { id, boot, version, detail })
    }
}
