use std::net::IpAddr;

use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::node::action::StoredPeer;
use crate::node::event::{Event, OpId, Outcome};
use crate::types::host::{Duty, HostId};
use crate::types::item::{Epoch, Item};
use crate::types::message::AddressRecord;

fn state(serial: u32) -> StoredGroup {
    let address = IpAddr::from([192, 0, 2, 11]);
    StoredGroup {
        duty: Duty::Quiesced,
        duty_reason: String::from("disk swap"),
        zone_serial: serial,
        zone: vec![address],
        peers: vec![StoredPeer { host: HostId(IpAddr::from([10, 0, 0, 12])), control: vec![IpAddr::from([10, 0, 0, 12])] }],
        addresses: vec![AddressRecord {
            item: Item::Address(address),
            prefix: 32,
            preferred_host: Some(HostId(IpAddr::from([10, 0, 0, 11]))),
            floating: false,
            orphaned: Duration::from_secs(60),
            home_served: Some(Duration::from_secs(5)),
            lifetime: Duration::from_secs(3_600),
            epoch: Epoch(3),
            tombstone: false,
            returned: None,
        }],
    }
}

/// Without the time that has passed since.
fn ageless(mut state: StoredGroup) -> StoredGroup {
    for address in &mut state.addresses {
        address.orphaned = Duration::ZERO;
        address.home_served = None;
    }
    state
}

fn opened() -> (tempfile::TempDir, StateDir) {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(&directory.path().join("raisd")).unwrap();
    (directory, state)
}

#[test]
fn an_empty_directory_is_no_fault() {
    let (_keep, directory) = opened();
    assert_eq!(directory.load_group("www"), Loaded { state: StoredGroup::default(), notes: vec![] });
    assert_eq!(directory.next_incarnation(), Loaded { state: Incarnation(1), notes: vec![] });
}

#[test]
fn what_is_stored_is_loaded() {
    let (keep, directory) = opened();
    directory.store_group("www", state(7)).unwrap();
    directory.store_group("mail", state(8)).unwrap();
    assert_eq!(directory.next_incarnation().state, Incarnation(1));
    drop(directory);
    let directory = StateDir::open(&keep.path().join("raisd")).unwrap();
    assert_eq!(ageless(directory.load_group("www").state), ageless(state(7)));
    assert_eq!(ageless(directory.load_group("mail").state), ageless(state(8)));
    assert_eq!(directory.next_incarnation().state, Incarnation(2));
    assert_eq!(directory.load_incarnation().state, Incarnation(2));
}

#[test]
fn ages_grow_by_the_time_that_has_passed_and_never_shrink() {
    let written = 1_000_000;
    for (now, added) in [(written + 2_500, 2_500), (written, 0), (written - 1, 0), (0, 0)] {
        let aged = GroupDocument::of("www", state(1), written).aged(now);
        let address = aged.addresses.first().unwrap();
        assert_eq!(address.orphaned, Duration::from_millis(60_000 + added), "{now}");
        assert_eq!(address.home_served, Some(Duration::from_millis(5_000 + added)), "{now}");
        assert_eq!(address.lifetime, Duration::from_secs(3_600), "{now}");
    }
    let aged = GroupDocument::of("www", state(1), 0).aged(u64::MAX);
    assert!(aged.addresses.first().unwrap().orphaned > Duration::from_secs(3_600));
}

#[test]
fn a_write_that_stops_at_any_step_leaves_the_old_or_the_whole_new_state() {
    type Step = fn(&mut Replacement, &[u8]) -> io::Result<()>;
    let steps: [(&str, Step); 5] = [
        ("half of the content", |file, content| file.fill(&content[..content.len() / 2])),
        ("the other half", |file, content| file.fill(&content[content.len() / 2..])),
        ("sync", |file, _| file.sync()),
        ("rename", |file, _| file.rename()),
        ("directory", |file, _| file.sync_directory()),
    ];
    for stop in 0..=steps.len() {
        let (keep, directory) = opened();
        directory.store_group("www", state(1)).unwrap();
        let content = GroupDocument::of("www", state(2), wall_clock_ms()).to_bytes().unwrap();
        let mut replacement = Replacement::create(&directory.group_file("www")).unwrap();
        let mut serial = 1;
        for (name, step) in &steps[..stop] {
            step(&mut replacement, &content).unwrap();
            if *name == "rename" {
                serial = 2;
            }
        }
        // The power goes.
        drop(replacement);
        drop(directory);
        let directory = StateDir::open(&keep.path().join("raisd")).unwrap();
        let loaded = directory.load_group("www");
        assert_eq!(loaded.notes, [], "after {stop} steps");
        assert_eq!(ageless(loaded.state), ageless(state(serial)), "after {stop} steps");
        let names: Vec<_> = fs::read_dir(keep.path().join("raisd/groups")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["www.json"], "after {stop} steps");
        directory.store_group("www", state(3)).unwrap();
        assert_eq!(directory.load_group("www").state.zone_serial, 3);
    }
}

#[test]
fn a_write_that_fails_leaves_the_old_state_and_names_the_file() {
    let (_keep, directory) = opened();
    directory.store_group("www", state(1)).unwrap();
    // A directory in the place of the file that is written first.
    let in_the_way = directory.path.join("groups/www.json.unfinished");
    fs::create_dir(&in_the_way).unwrap();
    let error = directory.store_group("www", state(2)).unwrap_err().to_string();
    assert!(error.contains("cannot create") && error.contains("www.json.unfinished"), "{error}");
    assert_eq!(directory.load_group("www").state.zone_serial, 1);
}

#[test]
fn an_unusable_file_is_set_aside_with_a_line_that_says_so() {
    let whole = GroupDocument::of("www", state(1), 0).to_bytes().unwrap();
    let foreign = GroupDocument::of("mail", state(1), 0).to_bytes().unwrap();
    for (content, fault) in [
        (Vec::new(), "damaged"),
        (b"{".to_vec(), "damaged"),
        (whole[..whole.len() / 2].to_vec(), "damaged"),
        (vec![0; whole.len()], "damaged"),
        (b"\xff\xfe".to_vec(), "damaged"),
        (b"{\"version\":1}".to_vec(), "damaged"),
        (b"{\"version\":2,\"other\":true}".to_vec(), "version 2"),
        (foreign, "group \"mail\""),
        ("[".repeat(100_000).into_bytes(), "damaged"),
    ] {
        let (_keep, directory) = opened();
        let path = directory.group_file("www");
        fs::write(&path, &content).unwrap();
        let loaded = directory.load_group("www");
        assert_eq!(loaded.state, StoredGroup::default());
        let [note] = loaded.notes.as_slice() else { panic!("{:?}", loaded.notes) };
        let note = note.to_string();
        assert!(note.contains(fault) && note.contains("www.json.corrupt-1") && note.contains("lost"), "{note}");
        assert!(!path.exists());
        assert_eq!(fs::read(path.with_extension("json.corrupt-1")).unwrap(), content);
        assert_eq!(directory.load_group("www").notes, []);
    }
}

#[test]
fn a_file_that_is_too_large_or_no_file_is_set_aside() {
    let (_keep, directory) = opened();
    let path = directory.group_file("www");
    File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(directory.load_group("www").notes.first().unwrap().to_string().contains("bytes"));
    fs::create_dir(&path).unwrap();
    assert!(directory.load_group("www").notes.first().unwrap().to_string().contains("cannot be read"));
    assert_eq!(directory.load_group("www").notes, []);
}

#[test]
fn a_damaged_start_count_starts_again_and_says_so() {
    let (_keep, directory) = opened();
    fs::write(directory.host_file(), "{\"version\":1,\"incarnation\":-1}").unwrap();
    let loaded = directory.next_incarnation();
    assert_eq!(loaded.state, Incarnation(1));
    assert!(loaded.notes.first().unwrap().to_string().contains("start count is lost"));
    assert_eq!(directory.next_incarnation(), Loaded { state: Incarnation(2), notes: vec![] });
}

#[test]
fn only_the_newest_unusable_files_are_kept() {
    let (_keep, directory) = opened();
    let path = directory.group_file("www");
    for round in 1..=5 {
        fs::write(&path, format!("round {round}")).unwrap();
        assert_eq!(directory.load_group("www").notes.len(), 1);
    }
    let kept: Vec<_> =
        (1..=5).filter_map(|number| fs::read_to_string(path.with_extension(format!("json.corrupt-{number}"))).ok()).collect();
    assert_eq!(kept, ["round 5", "round 4", "round 3"]);
}

#[test]
fn a_second_daemon_is_refused_and_told_which_process_is_there() {
    let (keep, directory) = opened();
    let path = keep.path().join("raisd");
    let error = StateDir::open(&path).unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(directory);
    // What a longer number of an earlier daemon left does not stand behind ours.
    fs::write(path.join("lock"), "4194303999\n").unwrap();
    let _again = StateDir::open(&path).unwrap();
    assert_eq!(fs::read_to_string(path.join("lock")).unwrap(), format!("{}\n", std::process::id()));
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_with_the_remedy() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = StateDir::open(&file.path().join("raisd")).unwrap_err().to_string();
    assert!(error.contains("host.state_dir"), "{error}");
}

#[test]
fn a_name_cannot_leave_the_directory() {
    assert_eq!(file_safe("www-1.example_a"), "www-1.example_a");
    assert_eq!(file_safe("../etc/passwd"), "%2e./etc/passwd".replace('/', "%2f"));
    assert_eq!(file_safe(".hidden"), "%2ehidden");
    assert_eq!(file_safe("é"), "%c3%a9");
}

fn group(serial: u32) -> Write {
    Write::Group { name: String::from("www"), state: state(serial) }
}

fn finished(events: &mut UnboundedReceiver<Event>) -> (OpId, Outcome) {
    let event = events.blocking_recv();
    let Some(Event::Finished { op, outcome }) = event else { panic!("{event:?}") };
    (op, outcome)
}

#[test]
fn writes_are_answered_when_they_are_on_disk() {
    let (_keep, directory) = opened();
    let (writer, mut events) = StateWriter::start(directory.clone()).unwrap();
    writer.write(OpId(1), group(5));
    assert_eq!(finished(&mut events), (OpId(1), Outcome::Done));
    assert_eq!(directory.load_group("www").state.zone_serial, 5);
    writer.write(OpId(2), Write::Incarnation(Incarnation(9)));
    assert_eq!(finished(&mut events), (OpId(2), Outcome::Done));
    assert_eq!(directory.load_incarnation().state, Incarnation(9));
    drop(writer);
    assert_eq!(events.blocking_recv(), None);
}

#[test]
fn dropping_the_writer_writes_what_waits_though_nobody_listens() {
    let (_keep, directory) = opened();
    let (writer, events) = StateWriter::start(directory.clone()).unwrap();
    drop(events);
    for serial in 1..=50 {
        writer.write(OpId(u64::from(serial)), group(serial));
    }
    drop(writer);
    assert_eq!(directory.load_group("www").state.zone_serial, 50);
}

/// Stops the disk: opening a named pipe for writing waits until somebody reads it.
fn stop_disk(directory: &StateDir, name: &str) -> PathBuf {
    let pipe = directory.path.join(format!("groups/{name}.json.unfinished"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    pipe
}

/// Lets it go on, and waits until the thread has closed the pipe: its write has failed, since a pipe cannot be synced.
fn start_disk(pipe: &Path) {
    let mut content = Vec::new();
    File::open(pipe).unwrap().read_to_end(&mut content).unwrap();
    assert!(!content.is_empty());
}

#[test]
fn waiting_writes_of_a_group_are_done_once_and_all_answered() {
    let (_keep, directory) = opened();
    let pipe = stop_disk(&directory, "first");
    let (writer, mut events) = StateWriter::start(directory.clone()).unwrap();
    writer.write(OpId(0), Write::Group { name: String::from("first"), state: state(0) });
    for number in 1..=3 {
        writer.write(OpId(u64::from(number)), group(number));
    }
    writer.write(OpId(4), Write::Group { name: String::from("mail"), state: state(4) });
    start_disk(&pipe);
    drop(writer);
    let answers: Vec<_> = std::iter::from_fn(|| events.blocking_recv()).collect();
    let answered =
        |op| answers.iter().filter(|event| matches!(event, Event::Finished { op: answered, .. } if *answered == OpId(op))).count();
    assert_eq!([0, 1, 2, 3, 4].map(answered), [1; 5], "{answers:?}");
    assert_eq!(answers.iter().filter(|event| matches!(event, Event::Finished { outcome: Outcome::Done, .. })).count(), 4, "{answers:?}");
    assert_eq!(directory.load_group("www").state.zone_serial, 3);
    assert_eq!(directory.load_group("mail").state.zone_serial, 4);
}

#[test]
fn a_disk_that_hangs_does_not_pile_up_operations() {
    let (_keep, directory) = opened();
    let pipe = stop_disk(&directory, "first");
    let (writer, mut events) = StateWriter::start(directory.clone()).unwrap();
    writer.write(OpId(0), Write::Group { name: String::from("first"), state: state(0) });
    for number in 1..=1_000 {
        writer.write(OpId(number), group(1));
    }
    // The refused ones are answered while the disk hangs.
    for _ in 0..745 {
        let (_, outcome) = finished(&mut events);
        assert!(matches!(&outcome, Outcome::Failed { why } if why.contains("too slow")), "{outcome:?}");
    }
    start_disk(&pipe);
    drop(writer);
    assert_eq!(std::iter::from_fn(|| events.blocking_recv()).count(), 256);
}

#[test]
fn a_write_that_fails_is_answered_with_the_reason() {
    let (keep, directory) = opened();
    let (writer, mut events) = StateWriter::start(directory).unwrap();
    fs::remove_dir_all(keep.path().join("raisd/groups")).unwrap();
    writer.write(OpId(1), group(1));
    let (op, outcome) = finished(&mut events);
    assert_eq!(op, OpId(1));
    assert!(matches!(&outcome, Outcome::Failed { why } if why.contains("www.json")), "{outcome:?}");
}
