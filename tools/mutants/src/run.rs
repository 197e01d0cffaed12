//! Runs tests: first each by itself, to see how long it takes and which mutants it comes by; then, for each mutant, those that
//! come by it, fastest first, until one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::find::Mutant;
use crate::project::Project;

/// What a test may take at most when it is looked at by itself.
const ALONE_MAX: Duration = Duration::from_secs(600);

/// What a mutant may use of memory, in KiB: one that grows without end is caught.
const MEMORY_KIB_MAX: u32 = 4 << 20;

/// One test, as it is without mutants.
#[derive(Clone, Debug)]
pub struct Test {
    program: usize,
    name: String,
    takes: Duration,
    reaches: BTreeSet<u32>,
}

/// What has become of a mutant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// This test failed.
    Caught {
        /// Its name.
        by: String,
    },
    /// Tests did not end.
    Hung,
    /// No test comes by it.
    NotReached,
    /// All tests that come by it passed.
    Survived,
}

/// The tests of a project.
pub struct Tests<'a> {
    project: &'a Project,
    jobs: usize,
    tests: Vec<Test>,
    /// Which test caught what: it is the first to be tried on the same mutant, then on others of the function.
    caught: Mutex<BTreeMap<String, usize>>,
    caught_in: Mutex<BTreeMap<String, Vec<usize>>>,
    hints: PathBuf,
}

impl<'a> Tests<'a> {
    /// Runs every test by itself; those that take longer than `longest` are not used further.
    ///
    /// # Errors
    /// One fails, or a program cannot be run.
    pub fn look(project: &'a Project, jobs: usize, longest: Duration) -> Result<Self> {
        let mut tests = Vec::new();
        for (program, path) in project.programs.iter().enumerate() {
            tests.extend(look_at(project, program, path, jobs)?);
        }
        tests.retain(|test| test.takes <= longest);
        tests.sort_by_key(|test| test.takes);
        let hints = project.scratch().join("hints.json");
        let known: BTreeMap<String, String> =
            fs::read(&hints).ok().and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default();
        let number = |name: &str| tests.iter().position(|test| test.name == name);
        let caught = known.into_iter().filter_map(|(mutant, test)| Some((mutant, number(&test)?))).collect();
        Ok(Self { project, jobs, tests, caught: Mutex::new(caught), caught_in: Mutex::default(), hints })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tests.len()
    }

    /// What becomes of these mutants, by number. `heard` is told of each as it is known.
    ///
    /// # Errors
    /// A test program cannot be run.
    pub fn judge(&self, wanted: &[(u32, &Mutant)], heard: impl Fn(&Mutant, &Fate) + Sync) -> Result<Vec<Fate>> {
        let next = AtomicUsize::new(0);
        let fates: Mutex<BTreeMap<usize, Fate>> = Mutex::default();
        let work = || -> Result<()> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((number, mutant)) = wanted.get(index) else { return Ok(()) };
                let fate = self.try_one(*number, mutant)?;
                heard(mutant, &fate);
                lock(&fates).insert(index, fate);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        let hints = serde_json::to_vec(
            &lock(&self.caught).iter().map(|(mutant, test)| (mutant, &self.tests[*test].name)).collect::<BTreeMap<_, _>>(),
        )?;
        fs::write(&self.hints, hints)?;
        Ok(std::mem::take(&mut *lock(&fates)).into_values().collect())
    }

    fn try_one(&self, number: u32, mutant: &Mutant) -> Result<Fate> {
        let reaching: Vec<usize> = (0..self.tests.len()).filter(|test| self.tests[*test].reaches.contains(&number)).collect();
        if reaching.is_empty() {
            return Ok(Fate::NotReached);
        }
        let mutant_key = mutant.name.to_string();
        let function_key = format!("{} {}", mutant.name.file, mutant.name.function);
        let mut first: Vec<usize> = lock(&self.caught).get(&mutant_key).copied().into_iter().collect();
        first.extend(lock(&self.caught_in).get(&function_key).into_iter().flatten().rev().take(4));
        first.retain(|test| reaching.contains(test));
        let mut ordered: Vec<usize> = Vec::new();
        for test in first.into_iter().chain(reaching) {
            if !ordered.contains(&test) {
                ordered.push(test);
            }
        }
        for batch in self.batches(&ordered) {
            match self.run(number, &batch)? {
                Ran::Passed => {}
                Ran::Failed(name) => {
                    let test = self.tests.iter().position(|test| test.name == name);
                    if let Some(test) = test {
                        lock(&self.caught).insert(mutant_key, test);
                        let mut neighbours = lock(&self.caught_in);
                        let of_function = neighbours.entry(function_key).or_default();
                        of_function.retain(|other| *other != test);
                        of_function.push(test);
                    }
                    return Ok(Fate::Caught { by: name });
                }
                Ran::Hung => return Ok(Fate::Hung),
            }
        }
        Ok(Fate::Survived)
    }

    /// Tests of one program at a time, few at first, more and more together.
    fn batches(&self, ordered: &[usize]) -> Vec<Vec<usize>> {
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut rest = ordered.to_vec();
        let mut budget = Duration::from_millis(200);
        while !rest.is_empty() {
            let mut taken: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            let mut spent = Duration::ZERO;
            let mut count = 0;
            for test in &rest {
                if count > 0 && spent + self.tests[*test].takes > budget {
                    break;
                }
                spent += self.tests[*test].takes;
                taken.entry(self.tests[*test].program).or_default().push(*test);
                count += 1;
            }
            rest.drain(..count);
            batches.extend(taken.into_values());
            budget *= 4;
        }
        batches
    }

    fn run(&self, number: u32, batch: &[usize]) -> Result<Ran> {
        let Some(first) = batch.first() else { return Ok(Ran::Passed) };
        let names: Vec<&str> = batch.iter().map(|test| self.tests[*test].name.as_str()).collect();
        let takes: Duration = batch.iter().map(|test| self.tests[*test].takes).sum();
        let mut command =
            test_command(self.project, &self.project.programs[self.tests[*first].program], &names, takes * 5 + Duration::from_secs(10));
        command.env("RAISD_MUTANT", number.to_string());
        run(command, takes * 20 + Duration::from_secs(120))
    }
}

/// Sent when the processor time is over.
const SIGXCPU: i32 = 24;

enum Ran {
    Passed,
    Failed(String),
    Hung,
}

fn look_at(project: &Project, program: usize, path: &Path, jobs: usize) -> Result<Vec<Test>> {
    let notes = project.scratch().join(format!("reach-{:016x}.json", hash(&fs::read(path)?)));
    if let Some(tests) = fs::read(&notes).ok().and_then(|content| read_notes(program, &content)) {
        return Ok(tests);
    }
    let listed = Command::new(path).args(["--list", "--format", "terse"]).current_dir(project.copy()).output()?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    eprintln!("looking at {} tests of {}", names.len(), path.display());
    let next = AtomicUsize::new(0);
    let tests: Mutex<Vec<Test>> = Mutex::default();
    let work = |worker: usize| -> Result<()> {
        let seen = project.scratch().join(format!("seen-{worker}"));
        loop {
            let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
            fs::write(&seen, [])?;
            let mut command = test_command(project, path, &[name], ALONE_MAX);
            command.env("RAISD_MUTANTS_SEEN", &seen);
            let started = Instant::now();
            let passed = matches!(run(command, ALONE_MAX)?, Ran::Passed);
            ensure!(passed, "{name} fails without any mutant");
            let takes = started.elapsed();
            let bytes = fs::read(&seen)?;
            let reaches = bytes.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number)).collect();
            lock(&tests).push(Test { program, name: (*name).to_owned(), takes, reaches });
        }
    };
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..jobs).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let tests = std::mem::take(&mut *lock(&tests));
    let note = |test: &Test| json!({"name": test.name, "takes_us": u64::try_from(test.takes.as_micros()).ok(), "reaches": test.reaches});
    fs::write(&notes, serde_json::to_vec(&tests.iter().map(note).collect::<Vec<_>>())?)?;
    Ok(tests)
}

fn read_notes(program: usize, content: &[u8]) -> Option<Vec<Test>> {
    let notes: Vec<Value> = serde_json::from_slice(content).ok()?;
    let test = |note: &Value| {
        let reaches = note["reaches"].as_array()?.iter().map(|number| u32::try_from(number.as_u64()?).ok()).collect::<Option<_>>()?;
        Some(Test { program, name: note["name"].as_str()?.to_owned(), takes: Duration::from_micros(note["takes_us"].as_u64()?), reaches })
    };
    notes.iter().map(test).collect()
}

/// One test after the other, in the copy, with an end to what it may take: processor time, since the machine may be busy with others.
fn test_command(project: &Project, program: &Path, names: &[&str], processor: Duration) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -v {MEMORY_KIB_MAX}; ulimit -S -t {}; exec \"$@\"", processor.as_secs() + 1), "sh"])
        .arg(program)
        .args(names)
        .args(["--exact", "--test-threads", "1"])
        .current_dir(project.copy())
        .env("CARGO_MANIFEST_DIR", project.copy())
        // Drawn cases are the same each time, and none is written down.
        .env("PROPTEST_RNG_SEED", "1")
        .env("PROPTEST_FAILURE_PERSISTENCE", "off")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Until the first test fails.
fn run(mut command: Command, limit: Duration) -> Result<Ran> {
    let mut child = command.spawn().context("running a test program")?;
    let output = child.stdout.take().context("a test program without output")?;
    let child = Mutex::new(child);
    std::thread::scope(|scope| {
        let (send, over) = std::sync::mpsc::channel::<()>();
        let child = &child;
        let watch = scope.spawn(move || {
            let hung = over.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if hung {
                // Gone already is as well.
                let _ = lock(child).kill();
            }
            hung
        });
        let mut failed = None;
        let mut passed = false;
        let mut last = String::new();
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { break };
            if let Some(rest) = line.strip_prefix("test ")
                && let Some((name, _)) = rest.split_once(" ...")
            {
                name.clone_into(&mut last);
            }
            if line.ends_with("FAILED") && line.starts_with("test ") && !line.starts_with("test result") {
                failed = Some(last.trim_end_matches(" - should panic").to_owned());
                // Its further tests need not run; gone already is as well.
                let _ = lock(child).kill();
                break;
            }
            passed |= line.starts_with("test result: ok");
        }
        drop(send);
        let hung = watch.join().unwrap_or(false);
        let status = lock(child).wait().context("waiting for a test program")?;
        let hung = hung || status.signal() == Some(SIGXCPU);
        Ok(match failed {
            Some(name) => Ran::Failed(name),
            None if hung => Ran::Hung,
            None if passed => Ran::Passed,
            // Aborted: the stack or the memory ran out.
            None => Ran::Failed(last),
        })
    })
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
