//! All name servers answer the same, what the addresses at home say, and a serial never goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use raisd::types::host::{BootId, Duty};
use raisd::types::policy::WhenEmpty;

use super::{Judgement, object};
use crate::machine::Number;
use crate::seen::{Seen, What};
use crate::truth::Truth;

/// What a host answers from.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Answers {
    boot: BootId,
    serial: u32,
    advertised: Vec<IpAddr>,
}

#[derive(Debug, Default)]
pub(crate) struct Zone {
    answers: BTreeMap<Number, Answers>,
    /// Serials for which a host has answered two lists: a name server that pulls by serial may have missed the second.
    ambiguous: BTreeSet<(Number, u32)>,
    /// Hosts that are told to be overloaded: the table of weights decides about them.
    pub(crate) loaded: BTreeSet<Number>,
}

impl Zone {
    pub(crate) fn see(&mut self, seen: &Seen) -> Judgement {
        let What::Answers { boot, serial, advertised } = &seen.what else { return Ok(()) };
        let told = Answers { boot: *boot, serial: *serial, advertised: advertised.clone() };
        let before = self.answers.insert(seen.host, told);
        let Some(before) = before.filter(|before| before.boot == *boot) else { return Ok(()) };
        if before.serial > *serial {
            return object("zone", format!("h{} answers with serial {serial} after {}", seen.host, before.serial));
        }
        // Two leaders of a partition may count alike; who leads in the end goes above both.
        if before.serial == *serial && before.advertised != *advertised {
            self.ambiguous.insert((seen.host, *serial));
        }
        Ok(())
    }

    /// At rest.
    pub(crate) fn judge(&self, truth: &Truth) -> Judgement {
        let running = truth.hosts.iter().filter(|(_, host)| host.runs);
        let told: Vec<(Number, Option<&Answers>)> = running.map(|(number, _)| (*number, self.answers.get(number))).collect();
        let Some((first, Some(told_first))) = told.first() else { return Ok(()) };
        for (number, answers) in &told {
            let same = answers.is_some_and(|answers| (answers.serial, &answers.advertised) == (told_first.serial, &told_first.advertised));
            if !same {
                return object("zone", format!("h{number} answers {answers:?}, h{first} {told_first:?}"));
            }
        }
        if let Some((number, _)) = told.iter().find(|(number, _)| self.ambiguous.contains(&(*number, told_first.serial))) {
            return object("zone", format!("serial {} has stood for two lists on h{number}, and stays", told_first.serial));
        }
        if !self.loaded.is_empty() {
            return Ok(());
        }
        let mut expected: Vec<IpAddr> = Vec::new();
        for (number, host) in &truth.hosts {
            if host.is_ok() && host.duty == Duty::Active {
                expected.extend(host.preferred.iter().filter(|address| truth.holders(**address) == [*number]));
            }
        }
        if expected.is_empty() && truth.when_empty == WhenEmpty::All {
            expected.extend(truth.hosts.values().filter(|host| host.runs).flat_map(|host| &host.preferred));
        }
        expected.sort_unstable();
        expected.dedup();
        if expected != told_first.advertised {
            return object("zone", format!("all answer {:?}; at home and well are {expected:?}", told_first.advertised));
        }
        Ok(())
    }
}
