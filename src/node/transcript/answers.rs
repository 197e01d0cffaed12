//! What an operator is answered, in words. A status is told in short: it decides nothing.
//!
//! Owns nothing. Called by the transcript.

use super::Names;
use super::words::{indented, list, printable};
use crate::node::event::{Answer, Token};
use crate::types::explanation::{AddressExplanation, GroupExplanation, MemberExplanation, Named};
use crate::types::view::{AddressView, GroupView, View};

pub(super) fn lines(token: Token, answer: &Answer, names: &Names) -> Vec<String> {
    let to = format!("answer to request {}", token.0);
    let (first, more) = match answer {
        Answer::Done { message } => (format!("{to}: {}", printable(message)), Vec::new()),
        Answer::Refused { why } => (format!("{to}, refused: {}", printable(why)), Vec::new()),
        Answer::Explained(explanation) => {
            let more = explanation.groups.iter().flat_map(explained).collect();
            (format!("{to}, about {}:", printable(&explanation.subject)), more)
        }
        Answer::Status(view) => (format!("{to}, the state:"), status(view, names)),
    };
    std::iter::once(first).chain(indented(more)).collect()
}

fn called(named: &Named) -> String {
    printable(&named.name)
}

fn explained(group: &GroupExplanation) -> Vec<String> {
    let GroupExplanation { name, leader, caveat, address, member } = group;
    let leader = leader.as_ref().map_or_else(|| "nobody".to_owned(), called);
    let mut lines = vec![format!("group {}, leader {leader}", printable(name))];
    lines.extend(caveat.iter().map(|caveat| format!("but {caveat}")));
    if let Some(AddressExplanation { address, served_by, epoch, rule, because, next, .. }) = address {
        let by = list(served_by.iter().map(called));
        lines.push(format!("{address}, epoch {epoch}, served by {by}: {}, {because}", rule.as_str()));
        lines.extend(next.iter().map(|next| format!("next: {}", next.text)));
    }
    if let Some(MemberExplanation { host, given, why_leads, next, .. }) = member {
        lines.push(format!("{}: {given}; {why_leads}", called(host)));
        lines.extend(next.iter().map(|next| format!("next: {}", next.text)));
    }
    lines
}

fn status(view: &View, names: &Names) -> Vec<String> {
    let group = |group: &GroupView| {
        let leader = group.leader.map_or_else(|| "nobody".to_owned(), |leader| names.host(leader));
        let mut lines = vec![format!("group {}, leader {leader}", printable(&group.name))];
        let address = |AddressView { address, state, served_by, epoch, .. }: &AddressView| {
            let by = if served_by.is_empty() { String::new() } else { format!(" at {}", names.hosts(served_by)) };
            format!("{address}: {state}{by}, epoch {epoch}")
        };
        lines.extend(indented(group.addresses.iter().map(address)));
        lines.extend(indented(group.problems.iter().map(|problem| printable(problem))));
        lines
    };
    view.groups.iter().flat_map(group).collect()
}
