//! `raisctl drain`: one request that waits, and meanwhile a line that says how far it is.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::client::{Client, ClientError};
use super::words::{count, list, printable};
use crate::ports::api::call::Drain;
use crate::types::view::View;

/// Between two looks at what is left: often enough for an eye.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// So many addresses are named in the line.
const NAMED_MAX: usize = 3;

/// Back to the start of the line, and clear it (ECMA-48: CR, EL).
const CLEAR_LINE: &str = "\r\u{1b}[K";

/// Asks for the drain and waits for its end; what happened, for people. On a terminal, `stderr` shows what is left.
///
/// # Errors
///
/// No daemon, or it refused or could not.
pub async fn drain(client: &Client, call: &Drain) -> Result<String, ClientError> {
    if !io::stderr().is_terminal() {
        return client.call(call).await;
    }
    let mut line = Line { shown: false };
    let answer = tokio::select! {
        answer = client.call(call) => answer,
        never = watch(client, call, &mut line) => match never {},
    };
    line.clear();
    answer
}

async fn watch(client: &Client, call: &Drain, line: &mut Line) -> Infallible {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match client.status(call.group.as_deref()).await {
            Ok(read) => line.show(&left(&read.value)),
            // The answer to the drain is what counts, and comes with what is wrong.
            Err(error) => line.show(&format!("draining ({error})")),
        }
    }
}

/// What the asked host still holds.
fn left(view: &View) -> String {
    let own = view.groups.iter().flat_map(|group| group.hosts.iter().filter(|host| host.is_self));
    let held: Vec<_> = own.flat_map(|host| host.serving.iter().map(|serving| serving.address)).collect();
    if held.is_empty() {
        return "draining: nothing is held any more".to_owned();
    }
    format!("draining: {} left ({})", count(held.len(), "address", "addresses"), list(&held, NAMED_MAX))
}

/// A line of the terminal that is written over.
struct Line {
    shown: bool,
}

impl Line {
    fn show(&mut self, text: &str) {
        self.shown = true;
        self.write(&format!("{CLEAR_LINE}{}", printable(text)));
    }

    fn clear(&mut self) {
        if self.shown {
            self.write(CLEAR_LINE);
        }
    }

    /// A terminal that has gone away takes the progress with it and nothing else.
    fn write(&mut self, text: &str) {
        let mut terminal = io::stderr();
        if terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()).is_err() {
            self.shown = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_what_the_asked_host_still_holds() {
        let mut view: View = serde_json::from_str(include_str!("../../tests/samples/status.json")).unwrap();
        assert_eq!(left(&view), "draining: 1 address left (192.0.2.11)");
        view.groups[0].hosts[0].serving.clear();
        assert_eq!(left(&view), "draining: nothing is held any more");
    }
}
