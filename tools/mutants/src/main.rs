//! Changes the core of raisd in thousands of places, one at a time, and asks its tests whether they notice.
//!
//! A compiler run for each change would take days. Here every change is put into a copy of the core at once, behind a number
//! that the environment chooses, and the copy is compiled once. Each test then says which changes it comes by; a change is tried
//! on those tests only, fastest first.
//!
//! `scripts/mutants` calls it. Survivors are listed with a reason each in `tests/mutants/survivors.txt`.

mod find;
mod list;
mod project;
mod run;
mod weave;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::find::Mutant;
use crate::list::{Entry, List, NO_REASON};
use crate::project::Project;
use crate::run::{Fate, Tests};

/// Of a hundred mutants this many may survive, whatever their reasons.
const SURVIVORS_PERCENT_MAX: usize = 5;

/// Changes the core in thousands of places, one at a time, and asks the tests whether they notice.
#[derive(Parser)]
struct Arguments {
    /// Only files whose path ends so; as often as wanted.
    #[arg(long)]
    file: Vec<String>,
    /// Only so many of a hundred mutants.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100))]
    sample: u64,
    /// Which sample.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Names the mutants and runs nothing.
    #[arg(long)]
    list: bool,
    /// Writes what survives into the list, for reasons to be added, and takes out what is caught.
    #[arg(long)]
    write: bool,
    /// Only these of the test programs: lib, pool, wire. What survives them may not survive all.
    #[arg(long)]
    program: Vec<String>,
    /// Leaves out tests that take longer than so many seconds by themselves: a survivor runs all that come by it.
    #[arg(long, default_value_t = 60)]
    longest: u64,
    /// So many tests at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// The project.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut project = Project::read(&arguments.root.canonicalize()?)?;
    if !arguments.list {
        project.build(&arguments.program)?;
    }
    let numbered: Vec<(u32, &Mutant)> = (1..).zip(&project.mutants).collect();
    let wanted: Vec<(u32, &Mutant)> = numbered.into_iter().filter(|(_, mutant)| is_wanted(&arguments, mutant)).collect();
    ensure!(!wanted.is_empty(), "no mutant in {:?}: --file takes the end of a path in the core, like monitor/control.rs", arguments.file);
    if arguments.list {
        for (_, mutant) in &wanted {
            println!("{}:{}: {}\n    {}", mutant.name.file, mutant.line, mutant.name, mutant.words());
        }
        println!("{} mutants, some of which may not compile", wanted.len());
        return Ok(ExitCode::SUCCESS);
    }
    let tests = Tests::look(&project, arguments.jobs, Duration::from_secs(arguments.longest))?;
    eprintln!("{} mutants of {}, {} tests; {} do not compile", wanted.len(), project.mutants.len(), tests.len(), project.unviable);
    let list = List::read(&arguments.root.join("tests/mutants/survivors.txt"))?;
    let mut failures = 0;
    let mut share = (0, 0);
    let mut list = list;
    let mut by_file: BTreeMap<&str, Vec<(u32, &Mutant)>> = BTreeMap::new();
    for (number, mutant) in &wanted {
        by_file.entry(&mutant.name.file).or_default().push((*number, mutant));
    }
    for (file, mutants) in by_file {
        let fates = tests.judge(&mutants, |mutant, fate| match fate {
            Fate::Survived => eprintln!("survives: {}:{}: {}\n    {}", mutant.name.file, mutant.line, mutant.name, mutant.words()),
            Fate::NotReached => eprintln!("not reached: {}:{}: {}\n    {}", mutant.name.file, mutant.line, mutant.name, mutant.words()),
            Fate::Caught { .. } | Fate::Hung => {}
        })?;
        let judged: Vec<(&Mutant, Fate)> = mutants.iter().map(|(_, mutant)| *mutant).zip(fates).collect();
        let survivors = judged.iter().filter(|(_, fate)| is_survivor(fate)).count();
        share = (share.0 + survivors, share.1 + judged.len());
        report(file, &judged);
        if arguments.write {
            note(&mut list, file, &judged, arguments.sample == 100);
            list.write()?;
        }
        failures += faults(&list, file, &judged, arguments.sample == 100);
    }
    let (survivors, all) = share;
    println!("{survivors} of {all} survive, {failures} not as the list says");
    let too_many = survivors * 100 > all * SURVIVORS_PERCENT_MAX;
    if too_many {
        println!("more than {SURVIVORS_PERCENT_MAX} of a hundred survive: write tests");
    }
    Ok(if failures > 0 || too_many { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn is_wanted(arguments: &Arguments, mutant: &Mutant) -> bool {
    let mut hasher = DefaultHasher::new();
    (arguments.seed, mutant.name.to_string()).hash(&mut hasher);
    let is_of_file = arguments.file.is_empty() || arguments.file.iter().any(|file| mutant.name.file.ends_with(file.as_str()));
    is_of_file && hasher.finish() % 100 < arguments.sample
}

fn is_survivor(fate: &Fate) -> bool {
    match fate {
        Fate::Survived | Fate::NotReached => true,
        Fate::Caught { .. } | Fate::Hung => false,
    }
}

fn counts(judged: &[(&Mutant, Fate)]) -> String {
    let count = |wanted: fn(&Fate) -> bool| judged.iter().filter(|(_, fate)| wanted(fate)).count();
    format!(
        "{} mutants, {} caught, {} survive, {} not reached",
        judged.len(),
        count(|fate| !is_survivor(fate)),
        count(|fate| *fate == Fate::Survived),
        count(|fate| *fate == Fate::NotReached),
    )
}

fn report(file: &str, judged: &[(&Mutant, Fate)]) {
    println!("{file}: {}", counts(judged));
}

/// Keeps the reasons that there are.
fn note(list: &mut List, file: &str, judged: &[(&Mutant, Fate)], is_whole: bool) {
    if is_whole {
        let surviving: BTreeSet<String> =
            judged.iter().filter(|(_, fate)| is_survivor(fate)).map(|(mutant, _)| mutant.name.to_string()).collect();
        list.entries.retain(|name, _| name.split(' ').next() != Some(file) || surviving.contains(name));
    }
    list.counts.insert(file.to_owned(), counts(judged));
    for (mutant, fate) in judged {
        let name = mutant.name.to_string();
        if is_survivor(fate) {
            let words = mutant.words();
            let kept = list.entries.get(&name).filter(|entry| entry.words == words).map(|entry| entry.reason.clone());
            list.entries.insert(name, Entry { words, reason: kept.unwrap_or_else(|| NO_REASON.to_owned()) });
        } else {
            list.entries.remove(&name);
        }
    }
}

/// What differs from the list. Says so.
fn faults(list: &List, file: &str, judged: &[(&Mutant, Fate)], is_whole: bool) -> usize {
    let mut faults = 0;
    let mut fault = |text: String| {
        faults += 1;
        println!("  {text}");
    };
    let mut names = BTreeSet::new();
    for (mutant, fate) in judged {
        let name = mutant.name.to_string();
        match (list.entries.get(&name), fate) {
            (None, Fate::Survived | Fate::NotReached) => fault(format!("{name} survives and is not listed: {}", mutant.words())),
            (Some(entry), Fate::Survived | Fate::NotReached) if entry.words != mutant.words() => {
                fault(format!("{name} is listed for another change: {}, not {}", mutant.words(), entry.words));
            }
            (Some(entry), Fate::Survived | Fate::NotReached) if entry.reason == NO_REASON => {
                fault(format!("{name} is listed without a reason"))
            }
            (Some(_), Fate::Caught { by }) => fault(format!("{name} is listed, but {by} catches it")),
            (Some(_), Fate::Hung) => fault(format!("{name} is listed, but it hangs")),
            (Some(_), Fate::Survived | Fate::NotReached) | (None, Fate::Caught { .. } | Fate::Hung) => {}
        }
        names.insert(name);
    }
    if is_whole {
        for name in list.entries.keys().filter(|name| name.split(' ').next() == Some(file) && !names.contains(*name)) {
            fault(format!("{name} is listed, but there is no such mutant"));
        }
    }
    faults
}
