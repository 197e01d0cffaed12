use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::{Environment, Facts, load_text};
use crate::node::event::TestResult;
use crate::operator::recordings::read;
use crate::recording::replay::{Continuity, Step, Verdict};
use crate::types::host::{BootId, Incarnation};

const MIB: u64 = 1024 * 1024;

const CONFIG: &str = r#"
    [host]
    control = ["10.0.0.11"]
    [[group]]
    name = "www"
    address = "239.255.42.1"
    interface = "eth0"
    insecure = true
    preferred = ["192.0.2.1"]
    tests = ["web"]
    [test.web]
    kind = "tcp"
    address = "127.0.0.1:80"
"#;

/// A node that is recorded, as the loop does it.
struct Recorded {
    node: Node,
    recorder: Recorder,
    now: Time,
}

impl Recorded {
    fn start(state_dir: &Path, size: u64, incarnation: u64) -> Self {
        let facts = Facts { hostname: "web1".into(), addresses: vec![("eth0".into(), [10, 0, 0, 11].into())], ..Facts::default() };
        let config = load_text("raisd.toml", CONFIG, &Environment::Fixed(facts)).unwrap_or_else(|errors| panic!("{errors}"));
        let start = Start {
            boot: BootId([u8::try_from(incarnation).unwrap(); 16]),
            incarnation: Incarnation(incarnation),
            software: "0.1.0".to_owned(),
            stored: Vec::new(),
            kernel: Vec::new(),
        };
        let now = Time::after_start(Duration::from_secs(1_000_000));
        let mut recorder = Recorder::start(state_dir, size);
        recorder.begin(now, &config.policy, &start);
        let (node, actions) = Node::start(now, &config.policy, start);
        recorder.decided(&actions);
        Self { node, recorder, now }
    }

    fn call(&mut self, event: Event) {
        self.now = self.now.plus(Duration::from_millis(10));
        self.recorder.happened(self.now, &self.node, std::slice::from_ref(&event));
        let actions = self.node.handle(self.now, event);
        self.recorder.decided(&actions);
    }

    /// Until the thread has taken all that waits.
    fn wait_taken(&self) {
        while self.recorder.shared.queued.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
    }

    /// So many calls with a kibibyte each.
    fn talk(&mut self, calls: usize) {
        for number in 0..calls {
            self.call(Event::Tested { test: "web".to_owned(), result: TestResult::Failed { why: format!("{number:01000}") } });
            // The loop of a real daemon does not outrun the disk for long.
            while self.recorder.shared.queued.load(Ordering::Relaxed) > self.recorder.queue_max() / 2 {
                std::thread::yield_now();
            }
        }
    }
}

fn sizes(state_dir: &Path) -> Vec<u64> {
    let files = fs::read_dir(state_dir.join("recorder")).unwrap();
    files.map(|entry| entry.unwrap().metadata().unwrap().len()).collect()
}

/// What a replay of all that is there comes to: verdicts, and how its segments go on.
fn replayed(state_dir: &Path) -> (usize, Vec<Continuity>) {
    let recordings = read(&[state_dir.to_owned()]).unwrap();
    assert_eq!(recordings.notes, Vec::<String>::new());
    let (mut calls, mut continuities) = (0, Vec::new());
    for step in recordings.hosts.iter().flat_map(crate::recording::replay::Recording::replay) {
        match step {
            Step::Called(called) => {
                assert_eq!(called.verdict, Verdict::Same, "call {}", called.entry.number);
                calls += 1;
            }
            Step::Opened { continuity, .. } => continuities.push(continuity),
            Step::Ended(cut) => assert_eq!(cut, None),
        }
    }
    (calls, continuities)
}

#[test]
fn the_ring_never_takes_more_than_its_size_and_is_replayed_from_where_it_begins() {
    let directory = TempDir::new().unwrap();
    let mut recorded = Recorded::start(directory.path(), MIB, 1);
    for _ in 0..40 {
        recorded.talk(100);
        let taken: u64 = sizes(directory.path()).iter().sum();
        assert!(taken <= MIB, "{taken} bytes");
    }
    drop(recorded);
    let sizes = sizes(directory.path());
    assert!(sizes.iter().sum::<u64>() > MIB / 2 && sizes.len() > 8, "{sizes:?}");
    let (calls, continuities) = replayed(directory.path());
    assert!(calls > 500, "{calls}");
    assert!(continuities.iter().skip(1).all(|continuity| *continuity == Continuity::Exact), "{continuities:?}");
}

#[test]
fn nobody_else_can_read_it() {
    let directory = TempDir::new().unwrap();
    drop(Recorded::start(directory.path(), MIB, 1));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.path().join("recorder")), 0o700);
    assert_eq!(mode(&directory.path().join("recorder/000000000001.rec")), 0o600);
}

#[test]
fn a_start_goes_on_behind_what_earlier_ones_have_left() {
    let directory = TempDir::new().unwrap();
    for incarnation in 1..=3 {
        Recorded::start(directory.path(), MIB, incarnation).talk(3);
    }
    let (calls, continuities) = replayed(directory.path());
    assert_eq!((calls, continuities), (12, vec![Continuity::None; 3]));
}

#[test]
fn what_did_not_fit_the_queue_is_a_gap_and_recording_goes_on_behind_it() {
    let directory = TempDir::new().unwrap();
    let mut recorded = Recorded::start(directory.path(), MIB, 1);
    recorded.talk(5);
    recorded.recorder.shared.queued.fetch_add(2 * QUEUE_BYTES, Ordering::Relaxed);
    for _ in 0..7 {
        recorded.call(Event::Timeout);
    }
    recorded.recorder.shared.queued.fetch_sub(2 * QUEUE_BYTES, Ordering::Relaxed);
    recorded.talk(5);
    drop(recorded);
    let (calls, continuities) = replayed(directory.path());
    assert_eq!((calls, continuities), (11, vec![Continuity::None, Continuity::Gap { entries: 7 }]));
}

#[test]
fn a_size_of_0_records_nothing_and_another_one_begins_with_the_node_as_it_is() {
    let directory = TempDir::new().unwrap();
    let mut recorded = Recorded::start(directory.path(), 0, 1);
    recorded.talk(5);
    assert!(!directory.path().join("recorder").exists());
    recorded.recorder.set_size(MIB);
    recorded.talk(5);
    recorded.recorder.set_size(0);
    recorded.talk(5);
    recorded.recorder.set_size(2 * MIB);
    recorded.talk(5);
    drop(recorded);
    let (calls, continuities) = replayed(directory.path());
    assert_eq!((calls, continuities), (10, vec![Continuity::None, Continuity::Gap { entries: 5 }]));
}

#[test]
fn a_directory_that_cannot_be_written_is_tried_again() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("recorder"), "in the way").unwrap();
    let mut recorded = Recorded::start(directory.path(), MIB, 1);
    recorded.talk(5);
    recorded.wait_taken();
    fs::remove_file(directory.path().join("recorder")).unwrap();
    // As the thread does when half a minute has passed.
    recorded.recorder.shared.wants_opening.store(true, Ordering::Relaxed);
    recorded.talk(5);
    drop(recorded);
    let (calls, continuities) = replayed(directory.path());
    assert_eq!((calls, continuities), (5, vec![Continuity::None]));
}

#[test]
fn a_size_that_has_no_room_for_the_node_says_what_it_takes() {
    let directory = TempDir::new().unwrap();
    let recorder = Recorded::start(directory.path(), 1024, 1);
    drop(recorder);
    assert!(!directory.path().join("recorder").exists());
}
