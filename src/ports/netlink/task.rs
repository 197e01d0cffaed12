//! The port's thread: takes commands, does the changes, follows the notifications, tells what comes of it.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Sleep;

use super::inventory::{Inventory, Touched};
use super::monitor::{Certainty, Monitor, Notice};
use super::plan::{Refusal, Request, Step, judge, judge_probe, plan, probe};
use super::reports::Reports;
use super::requests::{Lost, Reply, Requests};
use super::{AddressChange, Command, Limits, NetlinkError, ROUNDS_MAX};
use crate::node::event::{Event, KernelChange, Mark, Outcome};
use crate::ports::cause::in_one_line;
use crate::ports::interfaces::Interfaces;

/// How long a new IPv6 address may take to be told of. It comes from a work queue, usually within a millisecond.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(500);

/// When to dump again after things were too restless or the socket could not be opened.
const RESYNC_DELAY: Duration = Duration::from_secs(1);

/// The port's end of its channels.
pub(super) struct Channels {
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) interfaces: watch::Sender<Arc<Interfaces>>,
}

/// The thread.
pub(super) fn run(
    interfaces: Vec<String>,
    limits: Limits,
    channels: Channels,
    started: oneshot::Sender<Result<Vec<KernelChange>, NetlinkError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            // Whoever opens the port has given up if nobody takes the answer.
            drop(started.send(Err(NetlinkError::Thread { source })));
            return;
        }
    };
    runtime.block_on(async {
        let answer = match NetlinkTask::start(interfaces, limits, &channels.interfaces).await {
            Ok((task, initial)) => match started.send(Ok(initial)) {
                Ok(()) => return task.follow(channels).await,
                Err(_abandoned) => return,
            },
            Err(error) => Err(error),
        };
        drop(started.send(answer));
    });
}

struct NetlinkTask {
    limits: Limits,
    requests: Requests,
    monitor: Monitor,
    inventory: Inventory,
    reports: Reports,
    pending: VecDeque<AddressChange>,
    snapshot: Freshness,
    /// Runs while the inventory cannot be relied upon.
    resync_timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Freshness {
    Fresh,
    Stale,
}

/// A change under way.
struct Open {
    change: AddressChange,
    why_open: String,
}

impl NetlinkTask {
    async fn start(
        interfaces: Vec<String>,
        limits: Limits,
        snapshot: &watch::Sender<Arc<Interfaces>>,
    ) -> Result<(Self, Vec<KernelChange>), NetlinkError> {
        let mut task = Self {
            limits,
            requests: Requests::open(limits)?,
            monitor: Monitor::open(limits)?,
            inventory: Inventory::default(),
            reports: Reports::default(),
            pending: VecDeque::new(),
            snapshot: Freshness::Stale,
            resync_timer: None,
        };
        task.probe().await?;
        task.reports.watch(interfaces, &task.inventory);
        task.resync().await?;
        task.publish(snapshot);
        let mut initial = Vec::new();
        while let Some(event) = task.reports.take_next(&task.inventory) {
            if let Event::Kernel(change) = event {
                initial.push(change);
            }
        }
        Ok((task, initial))
    }

    /// Finds out at once what would otherwise make every change fail.
    async fn probe(&mut self) -> Result<(), NetlinkError> {
        let replies = self.requests.batch(vec![probe()]).await.map_err(|_lost| NetlinkError::TimedOut { what: "a first request" })?;
        replies.iter().try_for_each(|reply| match reply {
            Reply::Done => Ok(()),
            Reply::Refused { errno, .. } => judge_probe(*errno),
        })
    }

    async fn follow(mut self, channels: Channels) {
        let Channels { mut commands, events, interfaces } = channels;
        let mut closing = false;
        while !(closing && self.pending.is_empty() && !self.reports.is_waiting()) {
            self.publish(&interfaces);
            tokio::select! {
                biased;
                permit = events.reserve(), if self.reports.is_waiting() => {
                    let Ok(permit) = permit else { return };
                    if let Some(event) = self.reports.take_next(&self.inventory) {
                        permit.send(event);
                    }
                }
                command = commands.recv(), if !closing => match command {
                    Some(Command::Change(changes)) => self.pending.extend(changes),
                    Some(Command::Watch(interfaces)) => self.reports.watch(interfaces, &self.inventory),
                    None => closing = true,
                },
                () = std::future::ready(()), if !self.pending.is_empty() => self.change_batch().await,
                notice = self.monitor.next() => self.take(notice).await,
                () = due(&mut self.resync_timer) => self.resync_or_say_why().await,
            }
        }
    }

    fn publish(&mut self, interfaces: &watch::Sender<Arc<Interfaces>>) {
        if self.snapshot == Freshness::Fresh {
            return;
        }
        self.snapshot = Freshness::Fresh;
        let snapshot = self.inventory.snapshot();
        interfaces.send_if_modified(|current| {
            let modified = **current != snapshot;
            if modified {
                *current = Arc::new(snapshot);
            }
            modified
        });
    }

    /// Takes in one notification and all that are ready behind it.
    async fn take(&mut self, first: Notice) {
        let mut next = Some(first);
        while let Some(notice) = next {
            match notice {
                Notice::Message(message) => {
                    let touched = self.inventory.apply(&message);
                    match touched {
                        Touched::Link(_) | Touched::Address(_, _, Mark::Foreign) => self.snapshot = Freshness::Stale,
                        Touched::Nothing | Touched::Address(_, _, Mark::Ours) => {}
                    }
                    self.reports.note(&touched, &self.inventory);
                }
                Notice::Overrun | Notice::Closed => return self.resync_or_say_why().await,
            }
            next = self.monitor.take_ready();
        }
    }

    async fn resync_or_say_why(&mut self) {
        if let Err(error) = self.resync().await {
            self.doubt();
            let cause = in_one_line(&error);
            tracing::error!(%cause, "cannot follow the kernel's addresses and interfaces; trying again in {} s", RESYNC_DELAY.as_secs());
        }
    }

    /// Asks for everything. A socket that has failed is replaced first.
    async fn resync(&mut self) -> Result<(), NetlinkError> {
        let dump = match self.monitor.dump().await {
            Ok(dump) => dump,
            Err(_failed) => {
                self.monitor = Monitor::open(self.limits)?;
                self.monitor.dump().await?
            }
        };
        self.inventory.replace(&dump.links, &dump.addresses);
        self.resync_timer = None;
        match dump.certainty {
            Certainty::Settled => {}
            Certainty::Overtaken => self.doubt(),
        }
        self.snapshot = Freshness::Stale;
        self.reports.note_all(&self.inventory);
        Ok(())
    }

    /// Has everything asked for anew: by the next change, or when the timer ends.
    fn doubt(&mut self) {
        self.resync_timer = Some(Box::pin(tokio::time::sleep(RESYNC_DELAY)));
    }

    /// Brings the inventory up to what the kernel has.
    async fn catch_up(&mut self) -> Result<(), NetlinkError> {
        if self.resync_timer.is_some() || self.monitor.catch_up().await.is_err() {
            return self.resync().await;
        }
        if let Some(notice) = self.monitor.take_ready() {
            self.take(notice).await;
        }
        Ok(())
    }

    /// Does the next changes that do not concern the same address, and answers them.
    async fn change_batch(&mut self) {
        let mut open = self.take_batch();
        for _ in 0..ROUNDS_MAX {
            if let Err(error) = self.catch_up().await {
                let why = in_one_line(&error);
                return self.give_up(open, &format!("the kernel's addresses could not be read: {why}"));
            }
            open = self.round(open).await;
            if open.is_empty() {
                return;
            }
        }
        self.give_up(open, &format!("gave up after {ROUNDS_MAX} tries"));
    }

    fn take_batch(&mut self) -> Vec<Open> {
        let mut concerned: BTreeSet<(String, IpAddr)> = BTreeSet::new();
        let mut open = Vec::new();
        while open.len() < self.limits.batch
            && let Some(change) = self.pending.front()
            && concerned.insert((change.interface.clone(), change.address.address))
            && let Some(change) = self.pending.pop_front()
        {
            open.push(Open { change, why_open: String::new() });
        }
        open
    }

    /// One round: answers what is settled, asks the kernel for the rest, and returns what has to be looked at again.
    async fn round(&mut self, open: Vec<Open>) -> Vec<Open> {
        let mut asked = Vec::with_capacity(open.len());
        for open in open {
            match plan(&open.change, &self.inventory) {
                Step::Answer(outcome) => self.reports.finish(open.change.op, outcome),
                Step::Ask(request) => asked.push((open, request)),
            }
        }
        if asked.is_empty() {
            return Vec::new();
        }
        let messages = asked.iter().map(|(_, request)| request.message()).collect();
        match self.requests.batch(messages).await {
            Ok(replies) => self.take_replies(asked, replies).await,
            Err(lost) => self.take_loss(asked, &lost),
        }
    }

    async fn take_replies(&mut self, asked: Vec<(Open, Request)>, replies: Vec<Reply>) -> Vec<Open> {
        let mut left = Vec::new();
        let mut settling = Vec::new();
        for ((mut open, request), reply) in asked.into_iter().zip(replies) {
            match reply {
                Reply::Done => {
                    if request.settles_later() {
                        settling.push(open.change.clone());
                    }
                    "something else keeps changing it".clone_into(&mut open.why_open);
                    left.push(open);
                }
                Reply::Refused { errno, text } => match judge(&open.change, request, errno, &text, &self.inventory) {
                    Refusal::LookAgain => {
                        open.why_open = std::io::Error::from_raw_os_error(errno).to_string();
                        left.push(open);
                    }
                    Refusal::Final(outcome) => self.reports.finish(open.change.op, outcome),
                },
            }
        }
        self.settle(&settling).await;
        left
    }

    /// Waits until the kernel has told of what it has answered already.
    async fn settle(&mut self, changes: &[AddressChange]) {
        let waiting = async {
            for change in changes {
                while matches!(plan(change, &self.inventory), Step::Ask(_)) {
                    let notice = self.monitor.next().await;
                    self.take(notice).await;
                }
            }
        };
        if tokio::time::timeout(SETTLE_TIMEOUT, waiting).await.is_err() {
            // The next round begins with a dump.
            self.doubt();
        }
    }

    fn take_loss(&mut self, asked: Vec<(Open, Request)>, lost: &Lost) -> Vec<Open> {
        tracing::warn!(%lost, requests = asked.len(), "the kernel's answers to address changes were lost; reading its addresses instead");
        self.doubt();
        match Requests::open(self.limits) {
            Ok(requests) => self.requests = requests,
            // The next round finds the old socket closed, and tries again.
            Err(error) => tracing::error!(cause = in_one_line(&error), "cannot open the netlink socket for address changes anew"),
        }
        let why_open = lost.to_string();
        asked.into_iter().map(|(open, _)| Open { why_open: why_open.clone(), ..open }).collect()
    }

    fn give_up(&mut self, open: Vec<Open>, why: &str) {
        for Open { change, why_open } in open {
            let verb = match change.kind {
                super::ChangeKind::Add => "add",
                super::ChangeKind::Remove => "remove",
            };
            let last = if why_open.is_empty() { String::new() } else { format!(" ({why_open})") };
            let why = format!("cannot {verb} {} on {}: {why}{last}", change.address, change.interface);
            self.reports.finish(change.op, Outcome::Failed { why });
        }
    }
}

async fn due(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}
