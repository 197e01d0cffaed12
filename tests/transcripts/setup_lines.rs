//! What the setup of a story says of its hosts: the configuration that each would have.
//!
//! Also what a `reload:` line says. Owns the sentences of the setup; what is not said is as in `world/setup.rs`, but with longer
//! heartbeats, one control network, one announcement and no zone, so that little stands between the events of a story.

use std::collections::BTreeMap;
use std::time::Duration;

use raisd::types::host::Role;
use raisd::types::item::ServiceAddress;
use raisd::types::policy::{AllFailed, Assign, Failback, NodePolicy, TestPolicy, WhenEmpty, ZonePolicy};

use crate::machine::Number;
use crate::phrases::{Form, address, duration, list, number};
use crate::setup::policy;

/// The hosts of a story, as they are to be configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    pub(crate) policies: BTreeMap<Number, NodePolicy>,
    pub(crate) two_networks: bool,
    /// Machines with the id and configuration of another.
    pub(crate) twins: Vec<(Number, Number)>,
}

/// The number in a host's name: `web7` is machine 7.
pub(crate) fn host(name: &str) -> Result<Number, String> {
    let number = name.strip_prefix("web").ok_or_else(|| format!("{name:?} is no host; hosts are called web1, web2, ..."))?;
    self::number(number)
}

impl Hosts {
    fn add(&mut self, name: &str, preferred: &str) -> Result<(), String> {
        let number = host(name)?;
        let mut policy = policy(number, &list(preferred, address)?);
        policy.host.control.truncate(if self.two_networks { 2 } else { 1 });
        let group = &mut policy.groups[0];
        group.announce.count = 1;
        group.shared.heartbeat = Duration::from_secs(1);
        group.shared.timeout = Duration::from_secs(4);
        group.shared.zone = None;
        self.policies.insert(number, policy);
        Ok(())
    }

    /// The hosts that a sentence is about: `all`, or a list of names.
    fn each(&mut self, who: &str, mut change: impl FnMut(&mut NodePolicy) -> Result<(), String>) -> Result<(), String> {
        let numbers = if who == "all" { self.policies.keys().copied().collect() } else { list(who, host)? };
        for number in numbers {
            let policy = self.policies.get_mut(&number).ok_or_else(|| format!("web{number} is no host of this story"))?;
            change(policy)?;
        }
        Ok(())
    }

    fn set(&mut self, who: &str, key: &str, value: &str) -> Result<(), String> {
        self.each(who, |policy| {
            let group = &mut policy.groups[0];
            match key {
                "heartbeat" => group.shared.heartbeat = duration(value)?,
                "timeout" => group.shared.timeout = duration(value)?,
                "orphan_lifetime" => group.shared.orphan_lifetime = duration(value)?,
                "failback" if value == "never" => group.shared.failback = Failback::Never,
                "failback" => group.shared.failback = Failback::After(duration(value)?),
                "rebalance" => group.shared.rebalance = Some(duration(value)?),
                "script_timeout" => group.script_timeout = duration(value)?,
                "announce.count" => group.announce.count = number(value)?,
                "announce.refresh" => group.announce.refresh = duration(value)?,
                "assign" => {
                    group.shared.assign =
                        one_of(value, &[("random", Assign::Random), ("fair", Assign::Fair), ("least-loaded", Assign::LeastLoaded)])?
                }
                "all_failed" => group.shared.all_failed = one_of(value, &[("keep", AllFailed::Keep), ("release", AllFailed::Release)])?,
                "high_water" => zone(group.shared.zone.as_mut())?.high_water = number(value)?,
                "low_water" => zone(group.shared.zone.as_mut())?.low_water = number(value)?,
                "min_addresses" => zone(group.shared.zone.as_mut())?.min_addresses = number(value)?,
                "when_empty" => {
                    zone(group.shared.zone.as_mut())?.when_empty = one_of(value, &[("nodata", WhenEmpty::Nodata), ("all", WhenEmpty::All)])?
                }
                _ => return Err(format!("{key:?} is no key of a story; see Hosts::set")),
            }
            Ok(())
        })
    }
}

fn zone(zone: Option<&mut ZonePolicy>) -> Result<&mut ZonePolicy, String> {
    zone.ok_or_else(|| "the group has no zone; write `all serve a zone` before it".to_owned())
}

fn one_of<T: Copy>(value: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == value).map(|(_, value)| *value);
    found.ok_or_else(|| format!("{value:?} is none of {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")))
}

fn service(text: &str) -> Result<ServiceAddress, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// What a line of the setup may say.
pub(crate) const SENTENCES: &[Form<Hosts>] = &[
    Form {
        sentence: "two control networks",
        does: |hosts, _| {
            hosts.two_networks = true;
            Ok(())
        },
    },
    Form { sentence: "host {} prefers {}", does: |hosts, gaps| hosts.add(gaps[0], gaps[1]) },
    Form {
        sentence: "twin {} of {}",
        does: |hosts, gaps| {
            hosts.twins.push((host(gaps[0])?, host(gaps[1])?));
            Ok(())
        },
    },
    Form { sentence: "spare {}", does: |hosts, gaps| hosts.add(gaps[0], "nothing") },
    Form {
        sentence: "observer {}",
        does: |hosts, gaps| {
            hosts.add(gaps[0], "nothing")?;
            hosts.each(gaps[0], |policy| {
                policy.groups[0].role = Role::Observer;
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} prefers {}",
        does: |hosts, gaps| {
            let preferred = list(gaps[1], service)?;
            hosts.each(gaps[0], |policy| {
                policy.groups[0].preferred.clone_from(&preferred);
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} floats {}",
        does: |hosts, gaps| {
            let floating = list(gaps[1], service)?;
            hosts.each(gaps[0], |policy| {
                policy.groups[0].floating.clone_from(&floating);
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} accepts {}",
        does: |hosts, gaps| {
            let accept = list(gaps[1], |text| text.parse().map_err(|_| format!("{text:?} is no network")))?;
            hosts.each(gaps[0], |policy| {
                policy.groups[0].accept.clone_from(&accept);
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} has the test {}",
        does: |hosts, gaps| {
            hosts.each(gaps[0], |policy| {
                policy.tests.push(TestPolicy { name: gaps[1].to_owned(), rise: 1, fall: 1 });
                policy.groups[0].tests.insert(gaps[1].to_owned());
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} has the load {}",
        does: |hosts, gaps| {
            hosts.each(gaps[0], |policy| {
                policy.groups[0].loads.insert(gaps[1].to_owned());
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} has both scripts",
        does: |hosts, gaps| {
            hosts.each(gaps[0], |policy| {
                (policy.groups[0].has_acquire_script, policy.groups[0].has_release_script) = (true, true);
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} has an acquire script",
        does: |hosts, gaps| {
            hosts.each(gaps[0], |policy| {
                policy.groups[0].has_acquire_script = true;
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} has a release script",
        does: |hosts, gaps| {
            hosts.each(gaps[0], |policy| {
                policy.groups[0].has_release_script = true;
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} serves a zone",
        does: |hosts, gaps| {
            hosts.each(gaps[0], |policy| {
                policy.groups[0].shared.zone = crate::setup::shared().zone;
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} talks by unicast only",
        does: |hosts, gaps| {
            hosts.each(gaps[0], |policy| {
                policy.groups[0].multicast = false;
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} has the peers {}",
        does: |hosts, gaps| {
            let peers = list(gaps[1], address)?;
            hosts.each(gaps[0], |policy| {
                policy.groups[0].peers.clone_from(&peers);
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} has left the group",
        does: |hosts, gaps| {
            hosts.each(gaps[0], |policy| {
                policy.groups.clear();
                Ok(())
            })
        },
    },
    Form {
        sentence: "{} moves to interface {}",
        does: |hosts, gaps| {
            hosts.each(gaps[0], |policy| {
                policy.groups[0].interface = gaps[1].to_owned();
                Ok(())
            })
        },
    },
    Form { sentence: "{} sets {} to {}", does: |hosts, gaps| hosts.set(gaps[0], gaps[1], gaps[2]) },
];
