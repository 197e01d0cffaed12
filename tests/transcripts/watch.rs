//! What nodes were told and did, in order, as the world hands it over: whole, and of every host.
//!
//! Stands in the place of the text that other targets print when they fail. The stage takes from it what it watches.

use raisd::node::action::Action;
use raisd::node::event::Event;
use raisd::types::time::Time;

use crate::machine::Number;

/// One thing that happened to a node, or that it did.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// It was told this.
    Event(Event),
    /// And does this.
    Action(Action),
    /// The world did this to its machine.
    Said(String),
}

/// All since it was last taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    lines: Vec<(Time, Number, Told)>,
}

impl Transcript {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn say(&mut self, now: Time, host: Number, text: String) {
        self.lines.push((now, host, Told::Said(text.trim_start_matches("=== ").to_owned())));
    }

    pub(crate) fn event(&mut self, now: Time, host: Number, event: &Event) {
        self.lines.push((now, host, Told::Event(event.clone())));
    }

    pub(crate) fn action(&mut self, now: Time, host: Number, action: &Action) {
        self.lines.push((now, host, Told::Action(action.clone())));
    }

    pub(crate) fn print(&self) {
        eprintln!("{} things had happened that were not written down yet", self.lines.len());
    }

    pub(crate) fn take(&mut self) -> Vec<(Time, Number, Told)> {
        std::mem::take(&mut self.lines)
    }
}
