//! `docs/troubleshooting.md`: every symptom in it is brought about, and what it quotes must be what an operator gets to read.
//!
//! Here the document is the claim and the daemon's log, `raisctl` and `dig` are what it is held against. Under each heading the
//! first block of text is the quote: each of its lines must stand in a line of what was printed, `…` for what differs from case
//! to case. A story names the headings that it brings about ([`SCENES`]); a heading without a story, and a story without its
//! heading, fail the run. A pool in which all is well prints none of the quotes. Twin: nothing is missing, and the quote must not be
//! found.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::judge::kernel::Kernel;
use crate::judge::place::wait_own;
use crate::judge::{poll_until, within};
use crate::pool::{HostConfig, Pool};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

mod by_others;
mod lonely;
mod programs;
mod refused;
mod together;

const LONG: Duration = Duration::from_secs(10);

/// What tells a story, and the headings of the document that it brings about.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    headings: &'static [&'static str],
    tell: fn(&Stage, &mut Reader) -> Outcome,
}

fn scenes() -> Vec<Scene> {
    [refused::SCENES, lonely::SCENES, by_others::SCENES, programs::SCENES, together::SCENES].into_iter().flatten().copied().collect()
}

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    let mut trials: Vec<Trial> = scenes().into_iter().map(|scene| stories.story(scene.name, move |stage| play(stage, scene))).collect();
    trials.extend([
        stories.story("symptoms_of_the_document_all_have_a_story", |_| all_told()),
        stories.story("symptoms_are_none_where_all_is_well", all_well),
        stories.twin("symptoms_of_a_service_interface_that_is_missing", Finding::Misreported, lonely::nothing_is_missing),
    ]);
    trials
}

fn play(stage: &Stage, scene: Scene) -> Outcome {
    let mut reader = Reader::open()?;
    (scene.tell)(stage, &mut reader)?;
    let wanted: BTreeSet<&str> = scene.headings.iter().copied().collect();
    if reader.found == wanted { Ok(()) } else { Err(Failure::broken(format!("told of {:?} instead of {wanted:?}", reader.found))) }
}

/// One heading of the document.
#[derive(Debug)]
struct Symptom {
    heading: String,
    quotes: Vec<String>,
}

impl Symptom {
    /// Lines of the quote that stand in no line of `text`.
    fn missing<'a>(&'a self, text: &str) -> Vec<&'a str> {
        let quotes = self.quotes.iter().map(String::as_str);
        quotes.filter(|quote| !text.lines().any(|line| is_quoted(quote, line))).collect()
    }
}

/// Whether a line says what a quote says; `…` in the quote stands for anything.
fn is_quoted(quote: &str, line: &str) -> bool {
    let mut rest = line;
    for part in quote.split('…') {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// The document, and which of its headings have been brought about.
struct Reader {
    symptoms: Vec<Symptom>,
    found: BTreeSet<&'static str>,
}

impl Reader {
    fn open() -> Outcome<Self> {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md"))?;
        let mut symptoms: Vec<Symptom> = Vec::new();
        for section in text.split("\n### ").skip(1) {
            let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
            let block = body.split_once("```text\n").and_then(|(_, block)| block.split_once("\n```"));
            let quotes: Vec<String> = block.map_or_else(Vec::new, |(quotes, _)| quotes.lines().map(ToOwned::to_owned).collect());
            if quotes.is_empty() {
                return Err(Failure::broken(format!("docs/troubleshooting.md quotes nothing under {heading:?}")));
            }
            symptoms.push(Symptom { heading: heading.to_owned(), quotes });
        }
        Ok(Self { symptoms, found: BTreeSet::new() })
    }

    fn symptom(&self, heading: &str) -> Outcome<&Symptom> {
        let found = self.symptoms.iter().find(|symptom| symptom.heading == heading);
        found.ok_or_else(|| Failure::broken(format!("docs/troubleshooting.md has no heading {heading:?}")))
    }

    /// Waits until what is quoted under a heading stands in what `read` reads.
    fn expect(&mut self, heading: &'static str, read: impl FnMut() -> Outcome<String>) -> Outcome {
        self.wait(heading, LONG, read)?;
        self.found.insert(heading);
        Ok(())
    }

    fn wait(&self, heading: &str, limit: Duration, mut read: impl FnMut() -> Outcome<String>) -> Outcome {
        let symptom = self.symptom(heading)?;
        let mut last = String::new();
        let found = poll_until(within(limit), || {
            last = read()?;
            Ok(symptom.missing(&last).is_empty().then_some(()))
        })?;
        found.ok_or_else(|| {
            Verdict::new(Finding::Misreported, format!("{heading}: nothing like {:?} in\n{last}", symptom.missing(&last))).into()
        })
    }

    /// The same in the log of a host.
    fn expect_log(&mut self, heading: &'static str, pool: &Pool, host: u8) -> Outcome {
        self.expect(heading, || Ok(fs::read_to_string(pool.log(host))?))
    }

    /// The same in what `raisctl` prints, whether it succeeds or not.
    fn expect_raisctl(&mut self, heading: &'static str, pool: &Pool, host: u8, arguments: &[&str]) -> Outcome {
        self.expect(heading, || printed(pool, host, arguments))
    }
}

fn printed(pool: &Pool, host: u8, arguments: &[&str]) -> Outcome<String> {
    let output = pool.raisctl(host, arguments)?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn all_told() -> Outcome {
    let written: Vec<String> = Reader::open()?.symptoms.into_iter().map(|symptom| symptom.heading).collect();
    let told: Vec<&str> = scenes().iter().flat_map(|scene| scene.headings).copied().collect();
    let untold: Vec<&String> = written.iter().filter(|heading| !told.contains(&heading.as_str())).collect();
    let unwritten: Vec<&&str> = told.iter().filter(|heading| !written.iter().any(|written| written == **heading)).collect();
    if untold.is_empty() && unwritten.is_empty() && written.len() == told.len() {
        return Ok(());
    }
    Err(Verdict::new(Finding::Misreported, format!("headings without a story: {untold:?}, stories without a heading: {unwritten:?}"))
        .into())
}

/// Three hosts come up, serve, and stop; then the quotes are looked for.
fn all_well(stage: &Stage) -> Outcome {
    const HOSTS: [u8; 3] = [1, 2, 3];
    let mut pool = Pool::build(stage, HOSTS.map(HostConfig::server))?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &HOSTS)?;
    let mut printed_text = String::new();
    for host in HOSTS {
        for arguments in [&["status"][..], &["zone"]] {
            printed_text.push_str(&printed(&pool, host, arguments)?);
        }
    }
    for host in HOSTS {
        pool.stop(host, LONG)?;
        printed_text.push_str(&fs::read_to_string(pool.log(host))?);
    }
    for symptom in Reader::open()?.symptoms {
        if symptom.missing(&printed_text).is_empty() {
            return Err(Verdict::new(Finding::Misreported, format!("all is well, and yet: {}\n{printed_text}", symptom.heading)).into());
        }
    }
    Ok(())
}
