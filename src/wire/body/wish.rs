//! What operators wish of a group, and what becomes of it.

use std::time::Duration;

use super::take_value;
use crate::types::host::{BootId, HostId, Sequence};
use crate::types::item::Item;
use crate::types::message::{Freeze, Refusal, Verdict, VerdictRecord, Wish, WishKind};
use crate::wire::bytes::{Flaw, Layout, Reader, put_number};

const MOVE: u8 = 1;
const MOVE_HOME: u8 = 2;
const REBALANCE: u8 = 3;

impl Layout for WishKind {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        match self {
            Self::Move { item, to: Some(to) } => {
                out.push(MOVE);
                item.put(out)?;
                to.put(out)
            }
            Self::Move { item, to: None } => {
                out.push(MOVE_HOME);
                item.put(out)
            }
            Self::Rebalance => {
                out.push(REBALANCE);
                Ok(())
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let field = "wish";
        match from.byte(field)? {
            MOVE => Ok(Self::Move { item: Item::take(from)?, to: Some(HostId::take(from)?) }),
            MOVE_HOME => Ok(Self::Move { item: Item::take(from)?, to: None }),
            REBALANCE => Ok(Self::Rebalance),
            value => Err(Flaw::Unknown { field, value }),
        }
    }
}

impl Layout for Wish {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.by.put(out)?;
        self.boot.put(out)?;
        put_number(out, self.sequence.0);
        put_number(out, self.number);
        self.left.put(out)?;
        self.kind.put(out)
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        Ok(Self {
            by: HostId::take(from)?,
            boot: BootId::take(from)?,
            sequence: Sequence(from.number("sequence")?),
            number: from.number("wish number")?,
            left: Duration::take(from)?,
            kind: WishKind::take(from)?,
        })
    }
}

const DONE: u8 = 1;
const THERE: u8 = 2;
const EVENED: u8 = 3;
const REFUSED: u8 = 4;
const REFUSED_HOST: u8 = 5;

impl Layout for Verdict {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        match self {
            Self::Done(host) => {
                out.push(DONE);
                host.put(out)
            }
            Self::There(host) => {
                out.push(THERE);
                host.put(out)
            }
            Self::Evened { moves } => {
                out.push(EVENED);
                put_number(out, (*moves).into());
                Ok(())
            }
            Self::Refused { why, host: None } => {
                out.push(REFUSED);
                why.put(out)
            }
            Self::Refused { why, host: Some(host) } => {
                out.push(REFUSED_HOST);
                why.put(out)?;
                host.put(out)
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let field = "verdict";
        match from.byte(field)? {
            DONE => Ok(Self::Done(HostId::take(from)?)),
            THERE => Ok(Self::There(HostId::take(from)?)),
            EVENED => Ok(Self::Evened { moves: from.narrow("moves")? }),
            REFUSED => Ok(Self::Refused { why: Refusal::take(from)?, host: None }),
            REFUSED_HOST => Ok(Self::Refused { why: Refusal::take(from)?, host: Some(HostId::take(from)?) }),
            value => Err(Flaw::Unknown { field, value }),
        }
    }
}

/// In the order of the list at version 1; a refusal keeps its number for ever.
const REFUSALS: [Refusal; 12] = [
    Refusal::Unknown,
    Refusal::Frozen,
    Refusal::NoHome,
    Refusal::OrderedElsewhere,
    Refusal::HostAway,
    Refusal::HostBusy,
    Refusal::HostNotOk,
    Refusal::HostNotSettled,
    Refusal::HostQuiesced,
    Refusal::HostDraining,
    Refusal::HostNotAccepting,
    Refusal::HostInBackOff,
];

impl Layout for Refusal {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        out.push(match self {
            Self::Unknown => 1,
            Self::Frozen => 2,
            Self::NoHome => 3,
            Self::OrderedElsewhere => 4,
            Self::HostAway => 5,
            Self::HostBusy => 6,
            Self::HostNotOk => 7,
            Self::HostNotSettled => 8,
            Self::HostQuiesced => 9,
            Self::HostDraining => 10,
            Self::HostNotAccepting => 11,
            Self::HostInBackOff => 12,
        });
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        take_value(from, "refusal", |value| REFUSALS.get(usize::from(value).checked_sub(1)?).copied())
    }
}

impl Layout for VerdictRecord {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.leader.put(out)?;
        put_number(out, self.sequence.0);
        self.to.put(out)?;
        self.boot.put(out)?;
        put_number(out, self.number);
        self.verdict.put(out)
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        Ok(Self {
            leader: HostId::take(from)?,
            sequence: Sequence(from.number("sequence")?),
            to: HostId::take(from)?,
            boot: BootId::take(from)?,
            number: from.number("wish number")?,
            verdict: Verdict::take(from)?,
        })
    }
}

impl Layout for Freeze {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        put_number(out, self.number);
        self.by.put(out)?;
        self.left.put(out)
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        Ok(Self { number: from.number("freeze number")?, by: HostId::take(from)?, left: Duration::take(from)? })
    }
}
