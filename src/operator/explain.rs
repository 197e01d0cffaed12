//! `raisctl explain` for people: a few aligned lines, the answer first.
//!
//! Owns the layout; every word of substance is the daemon's. Called by `bin/raisctl.rs`.

use std::net::IpAddr;

use super::terminal::{Terminal, Tone};
use super::words::{list, millis, printable};
use crate::types::explanation::{
    AddressExplanation, Evidence, Explanation, GroupExplanation, HeardExplanation, MemberExplanation, Named, Next, RuleWord, WhatIf,
};
use crate::types::host::Role;

/// The words at the left have at most so many letters.
const LABEL_WIDTH: usize = 9;

/// So many addresses or hosts are told one by one.
const LINES_MAX: usize = 12;

/// `raisctl explain`.
#[must_use]
pub fn render(explanation: &Explanation, terminal: Terminal) -> String {
    let mut text = String::new();
    for group in &explanation.groups {
        if let Some(address) = &group.address {
            separate(&mut text);
            text.push_str(&of_address(group, address, terminal));
        }
        if let Some(member) = &group.member {
            separate(&mut text);
            text.push_str(&of_member(group, member, terminal));
        }
    }
    text
}

fn separate(text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
}

/// Lines with a word at the left, said once.
struct Lines {
    text: String,
    terminal: Terminal,
}

impl Lines {
    fn new(head: &str, terminal: Terminal) -> Self {
        Self { text: format!("{head}\n"), terminal }
    }

    fn add(&mut self, label: &str, lines: impl IntoIterator<Item = String>) {
        for (number, line) in lines.into_iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let label = self.terminal.paint(Tone::Quiet, &format!("{label:<LABEL_WIDTH$}"));
            self.text.push_str(&format!("  {label} {}\n", printable(&line)));
        }
    }

    /// The first of many, and how many more there are.
    fn add_some(&mut self, label: &str, lines: Vec<String>) {
        let left_out = lines.len().saturating_sub(LINES_MAX);
        let more = (left_out > 0).then(|| format!("and {left_out} more; --json has all"));
        self.add(label, lines.into_iter().take(LINES_MAX).chain(more));
    }
}

fn of_address(group: &GroupExplanation, address: &AddressExplanation, terminal: Terminal) -> String {
    let holders: Vec<&str> = address.served_by.iter().map(|host| host.name.as_str()).collect();
    let place = if holders.is_empty() { "served by nobody".to_owned() } else { format!("on {}", list(&holders, LINES_MAX)) };
    let head = format!("{} in {}: {place} for {}, epoch {}", address.address, group.name, millis(address.since_ms), address.epoch);
    let mut lines = Lines::new(&terminal.paint(tone(address.rule), &printable(&head)), terminal);
    lines.add("because", [format!("{} ({})", address.because, address.rule.as_str())]);
    lines.add_some("evidence", aligned(&address.evidence));
    lines.add("next", next(&address.next));
    lines.add("what if", address.what_if.iter().map(|what_if| what_if.text.clone()));
    lines.add("unless", address.changes.iter().cloned());
    close(lines, group)
}

fn of_member(group: &GroupExplanation, member: &MemberExplanation, terminal: Terminal) -> String {
    let words = [
        (member.leads, "leader"),
        (!member.live, "not live"),
        (member.role == Role::Observer, "observer"),
        (member.live && member.role == Role::Server && member.ok, "ok"),
        (member.live && member.role == Role::Server && !member.ok, "not ok"),
        (member.spare, "spare"),
        (member.quiesced && !member.draining, "quiesced"),
        (member.draining, "draining"),
        (member.live && !member.settled, "not settled"),
        (member.is_self, "this host"),
    ];
    let words: Vec<&str> = words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect();
    let Named { id, name } = &member.host;
    let head = format!("{name} ({id}) in {}: {}", group.name, words.join(", "));
    let tone = if member.eligible { Tone::Good } else { Tone::Doubtful };
    let mut lines = Lines::new(&terminal.paint(tone, &printable(&head)), terminal);
    lines.add("because", [member.given.clone()]);
    let leads = if member.leads { "leads" } else { "leads not" };
    lines.add(leads, [member.why_leads.clone()]);
    lines.add("evidence", aligned(&member.evidence));
    lines.add(
        "tests",
        member.tests.iter().map(|test| {
            let state = match test.passing {
                Some(true) => "passes",
                Some(false) => "fails",
                None => "has no result yet,",
            };
            let why = test.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{} {state} for {}{why}", test.name, millis(test.since_ms))
        }),
    );
    lines.add_some(
        "holds",
        member.holds.iter().map(|held| format!("{} {}, epoch {}: {}", held.address, held.state, held.epoch, held.because)).collect(),
    );
    lines.add_some("lacks", member.lacks.iter().map(|lack| format!("{}: {}", lack.address, lack.because)).collect());
    lines.add_some("hears", member.hears.iter().map(heard).collect());
    let heard_by: Vec<&str> = member.heard_by.iter().map(|host| host.name.as_str()).collect();
    lines.add("heard by", [if heard_by.is_empty() { "nobody".to_owned() } else { list(&heard_by, LINES_MAX) }]);
    lines.add("next", next(&member.next));
    lines.add_some("what if", member.what_if.iter().map(of_one).collect());
    close(lines, group)
}

fn close(mut lines: Lines, group: &GroupExplanation) -> String {
    let leader = group.leader.as_ref().map_or_else(|| "nobody".to_owned(), |leader| leader.name.clone());
    lines.add("leader", [leader]);
    lines.add("note", group.caveat.clone());
    lines.text
}

/// Where each address goes if the host dies.
fn of_one(what_if: &WhatIf) -> String {
    format!("{}: {}", what_if.address, what_if.text)
}

fn heard(heard: &HeardExplanation) -> String {
    let networks: Vec<String> = heard.networks.iter().map(ToString::to_string).collect();
    let on = match networks.as_slice() {
        [] => "by way of others only".to_owned(),
        [one] => format!("on network {one}"),
        _ => format!("on networks {}", networks.join(", ")),
    };
    let loss = if heard.loss_percent > 0 { format!(", {} % lost", heard.loss_percent) } else { String::new() };
    format!("{} {on}{loss}", heard.host.name)
}

fn aligned(evidence: &[Evidence]) -> Vec<String> {
    let width = evidence.iter().map(|evidence| printable(&evidence.host.name).chars().count()).max().unwrap_or(0);
    let line = |evidence: &Evidence| {
        let on: Vec<String> = evidence.heard_on.iter().map(IpAddr::to_string).collect();
        let heard = match (evidence.age_ms, on.as_slice()) {
            (None, _) => String::new(),
            (Some(age), []) => format!("last word {} ago: ", millis(age)),
            (Some(age), _) => format!("heard {} ago on {}: ", millis(age), on.join(", ")),
        };
        format!("{:<width$}  {heard}{}", evidence.host.name, evidence.says)
    };
    evidence.iter().map(line).collect()
}

fn next(next: &[Next]) -> Vec<String> {
    let line = |next: &Next| match next.in_ms {
        Some(left) => format!("in {}: {}", millis(left), next.text),
        None => next.text.clone(),
    };
    next.iter().map(line).collect()
}

fn tone(rule: RuleWord) -> Tone {
    match rule {
        RuleWord::StaysAtHome | RuleWord::StaysPinned | RuleWord::StaysPut => Tone::Good,
        RuleWord::CannotAssign | RuleWord::Duplicate | RuleWord::Unknown => Tone::Bad,
        RuleWord::Assigned
        | RuleWord::Frozen
        | RuleWord::GoesHome
        | RuleWord::Leaves
        | RuleWord::Moves
        | RuleWord::NowhereToGo
        | RuleWord::Rebalances
        | RuleWord::StaysAway
        | RuleWord::UnknownWaits
        | RuleWord::Waits
        | RuleWord::WaitsForEntries
        | RuleWord::WaitsForHome => Tone::Doubtful,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(sample: &str) -> String {
        render(&serde_json::from_str(sample).unwrap(), Terminal::Pipe)
    }

    /// `UPDATE=1` writes the texts anew.
    #[test]
    fn the_texts_are_those_of_the_samples() {
        for name in ["explain-address", "explain-host"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name);
            let text = rendered(&std::fs::read_to_string(path.with_extension("json")).unwrap());
            let path = path.with_extension("txt");
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, text).unwrap();
            } else {
                assert_eq!(text, std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn a_long_list_says_how_much_it_leaves_out() {
        let mut explanation: Explanation = serde_json::from_str(include_str!("../../tests/samples/explain-host.json")).unwrap();
        let member = explanation.groups[0].member.as_mut().unwrap();
        let held = member.holds[0].clone();
        member.holds = vec![held; 40];
        assert!(render(&explanation, Terminal::Pipe).contains("and 28 more; --json has all"));
    }

    #[test]
    fn what_others_say_cannot_steer_the_terminal() {
        let sample = include_str!("../../tests/samples/explain-address.json").replace("web4", "web4\\u001b[2J");
        assert!(!rendered(&sample).contains('\u{1b}'));
    }
}
