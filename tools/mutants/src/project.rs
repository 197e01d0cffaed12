//! The scratch copy of the project: woven, compiled once, and without the mutants that do not compile.
//!
//! It lies in `target/mutants` of the project and is brought up to date file by file, so that a second run compiles little.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::find::{self, Mutant};
use crate::weave::{Woven, weave};

/// What is copied of the project.
const PARTS: [&str; 7] = ["src", "tests", "docs", "netns-tests", "Cargo.toml", "Cargo.lock", "CHANGELOG.md"];

/// Where the core is.
const CORE: [&str; 3] = ["node", "types", "wire"];

/// The tests that may notice, by cargo's arguments. They are those that build without the daemon.
const TESTS: [&[&str]; 3] = [&["--lib"], &["--test", "pool"], &["--test", "wire"]];

/// The project and its copy.
pub struct Project {
    root: PathBuf,
    copy: PathBuf,
    scratch: PathBuf,
    /// Every mutant that compiles, at its number less one.
    pub mutants: Vec<Mutant>,
    /// How many do not compile.
    pub unviable: usize,
    /// Test programs.
    pub programs: Vec<PathBuf>,
}

impl Project {
    /// Finds the mutants of the core.
    ///
    /// # Errors
    /// A file cannot be read or is no Rust.
    pub fn read(root: &Path) -> Result<Self> {
        let mut mutants = Vec::new();
        for file in core_files(root)? {
            let source = fs::read_to_string(root.join(&file)).with_context(|| format!("reading {file}"))?;
            mutants.extend(find::mutants(&file, &source)?);
        }
        let scratch = root.join("target/mutants");
        Ok(Self { root: root.to_owned(), copy: scratch.join("project"), scratch, mutants, unviable: 0, programs: Vec::new() })
    }

    /// Where notes of this run may be put.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The copy, in which tests run.
    #[must_use]
    pub fn copy(&self) -> &Path {
        &self.copy
    }

    /// Copies, weaves and compiles, until what is left of the mutants compiles; `only`: names of test programs, none for all.
    ///
    /// # Errors
    /// The project does not compile even so, or cargo cannot be run.
    pub fn build(&mut self, only: &[String]) -> Result<()> {
        let known = self.scratch.join("unviable.txt");
        let before: BTreeSet<String> = fs::read_to_string(&known).unwrap_or_default().lines().map(str::to_owned).collect();
        let all = self.mutants.len();
        // With the words: a place that has changed gets another chance.
        let key = |mutant: &Mutant| format!("{}\t{}", mutant.name, mutant.words());
        let mut unviable: BTreeSet<String> = BTreeSet::new();
        self.mutants.retain(|mutant| !before.contains(&key(mutant)) || !unviable.insert(key(mutant)));
        self.copy_rest()?;
        loop {
            let woven = self.weave()?;
            let culprits = self.complaints(&woven)?;
            if culprits.is_empty() {
                break;
            }
            eprintln!("{} mutants do not compile and are left out", culprits.len());
            let mut number = 0;
            self.mutants.retain(|mutant| {
                number += 1;
                !culprits.contains(&number) || !unviable.insert(key(mutant))
            });
        }
        self.unviable = all - self.mutants.len();
        fs::write(&known, unviable.into_iter().collect::<Vec<_>>().join("\n"))?;
        self.programs = self.compile_tests(only)?;
        Ok(())
    }

    fn copy_rest(&self) -> Result<()> {
        let core: BTreeSet<String> = core_files(&self.root)?.into_iter().collect();
        let mut wanted = BTreeSet::new();
        for part in PARTS {
            for file in files(&self.root, Path::new(part))? {
                wanted.insert(file.clone());
                if core.contains(&file) || file == "Cargo.toml" || file == "src/lib.rs" {
                    continue;
                }
                let content = fs::read(self.root.join(&file)).with_context(|| format!("reading {file}"))?;
                write_if_other(&self.copy.join(&file), &content)?;
            }
        }
        let lib = fs::read_to_string(self.root.join("src/lib.rs"))?;
        write_if_other(&self.copy.join("src/lib.rs"), format!("{lib}\npub mod mutant;\n").as_bytes())?;
        let manifest = fs::read_to_string(self.root.join("Cargo.toml"))?;
        write_if_other(&self.copy.join("Cargo.toml"), scratch_manifest(&manifest).as_bytes())?;
        for part in ["src", "tests"] {
            for file in files(&self.copy, Path::new(part))? {
                if !wanted.contains(&file) && file != "src/mutant.rs" {
                    fs::remove_file(self.copy.join(&file)).with_context(|| format!("removing {file} from the copy"))?;
                }
            }
        }
        Ok(())
    }

    fn weave(&self) -> Result<BTreeMap<String, Woven>> {
        let mut by_file: BTreeMap<String, Vec<(u32, &Mutant)>> =
            core_files(&self.root)?.into_iter().map(|file| (file, Vec::new())).collect();
        for (number, mutant) in (1..).zip(&self.mutants) {
            by_file.entry(mutant.name.file.clone()).or_default().push((number, mutant));
        }
        let mut woven = BTreeMap::new();
        for (file, mutants) in by_file {
            let source = fs::read_to_string(self.root.join(&file)).with_context(|| format!("reading {file}"))?;
            let text = weave(&source, &mutants);
            write_if_other(&self.copy.join(&file), text.text.as_bytes())?;
            woven.insert(file, text);
        }
        let switch = include_str!("mutant.rs.in").replace("@COUNT@", &(self.mutants.len() + 1).to_string());
        write_if_other(&self.copy.join("src/mutant.rs"), switch.as_bytes())?;
        Ok(woven)
    }

    /// The mutants that the compiler finds fault with.
    fn complaints(&self, woven: &BTreeMap<String, Woven>) -> Result<BTreeSet<u32>> {
        let messages = self.cargo(&["check", "--lib"])?;
        let mut culprits = BTreeSet::new();
        let mut unexplained = Vec::new();
        for message in &messages {
            let message = &message["message"];
            if message["level"] != "error" || message["spans"].as_array().is_none_or(Vec::is_empty) {
                continue;
            }
            let found = accused(message, woven);
            if found.is_empty() {
                unexplained.push(message["rendered"].as_str().unwrap_or_default().to_owned());
            }
            culprits.extend(found);
        }
        ensure!(!culprits.is_empty() || unexplained.is_empty(), "the woven project does not compile:\n{}", unexplained.join("\n"));
        let finished = messages.iter().any(|message| message["reason"] == "build-finished" && message["success"] == true);
        ensure!(finished || !culprits.is_empty(), "cargo check failed without a message that names a place");
        Ok(culprits)
    }

    fn compile_tests(&self, only: &[String]) -> Result<Vec<PathBuf>> {
        let mut programs = Vec::new();
        let is_wanted = |test: &&[&str]| {
            let name = test.last().map(|name| name.trim_start_matches('-'));
            only.is_empty() || only.iter().any(|only| Some(only.as_str()) == name)
        };
        for test in TESTS.into_iter().filter(is_wanted) {
            let messages = self.cargo(&[&["test", "--no-run"], test].concat())?;
            let executable = messages.iter().rev().find_map(|message| message["executable"].as_str());
            let errors = messages.iter().filter(|message| message["message"]["level"] == "error");
            let errors: Vec<&str> = errors.filter_map(|message| message["message"]["rendered"].as_str()).collect();
            let Some(executable) = executable else { bail!("{} does not compile:\n{}", test.join(" "), errors.join("\n")) };
            programs.push(executable.into());
        }
        Ok(programs)
    }

    fn cargo(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        eprintln!("cargo {}", arguments.join(" "));
        let output = Command::new("cargo")
            .args(arguments)
            .args(["--no-default-features", "--message-format=json", "--quiet"])
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", self.scratch.join("build"))
            .env("RUSTFLAGS", "-Awarnings")
            .stderr(Stdio::inherit())
            .output()
            .context("running cargo")?;
        let lines = String::from_utf8_lossy(&output.stdout);
        lines.lines().map(|line| serde_json::from_str(line).context("reading cargo's messages")).collect()
    }
}

/// The mutants at the places that a message names: where it points to, else whatever else it shows, else the statements about.
fn accused(message: &Value, woven: &BTreeMap<String, Woven>) -> BTreeSet<u32> {
    let empty = Vec::new();
    let spans = message["spans"].as_array().unwrap_or(&empty);
    let place = |span: &Value| -> Option<(String, Range<usize>)> {
        let byte = |key: &str| span[key].as_u64().and_then(|byte| usize::try_from(byte).ok());
        Some((span["file_name"].as_str()?.to_owned(), byte("byte_start")?..byte("byte_end")?))
    };
    let at = |span: &Value| -> Vec<u32> {
        let woven = place(span).and_then(|(file, place)| Some(woven.get(&file)?.at(&place).to_vec()));
        woven.unwrap_or_default()
    };
    let (primary, other): (Vec<&Value>, Vec<&Value>) = spans.iter().partition(|span| span["is_primary"] == true);
    let mut found: BTreeSet<u32> = primary.into_iter().flat_map(at).collect();
    if found.is_empty() {
        found = other.into_iter().flat_map(at).collect();
    }
    if found.is_empty() {
        let mut by_file: BTreeMap<String, Vec<Range<usize>>> = BTreeMap::new();
        for (file, place) in spans.iter().filter_map(place) {
            by_file.entry(file).or_default().push(place);
        }
        let about =
            |(file, places): (&String, &Vec<Range<usize>>)| woven.get(file).map_or_else(Vec::new, |woven| woven.left_out_about(places));
        found = by_file.iter().flat_map(about).collect();
    }
    found
}

/// Without lints, which would find fault with woven text, and fast enough to run a thousand times.
fn scratch_manifest(manifest: &str) -> String {
    let mut kept = String::new();
    let mut keeps = true;
    for line in manifest.lines() {
        if line.starts_with('[') {
            keeps = !line.starts_with("[lints") && !line.starts_with("[profile.");
        }
        if keeps {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept + "\n[workspace]\n\n[profile.dev]\nopt-level = 1\ndebug = false\n"
}

fn core_files(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for part in CORE {
        found.push(format!("src/{part}.rs"));
        found.extend(files(root, &Path::new("src").join(part))?);
    }
    found.retain(|file| file.ends_with(".rs") && !file.ends_with("/tests.rs") && !file.contains("/tests/"));
    Ok(found)
}

/// The files at and below a path of the project, in their order; none if there is no such path.
fn files(root: &Path, part: &Path) -> Result<Vec<String>> {
    let path = root.join(part);
    if path.is_file() {
        return Ok(vec![part.to_string_lossy().into_owned()]);
    }
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(&path)?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        found.extend(files(root, &part.join(entry.file_name()))?);
    }
    Ok(found)
}

fn write_if_other(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
