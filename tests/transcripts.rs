//! Stories of real nodes as text files: what happens, in plain English, and the whole ordered list of what a node was told and did.
//!
//! `tests/transcripts/*.txt`, one story a file; `tests/transcripts/README.md` says how they are read and written.
//! `UPDATE=1 cargo test --test transcripts` writes anew what the nodes did: read the difference before you commit it. A part of a
//! file's name after `--` plays that story only.

#![expect(clippy::expect_used, reason = "a story that cannot go on ends with what it expected")]

#[path = "transcripts/phrases.rs"]
mod phrases;
#[path = "transcripts/setup_lines.rs"]
mod setup_lines;
#[path = "transcripts/stage.rs"]
mod stage;
#[path = "transcripts/story.rs"]
mod story;
#[path = "transcripts/watch.rs"]
mod transcript;

#[path = "world.rs"]
mod simulated;

#[allow(unused_imports, reason = "the parts of the world name each other from here")]
use simulated::{datagrams, deeds, machine, network, seen, setup, world};

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the directory of the stories")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let name = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let count = files.len();
    let mut trials: Vec<Trial> = files.into_iter().map(|path| Trial::test(name(&path), move || play(&path))).collect();
    trials.push(Trial::test("there are at least 40 stories", move || if count >= 40 { Ok(()) } else { Err(format!("{count}").into()) }));
    trials.push(Trial::test("a sentence that is not known is refused with its line", refuses));
    trials.push(Trial::test("what a host does otherwise is shown", objects));
    libtest_mimic::run(&arguments, trials).exit();
}

fn refuses() -> Result<(), Failed> {
    let why = story::play("What it shows.\n\nsetup:\nhost web1 prefers nothing\n\nstory:\nweb1 explodes\n").err().unwrap_or_default();
    let expected = ["line 7", "web1 explodes", "{} loses power"];
    if expected.iter().all(|words| why.contains(words)) { Ok(()) } else { Err(why.into()) }
}

/// A story whose list was changed by hand fails, and the difference names the line.
fn objects() -> Result<(), Failed> {
    let played = story::play("What it shows.\n\nsetup:\nhost web1 prefers 192.0.2.1\n\nstory:\nwatch web1\nweb1 starts\nafter 10s\n")?;
    let changed = played.replace(": home", ": assigned");
    let told = difference(&changed, &story::play(&changed)?);
    if changed != played && told.contains(": home") && told.contains(": assigned") { Ok(()) } else { Err(told.into()) }
}

/// Plays the story of a file; writes it anew, or compares it.
fn play(path: &Path) -> Result<(), Failed> {
    let stored = std::fs::read_to_string(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let played = story::play(&stored).map_err(|why| format!("{name}, {why}"))?;
    if std::env::var_os("UPDATE").is_some() {
        if played != stored {
            std::fs::write(path, played)?;
        }
        return Ok(());
    }
    if played == stored { Ok(()) } else { Err(format!("{name}: {}", difference(&stored, &played)).into()) }
}

/// The first lines that differ, with some before them.
fn difference(stored: &str, played: &str) -> String {
    const BEFORE: usize = 5;
    const SHOWN: usize = 12;
    let same = stored.lines().zip(played.lines()).take_while(|(one, other)| one == other).count();
    let mut text = format!("the nodes did something else from line {} on\n", same + 1);
    for line in stored.lines().take(same).skip(same.saturating_sub(BEFORE)) {
        let _ = writeln!(text, "  {line}");
    }
    for (sign, lines) in [("- stored:", stored), ("+ played:", played)] {
        let _ = writeln!(text, "{sign}");
        for line in lines.lines().skip(same).take(SHOWN) {
            let _ = writeln!(text, "{} {line}", &sign[..1]);
        }
    }
    text.push_str("`UPDATE=1 cargo test --test transcripts` writes the files anew; read what changes");
    text
}
