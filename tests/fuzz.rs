//! Fuzzing without a guide: what is in the corpora, then changes of it, for a bounded time.
//!
//! | variable | |
//! |---|---|
//! | `FUZZ_SECONDS` | for all targets together, whose shares `targets.rs` has; 50 without it |
//! | `FUZZ_SEED` | of the changes; 1 without it, so that every run of the gate is the same as far as it comes |
//!
//! `scripts/fuzz` runs the same targets guided by coverage (`fuzz/`). What either finds goes into `tests/fuzz/corpus/TARGET`,
//! where it is tried first, for good.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what cannot go on is a finding, or a test that is wrong")]

#[path = "world.rs"]
mod simulated;

#[allow(unused_imports, reason = "the parts of the world name each other from here")]
use simulated::{checks, datagrams, deeds, machine, network, seen, setup, transcript, world};

#[path = "fuzz/api.rs"]
mod api;
#[path = "fuzz/changes.rs"]
mod changes;
#[path = "fuzz/config.rs"]
mod config;
#[path = "fuzz/dns.rs"]
mod dns;
#[path = "fuzz/pool.rs"]
mod pool;
#[path = "fuzz/recording.rs"]
mod recording;
#[path = "fuzz/records.rs"]
mod records;
#[path = "fuzz/script.rs"]
mod script;
#[path = "fuzz/seal.rs"]
mod seal;
#[path = "fuzz/state.rs"]
mod state;
#[path = "fuzz/targets.rs"]
mod targets;
#[path = "fuzz/wire.rs"]
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use self::changes::Changes;
use self::targets::{TARGETS, Target};

/// The targets run one after the other, so that the panics of threads that they start are theirs.
static ALONE: Mutex<()> = Mutex::new(());

/// Panics on any thread: those of a server's are caught by its runtime and would pass unseen.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
    };
    let hundredth = Duration::from_secs(number("FUZZ_SECONDS", 50)) / 100;
    let seed = number("FUZZ_SEED", 1);
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        show(panic);
    }));
    let targets = TARGETS.iter().map(|target| Trial::test(target.name, move || fuzz(target, hundredth * target.share, seed)));
    let twins = [
        Trial::test("a_panic_on_any_thread_is_a_finding", a_panic_on_any_thread_is_a_finding),
        Trial::test("what_is_drawn_reaches_the_core", what_is_drawn_reaches_the_core),
    ];
    libtest_mimic::run(&arguments, twins.into_iter().chain(targets).collect()).exit_code()
}

fn a_panic_on_any_thread_is_a_finding() -> Result<(), Failed> {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let target = |run: fn(&[u8])| Target { name: "twin", run, seeds: Vec::new, bytes_max: 10, share: 1 };
    let here = target(|bytes| assert_ne!(bytes, b"bad"));
    let elsewhere = target(|bytes| {
        let bytes = bytes.to_vec();
        // As a server would: whoever is asked is none the wiser.
        let _ = std::thread::spawn(move || assert_ne!(bytes, b"bad")).join();
    });
    for twin in [here, elsewhere] {
        holds(&twin, b"good")?;
        if holds(&twin, b"bad").is_ok() {
            return Err("a panic has passed unseen".into());
        }
    }
    Ok(())
}

fn what_is_drawn_reaches_the_core() -> Result<(), Failed> {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match pool::seeds_that_act() {
        (1.., 1..) => Ok(()),
        (strangers, moves) => Err(format!("{strangers} seeds make a stranger known, {moves} move an address").into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "it runs for a bounded time")]
fn fuzz(target: &'static Target, share: Duration, seed: u64) -> Result<(), Failed> {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let begin = Instant::now();
    let mut corpus = stored(target)?;
    corpus.extend((target.seeds)());
    for input in &corpus {
        attempt(target, input)?;
    }
    let told = corpus.len();
    let mut changes = Changes::new(seed, target.bytes_max);
    let mut runs = 0_u64;
    while begin.elapsed() < share {
        let input = changes.of(&corpus);
        attempt(target, &input)?;
        runs += 1;
    }
    println!("fuzz {}: {told} of the corpus and {runs} changes of it, seed {seed}, {:.1} s", target.name, begin.elapsed().as_secs_f32());
    Ok(())
}

fn attempt(target: &Target, input: &[u8]) -> Result<(), Failed> {
    let Err(why) = holds(target, input) else { return Ok(()) };
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
    std::fs::write(&path, input)?;
    Err(format!(
        "{why}\nthe input of {} bytes is {}: copy it to tests/fuzz/corpus/{}/ under a name that says what it is, and it is tried each time",
        input.len(),
        path.display(),
        target.name
    )
    .into())
}

fn holds(target: &Target, input: &[u8]) -> Result<(), String> {
    let before = PANICS.load(Ordering::SeqCst);
    let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    match ended {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(text.unwrap_or_else(|| "it panics without words".to_owned()))
        }
        // The replay of a recording catches what makes the core panic, and says so: that is its work.
        Ok(()) if PANICS.load(Ordering::SeqCst) != before && target.name != "recording" => Err("a thread panics".to_owned()),
        Ok(()) => Ok(()),
    }
}

fn stored(target: &Target) -> Result<Vec<Vec<u8>>, Failed> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target.name);
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(&directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    paths.sort();
    paths.iter().map(|path| Ok(std::fs::read(path)?)).collect()
}
