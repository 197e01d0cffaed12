//! Acquire and release scripts: run directly, each in a process group of its own, killed at the timeout.
//!
//! Owns the processes. Never decides what to run or in which order: the core keeps one queue per item and asks for one script
//! of an item at a time; `process/dispatch.rs` passes its wishes on.
//!
//! **Queue**: none. Every script starts at once in a task of its own, however many run: with a bound, scripts that hang would
//! hold up those of other items. The number is bounded by the items that this host holds. Where the kernel is short of files,
//! processes or memory, a start is tried again until the script's time is up. [`Scripts::new`] raises the limit of open files,
//! since a running script takes three; scripts inherit that limit.
//!
//! **Answers** leave through an unbounded channel: each answers one operation that the core has asked for and waits for.
//! Every operation is answered exactly once, at the latest its timeout and three seconds later.
//!
//! **Cancellation**: dropping [`Scripts`] kills every script's process group and answers its operation as failed.
//!
//! A script is called as `PROGRAM ADDRESS PREFIX INTERFACE` (a data set: its name in place of the address), with the variables
//! of `docs/reference.md`, `PATH`, and nothing else of the daemon's environment; with `user` also `HOME`, `LOGNAME` and `USER`.

mod output;
mod user;

pub(crate) mod child;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use self::child::{Channel, How, Program, describe};
use crate::node::action::{ScriptAction, ScriptJob};
use crate::node::event::{Event, GroupIndex, OpId, Outcome};
use crate::types::host::HostId;
use crate::types::item::Item;

/// Between TERM and KILL: enough to undo something, short beside the wait of an address that nobody serves meanwhile.
const GRACE: Duration = Duration::from_secs(2);

/// Lines of one run and channel that reach the log; further ones are counted, so that a flood of one drowns no errors on the
/// other. What a person reads, times the thousand scripts of a take-over.
const LOGGED_LINES_MAX: u32 = 200;

/// Open files wanted: three for each of a thousand scripts, twice that while they start, and room for the daemon's own.
const OPEN_FILES_WANTED: u64 = 8192;

/// The scripts of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupScripts {
    /// `RAISD_GROUP`.
    pub group: String,
    /// Run after an address is on.
    pub acquire: Option<PathBuf>,
    /// Run before an address goes off.
    pub release: Option<PathBuf>,
    /// TERM to the process group after so long, KILL soon after.
    pub timeout: Duration,
    /// The user to run them as; `None`: as the daemon.
    pub user: Option<String>,
}

impl GroupScripts {
    fn path(&self, action: ScriptAction) -> Option<&Path> {
        match action {
            ScriptAction::Acquire => self.acquire.as_deref(),
            ScriptAction::Release => self.release.as_deref(),
        }
    }
}

/// Runs the scripts of all groups.
#[derive(Debug)]
pub struct Scripts {
    host: HostId,
    groups: BTreeMap<GroupIndex, Arc<GroupScripts>>,
    answers: UnboundedSender<Event>,
    running: JoinSet<()>,
}

impl Scripts {
    /// The scripts of each group. The receiver yields one [`Event::Finished`] for each [`Scripts::run`].
    #[must_use]
    pub fn new(host: HostId, groups: BTreeMap<GroupIndex, GroupScripts>) -> (Self, UnboundedReceiver<Event>) {
        raise_open_files();
        let (answers, receiver) = unbounded_channel();
        let mut scripts = Self { host, groups: BTreeMap::new(), answers, running: JoinSet::new() };
        for (group, of_group) in groups {
            scripts.set_group(group, of_group);
        }
        (scripts, receiver)
    }

    /// What starts for the group from here on is one of these; what runs goes on.
    pub fn set_group(&mut self, group: GroupIndex, scripts: GroupScripts) {
        self.groups.insert(group, Arc::new(scripts));
    }

    /// The group has ended; nothing starts for it any more.
    pub fn remove_group(&mut self, group: GroupIndex) {
        self.groups.remove(&group);
    }

    /// Starts the script of a job. Without one in the configuration there is nothing to do: the operation is done.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn run(&mut self, op: OpId, job: ScriptJob) {
        while let Some(ended) = self.running.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a script's task has panicked; its operation was answered as failed");
            }
        }
        let answer = Answer { op, answers: Some(self.answers.clone()) };
        let Some(group) = self.groups.get(&job.group) else {
            answer.give(Outcome::Failed { why: format!("{} script of a group that is configured no longer", job.action.as_str()) });
            return;
        };
        let Some(path) = group.path(job.action) else {
            answer.give(Outcome::Done);
            return;
        };
        let program = program(self.host, group, path, &job);
        let log = Log { group: group.group.clone(), item: job.item.to_string(), action: job.action, stdout: 0, stderr: 0 };
        self.running.spawn(async move {
            let outcome = run(program, log).await;
            answer.give(outcome);
        });
    }
}

/// An operation to be answered; answers it as failed if dropped.
#[derive(Debug)]
struct Answer {
    op: OpId,
    answers: Option<UnboundedSender<Event>>,
}

impl Answer {
    fn give(mut self, outcome: Outcome) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Outcome) {
        if let Some(answers) = self.answers.take() {
            // Without a receiver the daemon is ending and nobody waits for the answer.
            let _unheard = answers.send(Event::Finished { op: self.op, outcome });
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.send(Outcome::Failed { why: "the script was killed because the daemon stops".to_owned() });
    }
}

fn program(host: HostId, group: &GroupScripts, path: &Path, job: &ScriptJob) -> Program {
    let kind = match &job.item {
        Item::Address(_) => "address",
        Item::DataSet(_) => "data-set",
    };
    let item = job.item.to_string();
    let address = job.item.address().map(|address| address.to_string()).unwrap_or_default();
    let prefix = job.prefix.to_string();
    let environment = vec![
        ("RAISD_GROUP", group.group.clone()),
        ("RAISD_HOST", host.to_string()),
        ("RAISD_KIND", kind.to_owned()),
        ("RAISD_ITEM", item.clone()),
        ("RAISD_ADDRESS", address),
        ("RAISD_PREFIX", prefix.clone()),
        ("RAISD_INTERFACE", job.interface.clone()),
        ("RAISD_ACTION", job.action.as_str().to_owned()),
        ("RAISD_REASON", job.reason.to_string()),
        ("RAISD_EPOCH", job.epoch.to_string()),
    ];
    Program {
        path: path.to_owned(),
        arguments: vec![item, prefix, job.interface.clone()],
        environment,
        user: group.user.clone(),
        limit: group.timeout,
        grace: GRACE,
    }
}

async fn run(program: Program, mut log: Log) -> Outcome {
    let (path, action) = (program.path.clone(), log.action.as_str());
    let ended = program.run(|channel, line| log.line(channel, line)).await;
    log.end();
    match &ended.how {
        How::Exited(status) if status.success() => Outcome::Done,
        How::Exited(status) => {
            Outcome::Failed { why: format!("{action} script {} {}{}", path.display(), describe(*status), ended.last_words()) }
        }
        How::TimedOut => Outcome::TimedOut,
        How::NotStarted { why } => Outcome::Failed { why: format!("{action} script {why}") },
    }
}

/// Passes a script's lines to the log.
#[derive(Debug)]
struct Log {
    group: String,
    item: String,
    action: ScriptAction,
    stdout: u32,
    stderr: u32,
}

impl Log {
    fn line(&mut self, channel: Channel, line: &str) {
        let Self { group, item, action, stdout, stderr } = self;
        let action = action.as_str();
        let lines = match channel {
            Channel::Stdout => stdout,
            Channel::Stderr => stderr,
        };
        *lines = lines.saturating_add(1);
        if *lines > LOGGED_LINES_MAX {
            return;
        }
        match channel {
            Channel::Stdout => tracing::info!(%group, %item, action, "{line}"),
            Channel::Stderr => tracing::warn!(%group, %item, action, "{line}"),
        }
    }

    fn end(&self) {
        let Self { group, item, .. } = self;
        let action = self.action.as_str();
        let dropped =
            [self.stdout, self.stderr].map(|lines| lines.saturating_sub(LOGGED_LINES_MAX)).into_iter().fold(0, u32::saturating_add);
        if dropped > 0 {
            tracing::warn!(%group, %item, action, dropped, "the script printed more than {LOGGED_LINES_MAX} lines; the rest was dropped");
        }
    }
}

/// Lets the daemon open as many files as a thousand scripts take.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = OPEN_FILES_WANTED.min(hard);
        if soft < wanted { setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(
            %error,
            "the limit of open files could not be raised to {OPEN_FILES_WANTED}: many scripts at once will start one after another \
             (systemd: LimitNOFILE)"
        );
    }
}

#[cfg(test)]
pub(crate) mod captured_log;
#[cfg(test)]
mod tests;
