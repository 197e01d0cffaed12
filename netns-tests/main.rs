//! Stories with real daemons, real kernel addresses and real frames, each host in a network namespace of its own.
//!
//! `main` enters namespaces of its own, so an ordinary user runs it as well as root does. One file a story; the judges
//! ([`judge`]) are the kernel, the wire, a client and `dig`, never raisd. Each story has a *twin* in which a mechanism is
//! switched off or broken: there the same judge must report the failure, and a twin that passes fails the run.
//!
//! `cargo test --test netns -- NAME` runs one; `--list` lists them; the logs of the daemons are left in `target/netns/STORY/`.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use raisd::demo::lab::{self, Entered};

use crate::story::Stories;

mod bad_start;
mod by_hand;
mod come_up;
mod dns_answers;
mod dns_delegation;
mod dns_flood;
mod dns_reasons;
mod events;
mod expire;
mod explain;
mod failback;
mod firewall;
mod foretold;
mod judge;
mod judges;
mod keys;
mod late;
mod leader;
mod loads;
mod moving;
mod named;
mod networks;
mod operator;
mod orphans;
mod outsider;
mod paths;
mod peers;
mod planned;
mod pool;
mod querier;
mod quiesce;
mod recorder;
mod reload;
mod report;
mod restarts;
mod rule;
mod scene;
mod scripts;
mod shared_file;
mod spread;
#[path = "../tests/status_schema/form.rs"]
mod status_form;
mod stop;
mod story;
mod strangers;
mod symptoms;
mod test_fails;
mod thousand;
mod two_groups;
mod vanish;

fn main() -> ExitCode {
    match enter_and_run(Arguments::from_args()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("netns tests: {error}");
            ExitCode::from(2)
        }
    }
}

fn enter_and_run(mut arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let lab = match lab::enter()? {
        Entered::Inside(lab) => lab,
        Entered::Outside(code) => return Ok(code),
    };
    // Bounds in milliseconds are judged: two stories at once would take the time from each other.
    arguments.test_threads.get_or_insert(1);
    let stories = Stories::new(&lab)?;
    let trials = [
        judges::trials(&stories),
        networks::trials(&stories),
        bad_start::trials(&stories),
        by_hand::trials(&stories),
        come_up::trials(&stories),
        dns_answers::trials(&stories),
        dns_delegation::trials(&stories),
        dns_flood::trials(&stories),
        dns_reasons::trials(&stories),
        events::trials(&stories),
        expire::trials(&stories),
        explain::trials(&stories),
        failback::trials(&stories),
        foretold::trials(&stories),
        keys::trials(&stories),
        late::trials(&stories),
        leader::trials(&stories),
        loads::trials(&stories),
        moving::trials(&stories),
        operator::trials(&stories),
        orphans::trials(&stories),
        paths::trials(&stories),
        peers::trials(&stories),
        planned::trials(&stories),
        querier::trials(&stories),
        quiesce::trials(&stories),
        recorder::trials(&stories),
        reload::trials(&stories),
        report::trials(&stories),
        restarts::trials(&stories),
        rule::trials(&stories),
        scripts::trials(&stories),
        shared_file::trials(&stories),
        spread::trials(&stories),
        stop::trials(&stories),
        strangers::trials(&stories),
        symptoms::trials(&stories),
        test_fails::trials(&stories),
        thousand::trials(&stories),
        two_groups::trials(&stories),
        vanish::trials(&stories),
    ];
    let mut trials: Vec<Trial> = trials.into_iter().flatten().collect();
    let names: BTreeSet<String> = trials.iter().map(|trial| trial.name().to_owned()).collect();
    trials.push(Trial::test("the_page_on_safety_names_stories_that_are_there", move || check_page(&names)));
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

/// Whoever reads that a promise is shown by a story finds the story, and its twin.
fn check_page(names: &BTreeSet<String>) -> Result<(), Failed> {
    const PAGE: &str = include_str!("../docs/safety.md");
    let spans = PAGE.split('`').skip(1).step_by(2);
    let quoted: Vec<&str> = spans.filter_map(|span| span.strip_prefix("netns: ")).filter(|name| *name != "NAME").collect();
    let is_there = |name: &str| names.contains(name) && (names.contains(&format!("{name}_twin")) || name.starts_with("symptoms_"));
    let missing: Vec<&str> = quoted.iter().copied().filter(|name| !is_there(name)).collect();
    match (quoted.len() > 20, missing.as_slice()) {
        (true, []) => Ok(()),
        (true, missing) => Err(format!("docs/safety.md names stories that are not there, or have no twin: {missing:?}").into()),
        (false, _) => Err(format!("docs/safety.md names hardly any story: {quoted:?}").into()),
    }
}
