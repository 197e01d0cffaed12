//! Many schedules on all cores, and what is said of them.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use crate::play::Play;
use crate::schedule::Schedule;
use crate::setting::Size;
use crate::shrink::shrink;
use crate::tally::Tally;

/// How a schedule fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// The checker, or "panic".
    pub(crate) by: String,
    pub(crate) why: String,
}

/// A number of schedules on pools of one size.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) first_seed: u64,
    pub(crate) count: u64,
    pub(crate) size: Size,
}

/// How long the slowest stages took, and what was seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) failures: Vec<(u64, Size, Failure)>,
    pub(crate) played: u64,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Panics of the world and of nodes are findings like others: their words are kept for the schedule that brought them about.
fn keep_panics() {
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_kept = PANIC.with_borrow_mut(|kept| kept.as_mut().map(|kept| *kept = info.to_string()).is_some());
            if !is_kept {
                usual(info);
            }
        }));
    });
}

/// Plays one schedule. What was counted, and how it failed, if it did.
pub(crate) fn play(schedule: &Schedule) -> (Tally, Option<Failure>) {
    play_with(schedule, false)
}

/// The same, telling everything that happens.
pub(crate) fn play_aloud(schedule: &Schedule) -> Option<Failure> {
    play_with(schedule, true).1
}

fn play_with(schedule: &Schedule, aloud: bool) -> (Tally, Option<Failure>) {
    keep_panics();
    PANIC.set(Some(String::new()));
    let mut play = Play::new(schedule);
    play.world.transcript.keep(aloud);
    let result = catch_unwind(AssertUnwindSafe(|| play.run()));
    let words = PANIC.take().unwrap_or_default();
    let failure = match result {
        Ok(Ok(())) => None,
        Ok(Err(objection)) => Some(Failure { by: objection.by.to_owned(), why: format!("at {:?}: {}", play.world.now, objection.why) }),
        Err(_) => Some(Failure { by: "panic".to_owned(), why: format!("at {:?}: {words}", play.world.now) }),
    };
    if aloud {
        play.world.print();
    }
    (play.tally, failure)
}

/// Plays batches on as many threads as there are processors. Stops taking up more once so many have failed.
pub(crate) fn run(batches: &[Batch], failures_max: usize) -> Report {
    let mut report = Report::default();
    for batch in batches {
        let begin = Instant::now();
        let next = AtomicU64::new(0);
        let found = Mutex::new(Report::default());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut tally = Tally::default();
                    let mut played = 0;
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= batch.count {
                            break;
                        }
                        let seed = batch.first_seed + index;
                        let (counted, failure) = play(&Schedule::draw(seed, batch.size));
                        tally.add(&counted);
                        played += 1;
                        if let Some(failure) = failure {
                            let mut found = found.lock().expect("no thread panics while it holds this");
                            found.failures.push((seed, batch.size, failure));
                            if found.failures.len() >= failures_max {
                                next.store(batch.count, Ordering::Relaxed);
                            }
                        }
                    }
                    let mut found = found.lock().expect("no thread panics while it holds this");
                    found.tally.add(&tally);
                    found.played += played;
                });
            }
        });
        let mut found = found.into_inner().expect("no thread panics while it holds this");
        found.failures.sort_by_key(|(seed, ..)| *seed);
        say_batch(batch, &found, begin.elapsed());
        report.tally.add(&found.tally);
        report.played += found.played;
        report.failures.extend(found.failures);
        if report.failures.len() >= failures_max {
            break;
        }
    }
    report
}

fn say_batch(batch: &Batch, found: &Report, took: Duration) {
    let Size { hosts, lasts, .. } = batch.size;
    println!(
        "{} schedules of {} s on {hosts} hosts from seed {}: {} failed, {} groups at rest judged, {:.1} s",
        found.played,
        lasts.as_secs(),
        batch.first_seed,
        found.failures.len(),
        found.tally.rests,
        took.as_secs_f64()
    );
}

/// Says all that helps: the shortened schedule, what happened in it, and how to see it again.
pub(crate) fn tell(seed: u64, size: Size, failure: &Failure) {
    let schedule = Schedule::draw(seed, size);
    let (short, shorter) = shrink(&schedule, failure);
    let Size { hosts, addresses, lasts } = size;
    let last = play_aloud(&short).unwrap_or(shorter);
    println!("\nseed {seed} fails: {}: {}", failure.by, failure.why);
    println!("shortened to {} of {} faults it fails: {}: {}", short.faults.len(), schedule.faults.len(), last.by, last.why);
    print!("{}", short.describe());
    println!("again: scripts/simulate --seed {seed} --hosts {hosts} --addresses {addresses} --seconds {}\n", lasts.as_secs());
}
