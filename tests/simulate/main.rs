//! The seeded simulation: pools of real nodes in virtual time, schedules of misfortune drawn from a seed, and judges outside
//! the nodes.
//!
//! `cargo test --test simulate` runs the gate's set and shows each judge a broken history; `scripts/simulate` runs as many
//! schedules as are wanted, or one again. Without what a schedule says nothing happens: the same seed gives the same run.

#![expect(clippy::expect_used, reason = "a run that cannot go on ends with what it expected")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a judge looks at what it judges")]
#![expect(clippy::disallowed_methods, reason = "people wait for the run: its own time is taken, never that of a node")]

#[path = "../world.rs"]
mod simulated;

#[allow(unused_imports, reason = "the parts of the world name each other from here")]
use simulated::{datagrams, deeds, machine, network, seen, setup, transcript, world};

mod broken;
mod checkers;
mod dice;
mod fault;
mod options;
mod play;
mod run;
mod schedule;
mod setting;
mod shrink;
mod situation;
mod tally;
mod truth;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::options::Options;
use crate::run::Batch;
use crate::setting::Size;

/// A group is at rest so many timeouts, heartbeats and script timeouts after the last fault.
pub(crate) const REST_TIMEOUTS: u32 = 2;
pub(crate) const REST_HEARTBEATS: u32 = 10;
pub(crate) const REST_SCRIPTS: u32 = 4;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("run") {
        return match Options::parse(arguments) {
            Ok(options) => options.run(),
            Err(why) => {
                eprintln!("simulate: {why}");
                ExitCode::from(2)
            }
        };
    }
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let mut trials = broken::trials();
    trials.push(Trial::test("the_page_on_safety_has_these_situations_and_bounds", check_page));
    trials.push(Trial::test("a_thousand_bad_minutes_end_well_and_every_rule_is_seen_at_work", gate));
    trials
}

/// Who relies on the page relies on what is judged here.
fn check_page() -> Result<(), Failed> {
    const PAGE: &str = include_str!("../../docs/safety.md");
    let table = situation::table();
    if PAGE.contains(&table) { Ok(()) } else { Err(format!("docs/safety.md does not have this table:\n{table}").into()) }
}

/// The gate's set.
fn gate_batches() -> Vec<Batch> {
    let batch = |hosts, count| Batch { first_seed: 1, count, size: Size { hosts, addresses: 0, lasts: Duration::from_secs(60) } };
    vec![batch(8, 1000), batch(2, 60), batch(3, 60), batch(5, 60), batch(16, 12), batch(32, 4), batch(64, 1)]
}

fn gate() -> Result<(), Failed> {
    let report = run::run(&gate_batches(), 3);
    report.tally.print();
    if let Some((seed, size, failure)) = report.failures.first() {
        run::tell(*seed, *size, failure);
        return Err(format!("seed {seed} on {} hosts: {}: {}", size.hosts, failure.by, failure.why).into());
    }
    match report.tally.missing().as_slice() {
        [] => Ok(()),
        missing => Err(format!("never seen in {} schedules: {}", report.played, missing.join(", ")).into()),
    }
}
