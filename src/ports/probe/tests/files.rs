//! Files and processes of this machine. What hangs is in `tests/kernel/probes.rs`, where a dead file server can be mounted.

use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use super::*;

fn file_test(path: &Path, wanted: FileWanted) -> TestSpec {
    spec(TestKind::File { path: path.to_owned(), wanted }, AMPLE)
}

#[tokio::test]
async fn a_file_test_passes_while_the_file_is_there_and_fails_while_it_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flag");
    fs::write(&path, "").unwrap();
    let (_probes, mut results) = Probes::start(vec![file_test(&path, FileWanted::Present { max_age: None })], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    fs::remove_file(&path).unwrap();
    assert_eq!(fails_again(&mut results).await, format!("{} is not there", path.display()));
    fs::write(&path, "").unwrap();
    passes_again(&mut results).await;
}

#[tokio::test]
async fn a_file_may_be_wanted_absent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("maintenance");
    let (_probes, mut results) = Probes::start(vec![file_test(&path, FileWanted::Absent)], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    fs::write(&path, "").unwrap();
    assert_eq!(fails_again(&mut results).await, format!("{} is there", path.display()));
    fs::remove_file(&path).unwrap();
    passes_again(&mut results).await;
}

#[tokio::test]
async fn a_file_may_be_too_old() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last");
    let file = fs::File::create(&path).unwrap();
    let wanted = FileWanted::Present { max_age: Some(Duration::from_secs(3_600)) };
    let (_probes, mut results) = Probes::start(vec![file_test(&path, wanted)], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    #[expect(clippy::disallowed_methods, reason = "dates of files are wall-clock times")]
    let now = SystemTime::now();
    file.set_modified(now - Duration::from_secs(7_200)).unwrap();
    let why = fails_again(&mut results).await;
    assert!(why.starts_with(&format!("{} was last written 72", path.display())) && why.ends_with("s ago, more than 3600s"), "{why}");
    file.set_modified(now + Duration::from_secs(7_200)).unwrap();
    passes_again(&mut results).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_looked_at_is_neither_there_nor_absent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("loop");
    std::os::unix::fs::symlink(&path, &path).unwrap();
    for wanted in [FileWanted::Absent, FileWanted::Present { max_age: None }] {
        let (_probes, mut results) = Probes::start(vec![file_test(&path, wanted)], Vec::new());
        let why = failure(&mut results).await;
        assert!(why.starts_with(&format!("{} could not be looked at: Too many levels", path.display())), "{why}");
    }
}

/// A program of this name that lives until it is told to end.
fn start(directory: &TempDir, name: &str) -> Child {
    let path = directory.path().join(name);
    if !path.exists() {
        fs::copy("/bin/cat", &path).unwrap();
    }
    Command::new(path).stdin(Stdio::piped()).spawn().unwrap()
}

fn process_test(name: &str, pid_file: Option<PathBuf>) -> TestSpec {
    spec(TestKind::Process { name: name.to_owned(), pid_file }, AMPLE)
}

#[tokio::test]
async fn a_process_test_passes_while_a_process_of_the_name_runs() {
    let directory = tempfile::tempdir().unwrap();
    // Longer than the 15 bytes that the kernel keeps, and like nothing else on this machine.
    let name = format!("raisd-probed-{}", std::process::id());
    assert!(name.len() > 15);
    let mut first = start(&directory, &name);
    let (_probes, mut results) = Probes::start(vec![process_test(&name, None)], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    // Killed and not yet waited for, it is a zombie.
    first.kill().unwrap();
    assert_eq!(fails_again(&mut results).await, format!("no process {name} runs"));
    first.wait().unwrap();
    let mut second = start(&directory, &name);
    passes_again(&mut results).await;
    second.kill().unwrap();
    second.wait().unwrap();
}

#[tokio::test]
async fn a_pid_file_says_which_process_counts() {
    let directory = tempfile::tempdir().unwrap();
    let name = format!("raisd-p-{}", std::process::id() % 100_000);
    let pid_file = directory.path().join("pid");
    let mut process = start(&directory, &name);
    fs::write(&pid_file, format!("{}\n", process.id())).unwrap();
    let (_probes, mut results) = Probes::start(vec![process_test(&name, Some(pid_file.clone()))], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    let shown = pid_file.display();
    fs::write(&pid_file, format!("{}\n", std::process::id())).unwrap();
    let why = fails_text(&mut results, "not raisd-p-").await;
    assert!(why.starts_with(&format!("process {} of {shown} is ", std::process::id())), "{why}");
    fs::write(&pid_file, "about to start").unwrap();
    assert_eq!(fails_text(&mut results, "holds").await, format!("{shown} holds \"about to start\", not a process id"));
    fs::remove_file(&pid_file).unwrap();
    let why = fails_text(&mut results, "read").await;
    assert!(why.starts_with(&format!("{shown} could not be read: No such file")), "{why}");
    fs::write(&pid_file, process.id().to_string()).unwrap();
    passes_again(&mut results).await;
    process.kill().unwrap();
    process.wait().unwrap();
    let why = fails_again(&mut results).await;
    assert_eq!(why, format!("process {} of {shown} does not run", process.id()));
}
