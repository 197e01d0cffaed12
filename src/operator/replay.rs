//! `raisd replay`: recorded events through the same core, each decision in words, and whether it is the one that was taken.
//!
//! Owns the lines; the words are `node/transcript.rs`'s, the order of several hosts' recordings `recording/merge.rs`'s. Called
//! by `bin/raisd.rs`.

use std::io::{self, Write};
use std::path::PathBuf;

use super::recordings::{ReadError, Recordings, read};
use super::when::local;
use super::words::count;
use crate::node::action::Action;
use crate::node::event::GroupIndex;
use crate::node::transcript::{self, Names};
use crate::recording::Sent;
use crate::recording::frame::{Decision, Opening, Origin, Wall};
use crate::recording::merge::{Merge, Told};
use crate::recording::replay::{Called, Continuity, Step, Verdict};
use crate::recording::segment::{Cut, CutKind};
use crate::types::host::BootId;

/// What is to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Files and directories.
    pub paths: Vec<PathBuf>,
    /// Nothing after this time, by the clock of each host.
    pub until: Option<Wall>,
    /// Only calls that did more than send and store.
    pub deeds: bool,
}

/// Why a replay did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is nothing to replay.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The output is gone.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Every decision is the one that was taken.
    Same,
    /// One at least is not.
    Differs,
}

/// Shows everything on `out`; what cannot be read is told to `aside`.
///
/// # Errors
/// [`ReplayError`].
pub fn show(wanted: &Wanted, out: &mut impl Write, aside: &mut impl Write) -> Result<Outcome, ReplayError> {
    let Recordings { hosts, notes } = read(&wanted.paths)?;
    for note in notes {
        writeln!(aside, "left out: {note}")?;
    }
    let mut shown: Vec<Shown> = hosts.iter().map(|host| Shown::new(&host.name, hosts.len() > 1)).collect();
    let mut tally = Tally::default();
    for Told { host, step, unfounded } in Merge::new(&hosts) {
        let Some(host) = shown.get_mut(host) else { continue };
        if unfounded {
            writeln!(out, "{}what comes next hears what nobody has said before it in these recordings", host.column)?;
        }
        match step {
            Step::Opened { opening, continuity } => host.open(&opening, continuity, wanted, &mut tally, out)?,
            Step::Called(called) => host.call(&called, wanted, &mut tally, out)?,
            Step::Ended(cut) => host.end(cut.as_ref(), wanted, &mut tally, out)?,
        }
    }
    tally.close(out)?;
    Ok(if tally.differ == 0 { Outcome::Same } else { Outcome::Differs })
}

/// What has been found.
#[derive(Debug, Default)]
struct Tally {
    calls: u64,
    actions: u64,
    unrecorded: u64,
    differ: u64,
    first: Option<String>,
}

impl Tally {
    fn note_difference(&mut self, what: String) {
        self.differ += 1;
        self.first.get_or_insert(what);
    }

    fn close(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { calls, actions, unrecorded, differ, first } = self;
        let unrecorded =
            if *unrecorded > 0 { format!("; of {unrecorded} calls it was not recorded any more what was done") } else { String::new() };
        match first {
            None => writeln!(out, "{calls} calls, {actions} actions: all as they were taken{unrecorded}"),
            Some(first) => writeln!(out, "{calls} calls, {actions} actions: {differ} differ, first {first}{unrecorded}"),
        }
    }
}

/// One host, as it is shown.
#[derive(Debug)]
struct Shown {
    /// In front of each line, if there are several hosts.
    column: String,
    name: String,
    names: Names,
    boot: Option<BootId>,
}

impl Shown {
    fn new(name: &str, is_one_of_many: bool) -> Self {
        let name = super::words::printable(name).into_owned();
        Self { column: if is_one_of_many { format!("{name:<10} ") } else { String::new() }, name, names: Names::default(), boot: None }
    }

    fn open(
        &mut self,
        opening: &Opening,
        continuity: Continuity,
        wanted: &Wanted,
        tally: &mut Tally,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if self.boot.replace(opening.boot) != Some(opening.boot) {
            self.names = match &opening.origin {
                Origin::Started { policy, .. } => Names::of(policy),
                Origin::Running(_) => Names::default(),
            };
            self.names.add_host(opening.host, &opening.name);
        }
        for (group, name) in &opening.groups {
            self.names.add_group(*group, name);
        }
        for group in opening.groups.keys() {
            self.learn_hosts(opening, *group);
        }
        let Opening { wall, host, name, incarnation, entry, .. } = opening;
        let goes_on = match continuity {
            Continuity::Exact => "goes on, with the node as replaying made it".to_owned(),
            Continuity::Differs => {
                let what = format!("the node at the beginning of call {entry} of {} at {}", self.name, local(*wall));
                tally.note_difference(what);
                "goes on, but the node DIFFERS from what replaying made of it".to_owned()
            }
            Continuity::Gap { entries } => format!("goes on after {} that were not recorded", count_of_calls(entries)),
            Continuity::None => match &opening.origin {
                Origin::Started { start, .. } => format!("starts with raisd {}", super::words::printable(&start.software)),
                Origin::Running(_) => "is recorded from here on".to_owned(),
            },
        };
        if self.is_wanted(*wall, wanted) {
            let name = super::words::printable(name);
            writeln!(out, "{}{} === {name} ({host}), start {incarnation}, call {entry}: {goes_on}", self.column, local(*wall))?;
        }
        Ok(())
    }

    /// A node that goes on knows hosts whose names were told before.
    fn learn_hosts(&mut self, opening: &Opening, group: GroupIndex) {
        if let Origin::Running(node) = &opening.origin {
            for host in node.view(opening.at).groups.iter().flat_map(|group| &group.hosts) {
                if let Some(name) = node.host_name(Some(group), host.id) {
                    self.names.add_host(host.id, &name);
                }
            }
        }
    }

    fn is_wanted(&self, wall: Wall, wanted: &Wanted) -> bool {
        wanted.until.is_none_or(|until| wall <= until)
    }

    fn call(&mut self, called: &Called, wanted: &Wanted, tally: &mut Tally, out: &mut impl Write) -> io::Result<()> {
        let Called { entry, actions, verdict } = called;
        for event in &entry.events {
            self.names.learn(event);
        }
        if !self.is_wanted(entry.wall, wanted) {
            return Ok(());
        }
        tally.calls += 1;
        tally.actions += u64::try_from(actions.len()).unwrap_or(0);
        tally.unrecorded += u64::from(*verdict == Verdict::Unrecorded);
        if wanted.deeds && verdict.agrees() && !actions.iter().any(is_deed) {
            return Ok(());
        }
        writeln!(out, "{}{} call {}", self.column, local(entry.wall), entry.number)?;
        for event in &entry.events {
            self.lines('<', &transcript::event_in_short(event, &self.names), out)?;
        }
        for action in actions.iter().filter(|action| !wanted.deeds || is_deed(action)) {
            self.lines('>', &transcript::action_in_short(action, &self.names), out)?;
        }
        for Sent { group: _, boot: _, first, last } in entry.sent.iter().filter(|_| !wanted.deeds) {
            let numbers = match *first {
                u64::MAX => "the last datagram of this start".to_owned(),
                first if first == *last => format!("datagram {first}"),
                first => format!("datagrams {first} to {last}"),
            };
            writeln!(out, "{}  = went out as {numbers}", self.column)?;
        }
        if let Some(difference) = self.difference(verdict, actions) {
            for line in &difference {
                writeln!(out, "{}  ! {line}", self.column)?;
            }
            let of = difference.first().map_or("", String::as_str);
            tally.note_difference(format!("call {} of {} at {}: {of}", entry.number, self.name, local(entry.wall)));
        }
        Ok(())
    }

    fn lines(&self, mark: char, lines: &[String], out: &mut impl Write) -> io::Result<()> {
        for (number, line) in lines.iter().enumerate() {
            let mark = if number == 0 { mark } else { ' ' };
            writeln!(out, "{}  {mark} {line}", self.column)?;
        }
        Ok(())
    }

    /// What differs, if something does: a line, then what was done and what the core says.
    fn difference(&self, verdict: &Verdict, actions: &[Action]) -> Option<Vec<String>> {
        match verdict {
            Verdict::Same | Verdict::Unrecorded => None,
            Verdict::Skipped => Some(vec!["it cannot be said what this does: the core has panicked before".to_owned()]),
            Verdict::Panicked(why) => Some(vec![format!("the core panics: {}", super::words::printable(why))]),
            Verdict::Differs { place, taken } => {
                let mut lines = vec![format!("action {} DIFFERS", place + 1)];
                let then = match taken {
                    Some(Decision::Whole(action)) => transcript::action_in_short(action, &self.names),
                    Some(Decision::Digest(digest)) => vec![format!("something else that is recorded by its digest only, {digest:016x}")],
                    None => vec!["nothing more".to_owned()],
                };
                let here =
                    actions.get(*place).map_or_else(|| vec!["nothing more".to_owned()], |action| transcript::action(action, &self.names));
                for (label, said) in [("then: ", then), ("now:  ", here)] {
                    for (number, line) in said.into_iter().enumerate() {
                        lines.push(format!("{}{line}", if number == 0 { label } else { "      " }));
                    }
                }
                Some(lines)
            }
        }
    }

    fn end(&self, cut: Option<&Cut>, wanted: &Wanted, tally: &mut Tally, out: &mut impl Write) -> io::Result<()> {
        // Where it ends is after anything that was wanted.
        let Some(Cut { at, left, kind, why }) = cut.filter(|_| wanted.until.is_none()) else { return Ok(()) };
        match kind {
            CutKind::Torn => {}
            CutKind::Damaged => tally.note_difference(format!("byte {at} of a segment of {}: {why}", self.name)),
        }
        writeln!(out, "{}--- the segment ends at byte {at}; {left} bytes are left out: {why}", self.column)
    }
}

fn count_of_calls(entries: u64) -> String {
    count(usize::try_from(entries).unwrap_or(usize::MAX), "call", "calls")
}

/// What is seen outside of the pool's own talk.
fn is_deed(action: &Action) -> bool {
    match action {
        Action::Send { .. } | Action::StoreGroup { .. } => false,
        Action::AddAddress { .. }
        | Action::RemoveAddress { .. }
        | Action::Announce { .. }
        | Action::RunScript { .. }
        | Action::PublishZone { .. }
        | Action::StoreIncarnation { .. }
        | Action::Report { .. }
        | Action::Reply { .. }
        | Action::EndGroup { .. }
        | Action::Exit { .. } => true,
    }
}
