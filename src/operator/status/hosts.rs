//! The hosts of a group: how many are well, and a line for each.

use comfy_table::CellAlignment;

use crate::operator::terminal::{Terminal, Tone};
use crate::operator::words::{count, millis};
use crate::types::host::Role;
use crate::types::view::{GroupView, HostView};

/// `3 of 4 hosts`: of those that are known and meant to serve, how many are heard and pass their tests.
pub(super) fn tally(group: &GroupView, terminal: Terminal) -> String {
    let servers: Vec<&HostView> = group.hosts.iter().filter(|host| host.role == Role::Server).collect();
    let well = servers.iter().filter(|host| is_well(host)).count();
    let tone = if well == servers.len() && well > 0 {
        Tone::Good
    } else if well == 0 {
        Tone::Bad
    } else {
        Tone::Doubtful
    };
    terminal.paint(tone, &format!("{well} of {}", count(servers.len(), "host", "hosts")))
}

pub(super) fn table(group: &GroupView, terminal: Terminal) -> String {
    let mut table = terminal.table_of(&["HOST", "NAME", "STATE", "SERVING", "UTILIZATION", "AGE"]);
    for numbers in table.column_iter_mut().skip(3) {
        numbers.set_cell_alignment(CellAlignment::Right);
    }
    for host in &group.hosts {
        let (tone, state) = state(host, group);
        table.add_row([
            terminal.cell(Tone::Plain, host.id.to_string()),
            terminal.cell(Tone::Plain, &host.name),
            terminal.cell(tone, state),
            terminal.cell(Tone::Plain, host.serving.len().to_string()),
            terminal.cell(Tone::Plain, utilization(host)),
            terminal.cell(Tone::Plain, if host.is_self { "-".to_owned() } else { millis(host.age_ms) }),
        ]);
    }
    terminal.lines(&table)
}

fn is_well(host: &HostView) -> bool {
    host.ok && !host.silent
}

/// The words of behaviour for what a host is and how it is.
fn state(host: &HostView, group: &GroupView) -> (Tone, String) {
    let mut words = Vec::new();
    if Some(host.id) == group.leader {
        words.push("leader");
    }
    // What a silent host last said of itself says nothing about it.
    let tone = if host.silent {
        words.push("silent");
        Tone::Bad
    } else {
        let mut tone = Tone::Good;
        // An observer says not-ok by its nature.
        match (host.role, host.ok) {
            (Role::Server, true) => words.push("ok"),
            (Role::Server, false) => {
                words.push("not ok");
                tone = Tone::Bad;
            }
            (Role::Observer, true | false) => {}
        }
        let doubtful = [(host.draining, "draining"), (host.quiesced && !host.draining, "quiesced"), (!host.settled, "unsettled")];
        let doubtful = doubtful.into_iter().chain([(!host.complete, "incomplete")]);
        for (_, word) in doubtful.filter(|(holds, _)| *holds) {
            words.push(word);
            if tone == Tone::Good {
                tone = Tone::Doubtful;
            }
        }
        tone
    };
    match host.role {
        Role::Observer => words.push("observer"),
        Role::Server if host.spare => words.push("spare"),
        Role::Server => {}
    }
    if host.is_self {
        words.push("self");
    }
    (tone, words.join(", "))
}

fn utilization(host: &HostView) -> String {
    host.utilization.map_or_else(|| "-".to_owned(), |share| format!("{:.0}%", share * 100.0))
}
