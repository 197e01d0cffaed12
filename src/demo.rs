//! `raisd demo`: the main job on one machine, in half a minute, for whoever wants to see it before believing it.
//!
//! Owns a pool of real daemons in namespaces of its own, and observers: a client, a resolver, a capture. What it prints and
//! its exit code rest on what they saw, never on what raisd says. Needs nothing but this program, no root, and leaves
//! nothing behind, whatever ends it ([`lab`]). The networks and observers also serve the netns tests.
//! Never runs in a daemon. Called by `bin/raisd.rs`, before the process has a second thread.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use self::lab::{Entered, Lab};
use self::pool::Pool;
use self::story::{Casualties, Story, StoryError};
use self::timeline::{Subject, Timeline};

pub mod daemon;
pub mod frames;
pub mod lab;
pub mod log;
pub mod namespace;
pub mod plan;
mod pool;
pub mod probes;
pub mod querier;
pub mod resolver;
mod story;
mod timeline;
pub mod topology;

/// The demo cannot be run on this machine, or not like this.
const EXIT_UNUSABLE: u8 = 2;

/// With fewer, nobody would serve beside the one that dies and the spare; more make the lines too long to read.
const HOSTS: std::ops::RangeInclusive<u8> = 3..=16;

/// Longer ones do not fit into the half minute, shorter ones measure the machine's scheduler.
const HEARTBEAT: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(1);

/// What the demo is asked to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DemoOptions {
    /// Hosts of the pool, the last of which is the spare: 3 to 16.
    pub hosts: usize,
    /// Time between two messages of a host: 20 ms to 1 s.
    pub heartbeat: Duration,
    /// Kills every host that could take over as well: the demo must then fail.
    pub kill_spare: bool,
}

/// Runs the demo. The process must not have a second thread yet.
///
/// 0: an address was taken over, the zone followed, and both went home. 1: not so. 2: this machine cannot run it.
#[must_use]
pub fn run(options: DemoOptions) -> ExitCode {
    match lab::enter() {
        Ok(Entered::Outside(code)) => code,
        Ok(Entered::Inside(lab)) => inside(&lab, &options),
        Err(error) => unusable(&error),
    }
}

fn inside(lab: &Lab, options: &DemoOptions) -> ExitCode {
    let hosts = u8::try_from(options.hosts).ok().filter(|hosts| HOSTS.contains(hosts));
    let Some(hosts) = hosts.filter(|_| HEARTBEAT.contains(&options.heartbeat)) else {
        return unusable(&"it takes 3 to 16 hosts and a heartbeat of 20ms to 1s");
    };
    let mut timeline = Timeline::start(io::stdout());
    match show(lab, hosts, options, &mut timeline) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StoryError::Pool(error)) => unusable(&error),
        Err(error @ (StoryError::Failed(_) | StoryError::Observer(_) | StoryError::Io(_))) => {
            // A closed terminal is told nothing.
            let _closed = timeline.now(Subject::Result, format!("FAILED: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn show(lab: &Lab, hosts: u8, options: &DemoOptions, timeline: &mut Timeline<impl Write>) -> Result<(), StoryError> {
    timeline.say(format_args!(
        "A pool of {hosts} hosts on this machine: real daemons, a network of their own, gone when this ends.\n\
         A host counts as dead when it is not heard for {} ms.\n",
        (options.heartbeat * 4).as_millis()
    ))?;
    let mut pool = Pool::build(lab, hosts, options.heartbeat)?;
    let text = format!("web1 to web{hosts} are up, on two control networks and a service network, where a client is too");
    timeline.now(Subject::Network, text)?;
    let casualties = if options.kill_spare { Casualties::All } else { Casualties::One };
    Story::new(&mut pool, timeline).tell(casualties)
}

fn unusable(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("raisd demo: {error}");
    ExitCode::from(EXIT_UNUSABLE)
}
