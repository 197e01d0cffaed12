//! The command line of `scripts/simulate`.

use std::process::ExitCode;
use std::time::Duration;

use crate::run::{self, Batch};
use crate::schedule::Schedule;
use crate::setting::Size;
use crate::situation;

/// What is to be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    from: u64,
    seeds: u64,
    size: Size,
    /// One schedule, told in full.
    one: Option<u64>,
    failures_max: usize,
    /// Only the table of the situations in which two hosts may hold an address.
    situations: bool,
}

/// Why a command line is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("unknown argument {0}; see scripts/simulate --help")]
    Unknown(String),
    #[error("{0} needs a number from {1} to {2}; see scripts/simulate --help")]
    Number(String, u64, u64),
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, OptionsError> {
        let size = Size { hosts: 8, addresses: 0, lasts: Duration::from_secs(60) };
        let mut options = Self { from: 1, seeds: 1000, size, one: None, failures_max: 1, situations: false };
        while let Some(argument) = arguments.next() {
            let mut number = |least: u64, most: u64| {
                let number = arguments.next().and_then(|text| text.parse::<u64>().ok());
                number.filter(|number| (least..=most).contains(number)).ok_or_else(|| OptionsError::Number(argument.clone(), least, most))
            };
            match argument.as_str() {
                "--seeds" => options.seeds = number(1, u64::MAX)?,
                "--from" => options.from = number(0, u64::MAX)?,
                "--seed" => options.one = Some(number(0, u64::MAX)?),
                "--hosts" => options.size.hosts = u16::try_from(number(1, 1024)?).expect("in its bounds"),
                "--addresses" => options.size.addresses = u16::try_from(number(0, 32_000)?).expect("in its bounds"),
                "--seconds" => options.size.lasts = Duration::from_secs(number(10, 86_400)?),
                "--situations" => options.situations = true,
                "--failures" => options.failures_max = usize::try_from(number(1, 10_000)?).expect("in its bounds"),
                _ => return Err(OptionsError::Unknown(argument)),
            }
        }
        Ok(options)
    }

    pub(crate) fn run(self) -> ExitCode {
        if self.situations {
            print!("{}", situation::table());
            return ExitCode::SUCCESS;
        }
        if let Some(seed) = self.one {
            return self.run_one(seed);
        }
        let batch = Batch { first_seed: self.from, count: self.seeds, size: self.size };
        let report = run::run(&[batch], self.failures_max);
        report.tally.print();
        for missing in report.tally.missing() {
            println!("never seen: {missing}");
        }
        for (seed, size, failure) in &report.failures {
            println!("seed {seed} on {} hosts: {}: {}", size.hosts, failure.by, failure.why);
        }
        match report.failures.first() {
            None => ExitCode::SUCCESS,
            Some((seed, size, failure)) => {
                run::tell(*seed, *size, failure);
                ExitCode::FAILURE
            }
        }
    }

    fn run_one(self, seed: u64) -> ExitCode {
        let schedule = Schedule::draw(seed, self.size);
        print!("{}", schedule.describe());
        match run::play(&schedule) {
            (tally, None) => {
                tally.print();
                ExitCode::SUCCESS
            }
            (_, Some(failure)) => {
                run::tell(seed, self.size, &failure);
                ExitCode::FAILURE
            }
        }
    }
}
