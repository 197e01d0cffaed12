//! What scripts were called with, and when, as they themselves wrote it down.
//!
//! Owns the text of a script that notes its arguments, its whole environment and whether the kernel has the address, in one
//! file for all hosts: lines stand there in the order in which things happened, also on different hosts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use raisd::demo::plan::{Network, Plan};

use super::{poll_until, within};
use crate::pool::{HostConfig, Pool};
use crate::story::{Finding, Outcome, Verdict};

/// The variables that a script gets, beside `PATH`.
const VARIABLES: [&str; 10] = [
    "RAISD_ACTION",
    "RAISD_ADDRESS",
    "RAISD_EPOCH",
    "RAISD_GROUP",
    "RAISD_HOST",
    "RAISD_INTERFACE",
    "RAISD_ITEM",
    "RAISD_KIND",
    "RAISD_PREFIX",
    "RAISD_REASON",
];

/// Variables that a shell makes for itself.
const SHELL: [&str; 4] = ["OLDPWD", "PWD", "SHLVL", "_"];

/// Which script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Acquire,
    Release,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Release => "release",
        }
    }
}

/// One call of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    /// Whether the kernel had the address when the script began.
    pub(crate) had_address: bool,
    /// The line in which it began, and that in which it ended by itself.
    pub(crate) began: usize,
    pub(crate) ended: Option<usize>,
}

impl Call {
    fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }

    /// Whether it is a call of that script, on that host, for that address.
    pub(crate) fn is(&self, host: u8, action: Action, address: IpAddr) -> bool {
        self.variable("RAISD_HOST") == Plan(host).control(0).to_string()
            && self.variable("RAISD_ACTION") == action.as_str()
            && self.variable("RAISD_ADDRESS") == address.to_string()
    }

    pub(crate) fn reason(&self) -> &str {
        self.variable("RAISD_REASON")
    }

    pub(crate) fn epoch(&self) -> Outcome<u64> {
        let text = self.variable("RAISD_EPOCH");
        text.parse().map_err(|_| Verdict::new(Finding::Script, format!("RAISD_EPOCH is {text:?}")).into())
    }

    /// All that a script is told, for an address of prefix length 32 of the pool's first group.
    fn judge(&self) -> Outcome {
        let address = self.variable("RAISD_ADDRESS");
        let fixed =
            [("RAISD_GROUP", "www"), ("RAISD_KIND", "address"), ("RAISD_PREFIX", "32"), ("RAISD_INTERFACE", Network::Service.interface())];
        let wrong = fixed.into_iter().chain([("RAISD_ITEM", address)]).find(|(name, value)| self.variable(name) != *value);
        if let Some((name, value)) = wrong {
            return Err(Verdict::new(Finding::Script, format!("{name} is not {value:?}: {self:?}")).into());
        }
        if self.arguments != [address, "32", Network::Service.interface()] {
            return Err(Verdict::new(Finding::Script, format!("the arguments are {:?}: {self:?}", self.arguments)).into());
        }
        let told = |name: &&String| !SHELL.contains(&name.as_str()) && *name != "PATH";
        if !self.environment.keys().filter(told).eq(VARIABLES) {
            return Err(Verdict::new(Finding::Script, format!("not the variables of the contract: {self:?}")).into());
        }
        Ok(())
    }
}

/// The record of all hosts' scripts.
#[derive(Debug)]
pub(crate) struct Calls {
    path: PathBuf,
}

impl Calls {
    /// A record in a directory of the story.
    pub(crate) fn new(directory: &Path) -> Self {
        Self { path: directory.join("calls") }
    }

    /// A script that notes its call, runs `body`, and notes that it has ended, with the status of `body`.
    pub(crate) fn script(&self, body: &str) -> String {
        format!(
            r#"#!/bin/sh
has=absent
case "$(ip -o address show dev "$3")" in *" $1/"*) has=present ;; esac
printf '%s\n' "begin|$$|$has|$*|$(env | tr '\n' ';')" >>{path}
{body}
status=$?
printf '%s\n' "end|$$" >>{path}
exit $status
"#,
            path = self.path.display()
        )
    }

    /// Gives a host an acquire and a release script that note their calls and run `acquire` and `release`.
    pub(crate) fn install(&self, pool: &mut Pool, host: u8, acquire: &str, release: &str, timeout: Duration) -> Outcome {
        let acquire = pool.script(host, "acquire", &self.script(acquire))?;
        let release = pool.script(host, "release", &self.script(release))?;
        pool.configure(host, |config| add_scripts(config, &acquire, &release, timeout))
    }

    /// All calls so far, in the order in which they began.
    pub(crate) fn all(&self) -> Outcome<Vec<Call>> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut calls: Vec<(&str, Call)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if let Some(process) = line.strip_prefix("end|") {
                // Of a process id that is used again the last call is meant.
                if let Some((_, call)) = calls.iter_mut().rfind(|(of, _)| *of == process) {
                    call.ended = Some(number);
                }
            } else if let Some((process, call)) = parse(line, number) {
                calls.push((process, call));
            }
        }
        Ok(calls.into_iter().map(|(_, call)| call).collect())
    }

    /// Waits until there is a call that `wanted` accepts; it is judged by all that a script is told.
    pub(crate) fn wait(&self, deadline: Instant, what: &str, wanted: impl Fn(&Call) -> bool) -> Outcome<Call> {
        let call = poll_until(deadline, || Ok(self.all()?.into_iter().find(|call| wanted(call))))?;
        let Some(call) = call else {
            let all = self.all()?;
            return Err(Verdict::new(Finding::Script, format!("no script was called {what}, but {all:#?}")).into());
        };
        call.judge()?;
        Ok(call)
    }

    /// Waits for a call with all that it must have been told, and returns its epoch.
    pub(crate) fn wait_call(&self, host: u8, action: Action, address: IpAddr, reason: &str, above: u64) -> Outcome<u64> {
        let what = format!("on host {host} to {} {address}, reason {reason}, with an epoch above {above}", action.as_str());
        let wanted =
            |call: &Call| call.is(host, action, address) && call.reason() == reason && call.epoch().is_ok_and(|epoch| epoch > above);
        let call = self.wait(within(Duration::from_secs(5)), &what, wanted)?;
        // After the address is on, and before it goes off.
        if !call.had_address {
            return Err(Verdict::new(Finding::Script, format!("{address} was not on the interface: {call:?}")).into());
        }
        call.epoch()
    }
}

/// Writes `[group.scripts]`.
pub(crate) fn add_scripts(config: &mut HostConfig, acquire: &Path, release: &Path, timeout: Duration) {
    let (acquire, release, timeout) = (acquire.display(), release.display(), timeout.as_millis());
    config.tables += &format!("[group.scripts]\nacquire = \"{acquire}\"\nrelease = \"{release}\"\ntimeout = \"{timeout}ms\"\n");
}

fn parse(line: &str, number: usize) -> Option<(&str, Call)> {
    let mut fields = line.strip_prefix("begin|")?.splitn(4, '|');
    let (process, has, arguments, environment) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let variable = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let call = Call {
        arguments: arguments.split(' ').map(str::to_owned).collect(),
        environment: environment.split(';').filter_map(variable).collect(),
        had_address: has == "present",
        began: number,
        ended: None,
    };
    Some((process, call))
}
