//! The stage of a story: the world, whom the reader watches, and the sentences of the steps.
//!
//! Owns no rule of the daemon. What is watched is written down whole and in order, from the moment the watching begins.

use std::collections::BTreeMap;
use std::time::Duration;

use raisd::node::event::{Event, KernelChange, Link, LoadSample, Mark, OpId, Outcome, Request, TestResult};
use raisd::node::transcript::{self as words, Names};
use raisd::types::host::{Incarnation, Sequence};
use raisd::types::item::{Epoch, Item, Reason, ServiceAddress};
use raisd::types::message::{Command, CommandItem, CommandKind, MessageKind, Record};
use raisd::types::time::Time;

use crate::machine::{Disk, KernelMood, Machine, Number, ScriptMood};
use crate::network::Datagram;
use crate::phrases::{Form, address, duration, list, number, obey};
use crate::setup_lines::{Hosts, SENTENCES, host};
use crate::transcript::Told;
use crate::world::World;

/// A story waits at most so long for what it says.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// How messages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Length {
    Short,
    Full,
}

pub(crate) struct Stage {
    world: World,
    names: Names,
    two_networks: bool,
    watched: BTreeMap<Number, Length>,
    /// The time of the first step that was watched.
    since: Option<Time>,
    /// A copy of a disk.
    kept: BTreeMap<Number, Disk>,
}

impl Stage {
    pub(crate) fn new(hosts: Hosts) -> Self {
        let mut names = Names::default();
        for policy in hosts.policies.values() {
            names.add_host(policy.host.id, &policy.host.name);
        }
        let twins = hosts.twins.clone();
        let policies = hosts.policies.values().cloned();
        let mut world = World::new(1, policies);
        for (twin, of) in twins {
            let mut policy = hosts.policies[&of].clone();
            policy.host.name = format!("web{twin}");
            world.machines.insert(twin, Machine::new(policy));
        }
        world.capture = Some(Vec::new());
        let mut stage =
            Self { world, names, two_networks: hosts.two_networks, watched: BTreeMap::new(), since: None, kept: BTreeMap::new() };
        stage.cut_second_network();
        stage
    }

    /// Hosts with one control network hear nothing on the world's other.
    fn cut_second_network(&mut self) {
        let all: Vec<Number> = self.world.machines.keys().copied().collect();
        for from in all.iter().filter(|_| !self.two_networks) {
            self.world.cuts.extend(all.iter().map(|to| (*from, *to, 1)));
        }
    }

    fn known(&self, name: &str) -> Result<Number, String> {
        let number = host(name)?;
        if self.world.machines.contains_key(&number) { Ok(number) } else { Err(format!("{name} is no host of this story")) }
    }

    fn hosts(&self, names: &str) -> Result<Vec<Number>, String> {
        if names == "all" { Ok(self.world.machines.keys().copied().collect()) } else { list(names, |name| self.known(name)) }
    }

    fn machine(&mut self, name: &str) -> Result<&mut Machine, String> {
        let number = self.known(name)?;
        Ok(self.world.machine(number))
    }

    fn tell(&mut self, name: &str, event: Event) -> Result<(), String> {
        let number = self.known(name)?;
        if self.world.machines[&number].node.is_none() {
            return Err(format!("the daemon of {name} does not run"));
        }
        self.world.tell(number, event);
        Ok(())
    }

    fn link(&mut self, name: &str, link: Link) -> Result<(), String> {
        self.machine(name)?.link = link;
        self.tell(name, Event::Kernel(KernelChange::Link { interface: "svc0".to_owned(), link }))
    }

    fn networks(&self, text: Option<&str>) -> Result<Vec<u8>, String> {
        text.map_or_else(|| Ok(if self.two_networks { vec![0, 1] } else { vec![0] }), |text| Ok(vec![number(text)?]))
    }

    fn cut(&mut self, from: &str, to: &str, network: Option<&str>) -> Result<(), String> {
        for network in self.networks(network)? {
            let cuts: Vec<_> =
                self.hosts(from)?.iter().flat_map(|from| self.hosts(to).into_iter().flatten().map(|to| (*from, to, network))).collect();
            self.world.cuts.extend(cuts.into_iter().filter(|(from, to, _)| from != to));
        }
        Ok(())
    }

    fn wait(&mut self, what: &str, done: impl FnMut(&World) -> bool) -> Result<(), String> {
        let end = self.world.now.plus(WAIT_MAX);
        let mut done = done;
        // The world's own waiting panics when it is in vain.
        while !done(&self.world) {
            if self.world.now >= end {
                return Err(format!("{what}: not within {WAIT_MAX:?}"));
            }
            self.world.run_for(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The datagrams that a host has sent, the oldest first.
    fn sent_by(&self, name: &str) -> Result<Vec<Datagram>, String> {
        let number = self.known(name)?;
        let id = self.world.machines[&number].id();
        Ok(self.world.capture.iter().flatten().filter(|datagram| datagram.sender.host == id).cloned().collect())
    }

    fn replay(&mut self, to: &str, datagram: Option<Datagram>) -> Result<(), String> {
        let to = self.known(to)?;
        self.world.replay(to, datagram.ok_or("it has sent no such datagram")?);
        self.world.run_for(Duration::ZERO);
        Ok(())
    }

    /// A datagram that `from` never sent, with a command in it: everything else is as it would be.
    fn forge(&mut self, to: &str, from: &str, command: Forged<'_>) -> Result<(), String> {
        let Forged { kind, item, epoch, based_on, incarnation, to: whom } = command;
        let template = self.sent_by(from)?.pop().ok_or("it has sent nothing that could be imitated")?;
        let whom = self.known(whom)?;
        let command = Command {
            kind,
            leader: template.sender.host,
            leader_boot: template.sender.boot,
            to: self.world.machines[&whom].id(),
            to_incarnation: Incarnation(incarnation.map_or(Ok(self.world.machines[&whom].incarnation.0), number)?),
            based_on: Sequence(number(based_on)?),
            items: vec![CommandItem {
                item: Item::Address(address(item)?),
                prefix: 32,
                epoch: Epoch(number(epoch)?),
                reason: Reason::Assigned,
                overlaps: None,
            }],
        };
        let kind = match command.kind {
            CommandKind::Acquire => MessageKind::Acquire,
            CommandKind::Release => MessageKind::Release,
        };
        let from = self.known(from)?;
        let machine = self.world.machine(from);
        machine.number += 1;
        let datagram = Datagram { kind, number: machine.number, records: vec![Record::Command(command)].into(), ..template };
        self.replay(to, Some(datagram))
    }

    fn ask(&mut self, name: &str, text: &str) -> Result<(), String> {
        let mut request = None;
        obey(REQUESTS, &mut request, text)?;
        let number = self.known(name)?;
        if let Some(request) = request {
            self.world.ask(number, request);
        }
        Ok(())
    }

    fn scripts(&mut self, which: &str, name: &str, mood: ScriptMood) -> Result<(), String> {
        let machine = self.machine(name)?;
        match which {
            "acquire" => machine.acquire_script = mood,
            "release" => machine.release_script = mood,
            other => return Err(format!("{other:?} is neither acquire nor release")),
        }
        Ok(())
    }

    fn watch(&mut self, names: &str, length: Length) -> Result<(), String> {
        self.watched = self.hosts(names)?.into_iter().map(|number| (number, length)).collect();
        Ok(())
    }

    /// What those who are watched were told and did since the last call, a line each.
    pub(crate) fn told(&mut self) -> Vec<String> {
        let all = self.world.transcript.take();
        let mut lines = Vec::new();
        for (at, number, told) in all {
            let Some(length) = self.watched.get(&number) else { continue };
            let since = *self.since.get_or_insert(at);
            let (mark, words) = match (&told, length) {
                (Told::Event(event), Length::Short) => ("", words::event_in_short(event, &self.names)),
                (Told::Event(event), Length::Full) => ("", words::event(event, &self.names)),
                (Told::Action(action), Length::Short) => ("-> ", words::action_in_short(action, &self.names)),
                (Told::Action(action), Length::Full) => ("-> ", words::action(action, &self.names)),
                (Told::Said(text), Length::Short | Length::Full) => ("", vec![text.clone()]),
            };
            let host = if self.watched.len() > 1 { format!("web{number} ") } else { String::new() };
            let micros = at.since(since).as_micros();
            let time = format!("{:>4}.{:06} {host}", micros / 1_000_000, micros % 1_000_000);
            for (index, line) in words.into_iter().enumerate() {
                let begin = match (&told, index) {
                    (Told::Event(_) | Told::Said(_), 0) => time.clone(),
                    (Told::Event(_) | Told::Said(_) | Told::Action(_), _) => " ".repeat(time.len()),
                };
                let mark = if index == 0 { mark } else { "   " };
                lines.push(format!("{begin}{mark}{line}"));
            }
        }
        lines
    }
}

/// A command that its leader never gave.
struct Forged<'a> {
    kind: CommandKind,
    to: &'a str,
    item: &'a str,
    epoch: &'a str,
    based_on: &'a str,
    incarnation: Option<&'a str>,
}

fn passed(test: &str) -> Event {
    Event::Tested { test: test.to_owned(), result: TestResult::Passed }
}

fn failed(test: &str) -> Event {
    Event::Tested { test: test.to_owned(), result: TestResult::Failed { why: "connection refused".to_owned() } }
}

/// What an operator may ask.
const REQUESTS: &[Form<Option<Request>>] = &[
    Form { sentence: "quiesce", does: |to, _| put(to, Request::Quiesce { group: None, reason: "maintenance".to_owned() }) },
    Form {
        sentence: "drain",
        does: |to, _| put(to, Request::Drain { group: None, timeout: Duration::from_secs(30), reason: "maintenance".to_owned() }),
    },
    Form { sentence: "resume", does: |to, _| put(to, Request::Resume { group: None }) },
    Form { sentence: "status", does: |to, _| put(to, Request::Status) },
    Form { sentence: "thaw", does: |to, _| put(to, Request::Thaw { group: None }) },
    Form { sentence: "rebalance", does: |to, _| put(to, Request::Rebalance { group: None }) },
    Form { sentence: "freeze for {}", does: |to, gaps| put(to, Request::Freeze { group: None, duration: duration(gaps[0])? }) },
    Form { sentence: "explain {}", does: |to, gaps| put(to, Request::Explain { group: None, subject: gaps[0].to_owned() }) },
    Form { sentence: "forget {}", does: |to, gaps| put(to, Request::Forget { group: None, host: gaps[0].to_owned() }) },
    Form { sentence: "expire {}", does: |to, gaps| put(to, Request::Expire { group: None, item: Item::Address(address(gaps[0])?) }) },
    Form {
        sentence: "move {} home",
        does: |to, gaps| {
            put(to, Request::Move { group: None, item: Item::Address(address(gaps[0])?), to: None, timeout: Duration::from_secs(30) })
        },
    },
    Form {
        sentence: "move {} to {}",
        does: |to, gaps| {
            let (item, host) = (Item::Address(address(gaps[0])?), Some(gaps[1].to_owned()));
            put(to, Request::Move { group: None, item, to: host, timeout: Duration::from_secs(30) })
        },
    },
];

fn put(to: &mut Option<Request>, request: Request) -> Result<(), String> {
    *to = Some(request);
    Ok(())
}

/// What a step may say.
pub(crate) const STEPS: &[Form<Stage>] = &[
    Form { sentence: "watch {} in full", does: |stage, gaps| stage.watch(gaps[0], Length::Full) },
    Form { sentence: "watch {}", does: |stage, gaps| stage.watch(gaps[0], Length::Short) },
    Form {
        sentence: "after {}",
        does: |stage, gaps| {
            stage.world.run_for(duration(gaps[0])?);
            Ok(())
        },
    },
    Form {
        sentence: "until {} is on {} only",
        does: |stage, gaps| {
            let (address, on) = (address(gaps[0])?, stage.hosts(gaps[1])?);
            let holders = move |world: &World| -> Vec<Number> {
                world.machines.iter().filter(|(_, machine)| machine.has(address)).map(|(number, _)| *number).collect()
            };
            stage.wait(gaps[0], |world| holders(world) == on)
        },
    },
    Form {
        sentence: "until {} sends an info",
        does: |stage, gaps| {
            let number = stage.known(gaps[0])?;
            let sent = stage.world.machines[&number].infos_sent;
            stage.wait(gaps[0], |world| world.machines[&number].infos_sent > sent)
        },
    },
    Form {
        sentence: "until {} has ended",
        does: |stage, gaps| {
            let number = stage.known(gaps[0])?;
            stage.wait(gaps[0], |world| world.machines[&number].node.is_none())
        },
    },
    Form {
        sentence: "{} starts with tests passing",
        does: |stage, gaps| {
            for number in stage.hosts(gaps[0])? {
                stage.world.boot(number);
                let tests = stage.world.machines[&number].policy.tests.clone();
                tests.iter().for_each(|test| stage.world.tell(number, passed(&test.name)));
            }
            Ok(())
        },
    },
    Form {
        sentence: "{} starts",
        does: |stage, gaps| {
            stage.hosts(gaps[0])?.into_iter().for_each(|number| stage.world.boot(number));
            Ok(())
        },
    },
    Form {
        sentence: "all start",
        does: |stage, _| {
            stage.hosts("all")?.into_iter().for_each(|number| stage.world.boot(number));
            Ok(())
        },
    },
    Form {
        sentence: "all start with tests passing",
        does: |stage, _| {
            for number in stage.hosts("all")? {
                stage.world.boot(number);
                let tests = stage.world.machines[&number].policy.tests.clone();
                tests.iter().for_each(|test| stage.world.tell(number, passed(&test.name)));
            }
            Ok(())
        },
    },
    Form {
        sentence: "{} loses power",
        does: |stage, gaps| {
            stage.hosts(gaps[0])?.into_iter().for_each(|number| stage.world.power_off(number));
            Ok(())
        },
    },
    Form {
        sentence: "all lose power",
        does: |stage, _| {
            stage.hosts("all")?.into_iter().for_each(|number| stage.world.power_off(number));
            Ok(())
        },
    },
    Form {
        sentence: "the daemon of {} is killed",
        does: |stage, gaps| {
            let number = stage.known(gaps[0])?;
            stage.world.kill(number);
            Ok(())
        },
    },
    Form {
        sentence: "{} loses its disk",
        does: |stage, gaps| {
            stage.machine(gaps[0])?.disk = Disk::default();
            Ok(())
        },
    },
    Form {
        sentence: "a copy of the disk of {} is kept",
        does: |stage, gaps| {
            let number = stage.known(gaps[0])?;
            stage.kept.insert(number, stage.world.machines[&number].disk.clone());
            Ok(())
        },
    },
    Form {
        sentence: "{} gets the copy of its disk back",
        does: |stage, gaps| {
            let number = stage.known(gaps[0])?;
            let copy = stage.kept.get(&number).cloned().ok_or("no copy was kept")?;
            stage.world.machine(number).disk = copy;
            Ok(())
        },
    },
    Form {
        sentence: "{} hangs for {}",
        does: |stage, gaps| {
            let number = stage.known(gaps[0])?;
            stage.world.freeze(number, duration(gaps[1])?);
            Ok(())
        },
    },
    Form { sentence: "{} is told to stop", does: |stage, gaps| stage.tell(gaps[0], Event::Stopped) },
    Form { sentence: "cut {} -> {} on network {}", does: |stage, gaps| stage.cut(gaps[0], gaps[1], Some(gaps[2])) },
    Form { sentence: "cut {} -> {}", does: |stage, gaps| stage.cut(gaps[0], gaps[1], None) },
    Form {
        sentence: "cut {} <-> {}",
        does: |stage, gaps| {
            stage.cut(gaps[0], gaps[1], None)?;
            stage.cut(gaps[1], gaps[0], None)
        },
    },
    Form {
        sentence: "isolate {}",
        does: |stage, gaps| {
            stage.cut(gaps[0], "all", None)?;
            stage.cut("all", gaps[0], None)
        },
    },
    Form {
        sentence: "heal",
        does: |stage, _| {
            stage.world.cuts.clear();
            stage.world.multicast_cuts.clear();
            stage.cut_second_network();
            Ok(())
        },
    },
    Form {
        sentence: "multicast is lost on network {}",
        does: |stage, gaps| {
            stage.world.lose_multicast(&[number(gaps[0])?]);
            Ok(())
        },
    },
    Form {
        sentence: "the test {} fails on {}",
        does: |stage, gaps| {
            stage.hosts(gaps[1])?.into_iter().for_each(|number| stage.world.tell(number, failed(gaps[0])));
            Ok(())
        },
    },
    Form {
        sentence: "the test {} passes on {}",
        does: |stage, gaps| {
            stage.hosts(gaps[1])?.into_iter().for_each(|number| stage.world.tell(number, passed(gaps[0])));
            Ok(())
        },
    },
    Form {
        sentence: "the load {} of {} is {} of {}",
        does: |stage, gaps| {
            let sample = Some(LoadSample { load: number(gaps[2])?, capacity: number(gaps[3])? });
            stage.hosts(gaps[1])?.into_iter().for_each(|host| stage.world.tell(host, Event::Loaded { load: gaps[0].to_owned(), sample }));
            Ok(())
        },
    },
    Form { sentence: "operator of {}: {}", does: |stage, gaps| stage.ask(gaps[0], gaps[1]) },
    Form {
        sentence: "the kernel of {} refuses to add addresses",
        does: |stage, gaps| {
            stage.machine(gaps[0])?.kernel = KernelMood::RefusesToAdd;
            Ok(())
        },
    },
    Form {
        sentence: "the kernel of {} refuses to remove addresses",
        does: |stage, gaps| {
            stage.machine(gaps[0])?.kernel = KernelMood::RefusesToRemove;
            Ok(())
        },
    },
    Form {
        sentence: "the kernel of {} works again",
        does: |stage, gaps| {
            stage.machine(gaps[0])?.kernel = KernelMood::Works;
            Ok(())
        },
    },
    Form { sentence: "the {} script of {} fails", does: |stage, gaps| stage.scripts(gaps[0], gaps[1], ScriptMood::Fails) },
    Form { sentence: "the {} script of {} hangs", does: |stage, gaps| stage.scripts(gaps[0], gaps[1], ScriptMood::Hangs) },
    Form {
        sentence: "the {} script of {} takes {}",
        does: |stage, gaps| stage.scripts(gaps[0], gaps[1], ScriptMood::Takes(duration(gaps[2])?)),
    },
    Form {
        sentence: "somebody puts {} on {}",
        does: |stage, gaps| {
            let (address, number) = (address(gaps[0])?, stage.known(gaps[1])?);
            stage.world.add_by_hand(number, address);
            Ok(())
        },
    },
    Form {
        sentence: "somebody takes {} off {}",
        does: |stage, gaps| {
            let (address, number) = (address(gaps[0])?, stage.known(gaps[1])?);
            stage.world.remove_by_hand(number, address);
            Ok(())
        },
    },
    Form {
        sentence: "before the daemon of {} runs, {} is on its interface without the mark",
        does: |stage, gaps| {
            let address = ServiceAddress::host(address(gaps[1])?);
            stage.machine(gaps[0])?.interface.insert(address, Mark::Foreign);
            Ok(())
        },
    },
    Form { sentence: "the service interface of {} goes down", does: |stage, gaps| stage.link(gaps[0], Link::Down) },
    Form { sentence: "the service interface of {} vanishes", does: |stage, gaps| stage.link(gaps[0], Link::Absent) },
    Form { sentence: "the service interface of {} comes up", does: |stage, gaps| stage.link(gaps[0], Link::Up { mac: None }) },
    Form {
        sentence: "control network {} of {} fails",
        does: |stage, gaps| {
            let fault = Some(format!("no address on network {}", gaps[0]));
            stage.tell(gaps[1], Event::Kernel(KernelChange::Network { network: number(gaps[0])?, fault }))
        },
    },
    Form {
        sentence: "control network {} of {} works",
        does: |stage, gaps| stage.tell(gaps[1], Event::Kernel(KernelChange::Network { network: number(gaps[0])?, fault: None })),
    },
    Form {
        sentence: "reload: {}",
        does: |stage, gaps| {
            let who = gaps[0].split(' ').next().unwrap_or_default();
            for number in stage.hosts(who)? {
                let mut hosts =
                    Hosts { policies: BTreeMap::from([(number, stage.world.machines[&number].policy.clone())]), ..Hosts::default() };
                obey(SENTENCES, &mut hosts, &gaps[0].replacen(who, &format!("web{number}"), 1))?;
                if let Some(changed) = hosts.policies.remove(&number) {
                    stage.world.reload(number, |policy| *policy = changed);
                }
            }
            Ok(())
        },
    },
    Form {
        sentence: "{} hears again the first datagram of {}",
        does: |stage, gaps| {
            let datagram = stage.sent_by(gaps[1])?.into_iter().next();
            stage.replay(gaps[0], datagram)
        },
    },
    Form {
        sentence: "{} hears again the last datagram of {}",
        does: |stage, gaps| {
            let datagram = stage.sent_by(gaps[1])?.pop();
            stage.replay(gaps[0], datagram)
        },
    },
    Form {
        sentence: "{} hears the first datagram of the last info of {}",
        does: |stage, gaps| {
            let sent = stage.sent_by(gaps[1])?;
            let last = sent.iter().rev().find(|datagram| datagram.kind == MessageKind::Info).map(|datagram| datagram.sent);
            let first = sent.into_iter().find(|datagram| Some(datagram.sent) == last && datagram.kind == MessageKind::Info);
            stage.replay(gaps[0], first)
        },
    },
    Form {
        sentence: "{} hears the {} datagrams that {} sent first",
        does: |stage, gaps| {
            let count: usize = number(gaps[1])?;
            let sent = stage.sent_by(gaps[2])?;
            for datagram in sent.into_iter().take(count) {
                stage.replay(gaps[0], Some(datagram))?;
            }
            Ok(())
        },
    },
    Form {
        sentence: "{} hears: {} tells {}, start {}, to take {}, epoch {}, on its info {}",
        does: |stage, gaps| {
            let [hearer, from, to, incarnation, item, epoch, based_on] = seven(gaps)?;
            stage.forge(hearer, from, Forged { kind: CommandKind::Acquire, to, item, epoch, based_on, incarnation: Some(incarnation) })
        },
    },
    Form {
        sentence: "{} hears: {} tells {} to take {}, epoch {}, on its info {}",
        does: |stage, gaps| {
            let [hearer, from, to, item, epoch, based_on] = six(gaps)?;
            stage.forge(hearer, from, Forged { kind: CommandKind::Acquire, to, item, epoch, based_on, incarnation: None })
        },
    },
    Form {
        sentence: "{} hears: {} tells {} to give up {}, epoch {}, on its info {}",
        does: |stage, gaps| {
            let [hearer, from, to, item, epoch, based_on] = six(gaps)?;
            stage.forge(hearer, from, Forged { kind: CommandKind::Release, to, item, epoch, based_on, incarnation: None })
        },
    },
    Form {
        sentence: "{} is told that operation {} is done",
        does: |stage, gaps| stage.tell(gaps[0], Event::Finished { op: OpId(number(gaps[1])?), outcome: Outcome::Done }),
    },
    Form {
        sentence: "{} is told that operation {} has failed",
        does: |stage, gaps| {
            stage.tell(
                gaps[0],
                Event::Finished { op: OpId(number(gaps[1])?), outcome: Outcome::Failed { why: "no buffer space".to_owned() } },
            )
        },
    },
];

fn six<'a>(gaps: &[&'a str]) -> Result<[&'a str; 6], String> {
    gaps.try_into().map_err(|_| "six gaps".to_owned())
}

fn seven<'a>(gaps: &[&'a str]) -> Result<[&'a str; 7], String> {
    gaps.try_into().map_err(|_| "seven gaps".to_owned())
}
