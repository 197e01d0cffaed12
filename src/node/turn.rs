//! One call of the node: the time, the list of actions that grows, and the numbers of operations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::{Action, Report};
use super::event::{GroupIndex, OpId, Token};
use crate::types::item::Item;
use crate::types::time::Time;

/// Who waits for an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Waiter {
    /// An item of a group.
    Item(GroupIndex, Item),
    /// Requests of operators whose effect has to be on disk before they are answered.
    Requests(Vec<(Token, String)>),
    /// Nobody: only a failure is worth a word.
    Nobody,
}

/// The operations under way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Operations {
    last: u64,
    waiting: BTreeMap<OpId, Waiter>,
}

impl Operations {
    pub(crate) fn begin(&mut self, waiter: Waiter) -> OpId {
        self.last += 1;
        let op = OpId(self.last);
        self.waiting.insert(op, waiter);
        op
    }

    /// Who waited for it; `None` for an answer that comes twice.
    pub(crate) fn end(&mut self, op: OpId) -> Option<Waiter> {
        self.waiting.remove(&op)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Whether more events come with this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Row {
    /// What looks at everything waits for the last of them.
    GoesOn,
    Ends,
}

/// One call of the node, as a group's monitor sees it.
pub(crate) struct Turn<'a> {
    pub(crate) now: Time,
    pub(crate) group: GroupIndex,
    pub(crate) row: Row,
    pub(crate) actions: &'a mut Vec<Action>,
    pub(crate) operations: &'a mut Operations,
}

impl Turn<'_> {
    /// Numbers an operation for an item.
    pub(crate) fn begin(&mut self, item: &Item) -> OpId {
        self.operations.begin(Waiter::Item(self.group, item.clone()))
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.actions.push(Action::Report { group: Some(self.group), report });
    }
}
