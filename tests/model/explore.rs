//! Every run with at most so many faults within so many steps: breadth first, each state once, on all processors.
//!
//! A state in which all faults are spent, or at the greatest depth, is a leaf: it is run to rest as `checks.rs` says. Levels are
//! gone through one after the other, so the first thing that is wrong has the shortest way to it, and the number of states is
//! the same in every run.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::checks::{self, Bounds};
use crate::pool::{Choice, Pool};

/// How far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Steps within which things go wrong.
    pub(crate) depth: u32,
    /// How many things, in all.
    pub(crate) faults: u8,
    /// How many of them are crashes.
    pub(crate) crashes: u8,
}

/// What was gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Explored {
    pub(crate) states: u64,
    pub(crate) leaves: u64,
    /// The deepest level.
    pub(crate) depth: u32,
    /// The most heartbeats that a leaf took until all was served.
    pub(crate) heartbeats: u32,
    pub(crate) took: Duration,
}

/// How a state was reached.
#[derive(Debug)]
struct Way {
    choice: Choice,
    before: Option<Arc<Self>>,
}

fn choices(way: &Option<Arc<Way>>) -> Vec<Choice> {
    let mut choices = Vec::new();
    let mut at = way.as_ref();
    while let Some(way) = at {
        choices.push(way.choice);
        at = way.before.as_ref();
    }
    choices.reverse();
    choices
}

/// Something that is wrong, and the way to it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Counterexample {
    pub(crate) choices: Vec<Choice>,
    pub(crate) wrong: String,
}

/// What could happen in this state, the usual first.
fn options(pool: &Pool, limits: Limits) -> Vec<Choice> {
    let usual = pool.usual();
    let mut options = vec![usual];
    match usual {
        Choice::Deliver => options.extend([Choice::Lose, Choice::Duplicate, Choice::Overtaken, Choice::Delay]),
        Choice::Wait => {}
        _ => {}
    }
    for place in 0..pool.hosts.len() {
        if pool.is_running(place) {
            if pool.spent.crashes < limits.crashes {
                options.push(Choice::Crash(place));
            }
            if pool.spent.refused == 0 {
                options.push(Choice::RefuseAddress(place));
            }
        } else if pool.gone != Some(place) {
            options.extend([Choice::Restart(place), Choice::RestartWithoutDisk(place)]);
        }
    }
    options
}

/// One level: what is new on the next, and what was found.
#[derive(Default)]
struct Level {
    next: Vec<(Pool, Option<Arc<Way>>)>,
    found: Vec<Counterexample>,
    states: u64,
    leaves: u64,
    heartbeats: u32,
}

const SHARDS: usize = 64;

struct Known(Vec<Mutex<HashSet<u64>>>);

impl Known {
    fn is_new(&self, identity: u64) -> bool {
        let shard = usize::try_from(identity % 64).unwrap_or(0);
        self.0[shard].lock().unwrap_or_else(PoisonError::into_inner).insert(identity)
    }
}

fn expand(pools: Vec<(Pool, Option<Arc<Way>>)>, last: bool, limits: Limits, bounds: &Bounds, known: &Known) -> Level {
    let mut level = Level::default();
    for (pool, way) in pools {
        for choice in options(&pool, limits) {
            let mut next = pool.clone();
            next.take(choice);
            if !known.is_new(next.identity()) {
                continue;
            }
            level.states += 1;
            let way = Some(Arc::new(Way { choice, before: way.clone() }));
            if let Some(wrong) = checks::wrong(&next) {
                level.found.push(Counterexample { choices: choices(&way), wrong });
            } else if last || next.spent.total() >= limits.faults {
                level.leaves += 1;
                match checks::rest(&mut next, bounds) {
                    Ok(heartbeats) => level.heartbeats = level.heartbeats.max(heartbeats),
                    Err(wrong) => level.found.push(Counterexample { choices: choices(&way), wrong }),
                }
            } else {
                level.next.push((next, way));
            }
        }
    }
    level
}

#[expect(clippy::disallowed_methods, reason = "how long the search takes is told to people; the nodes have a time of their own")]
fn present() -> Instant {
    Instant::now()
}

/// Goes through all states within the limits.
pub(crate) fn explore(mut begin: Pool, limits: Limits, bounds: &Bounds) -> Result<Explored, (Explored, Counterexample)> {
    let since = present();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let known = Known((0..SHARDS).map(|_| Mutex::default()).collect());
    let mut explored = Explored { states: 1, ..Explored::default() };
    known.is_new(begin.identity());
    let mut frontier = vec![(begin, None)];
    while !frontier.is_empty() && explored.depth < limits.depth {
        explored.depth += 1;
        let last = explored.depth == limits.depth;
        let mut shares: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, state) in frontier.drain(..).enumerate() {
            shares[index % threads].push(state);
        }
        let levels: Vec<Level> = std::thread::scope(|scope| {
            let known = &known;
            let working: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || expand(share, last, limits, bounds, known))).collect();
            working.into_iter().map(|thread| thread.join().expect("a search that ends")).collect()
        });
        let mut found = Vec::new();
        for level in levels {
            explored.states += level.states;
            explored.leaves += level.leaves;
            explored.heartbeats = explored.heartbeats.max(level.heartbeats);
            found.extend(level.found);
            frontier.extend(level.next);
        }
        explored.took = present().duration_since(since);
        if let Some(first) = found.into_iter().min() {
            return Err((explored, first));
        }
    }
    Ok(explored)
}

/// What happens on the way to something that is wrong, for people.
pub(crate) fn retell(mut pool: Pool, counterexample: &Counterexample, bounds: &Bounds) -> String {
    pool.trace = Some(Vec::new());
    for choice in &counterexample.choices {
        pool.take(*choice);
    }
    let mut lines = pool.trace.take().unwrap_or_default();
    if checks::wrong(&pool).is_none() {
        lines.push("from here on nothing goes wrong any more:".to_owned());
        pool.trace = Some(Vec::new());
        // It ends with what is wrong, which is told below.
        let _ = checks::rest(&mut pool, bounds);
        lines.extend(pool.trace.take().unwrap_or_default());
    }
    format!("{}\nwrong: {}\nchoices: {:?}", lines.join("\n"), counterexample.wrong, counterexample.choices)
}
