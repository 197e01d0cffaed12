use super::*;

/// The clock of these tests stands still: ages are told by moments that lie before it.
fn clock() -> Instant {
    use std::sync::OnceLock;
    static NOW: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "some moment to count from")]
    let now = *NOW.get_or_init(|| Instant::now() + Duration::from_secs(3600));
    now
}

fn ago(age: Duration) -> Moment {
    Moment { at: clock() - age, wall: "2026-11-22T10:03:56.000000Z".to_owned() }
}

fn event(detail: &str) -> NewEvent {
    NewEvent {
        kind: Kind::Settled,
        group: Some("www".to_owned()),
        address: None,
        host: None,
        name: None,
        reason: None,
        epoch: None,
        detail: detail.to_owned(),
    }
}

fn small() -> (EventWriter, EventReader) {
    ring(4, "boot".to_owned(), clock)
}

/// One event after the other, each a second younger than the one before, the last just now.
fn fill(writer: &EventWriter, count: u64) {
    for number in 1..=count {
        writer.record(&ago(Duration::from_secs(count - number)), [event(&number.to_string())]);
    }
}

fn all(mut cursor: Cursor) -> Vec<Recorded> {
    std::iter::from_fn(|| cursor.read()).flatten().collect()
}

fn details(events: &[Recorded]) -> Vec<&str> {
    events.iter().map(|event| event.detail.as_str()).collect()
}

#[test]
fn everything_is_told_in_its_order_with_its_age() {
    let (writer, reader) = small();
    fill(&writer, 3);
    let told = all(reader.begin(Wanted::default()));
    assert_eq!(details(&told), ["1", "2", "3"]);
    assert_eq!(told.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(told.iter().map(|event| event.age_ms).collect::<Vec<_>>(), [2000, 1000, 0]);
    assert!(told.iter().all(|event| event.boot == "boot" && event.version == RECORDED_VERSION));
}

#[test]
fn what_was_overwritten_is_told_as_one_line_with_its_count() {
    let (writer, reader) = small();
    let mut cursor = reader.begin(Wanted::default());
    fill(&writer, 7);
    assert_eq!(cursor.read(), None, "what comes after the question is for those who follow");
    let told = all(reader.begin(Wanted::default()));
    assert_eq!(told[0].kind, Kind::Missed);
    assert_eq!(told[0].sequence, 3, "the last that was missed");
    assert_eq!(told[0].detail, "3 events were overwritten before they could be read; 4 are kept");
    assert_eq!(details(&told[1..]), ["4", "5", "6", "7"]);
}

#[test]
fn since_leaves_out_what_is_older_and_says_so_if_the_younger_is_gone_too() {
    let (writer, reader) = small();
    fill(&writer, 7);
    let since = |seconds| Wanted { since: Some(Duration::from_secs(seconds)), ..Wanted::default() };
    assert_eq!(details(&all(reader.begin(since(1)))), ["6", "7"]);
    assert_eq!(all(reader.begin(since(60)))[0].kind, Kind::Missed);
    let (writer, reader) = small();
    writer.record(&ago(Duration::from_secs(9)), [event("old")]);
    assert!(all(reader.begin(since(1))).is_empty());
}

#[test]
fn the_last_so_many_are_those_of_the_group() {
    let (writer, reader) = small();
    fill(&writer, 2);
    writer.record(
        &ago(Duration::ZERO),
        [NewEvent { group: Some("other".to_owned()), ..event("x") }, NewEvent { group: None, ..event("host") }],
    );
    let wanted = |group: &str, last| Wanted { group: Some(group.to_owned()), last: Some(last), ..Wanted::default() };
    assert_eq!(details(&all(reader.begin(wanted("www", 2)))), ["2", "host"], "what concerns the host is of every group");
    assert_eq!(details(&all(reader.begin(wanted("other", 9)))), ["x", "host"]);
    assert!(all(reader.begin(wanted("www", 0))).is_empty());
}

#[test]
fn who_comes_back_is_told_the_rest_and_after_a_new_start_everything() {
    let (writer, reader) = small();
    fill(&writer, 4);
    let after = |boot: &str, sequence| Wanted { after: Some((boot.to_owned(), sequence)), ..Wanted::default() };
    assert_eq!(details(&all(reader.begin(after("boot", 2)))), ["3", "4"]);
    assert!(all(reader.begin(after("boot", u64::MAX))).is_empty());
    assert_eq!(all(reader.begin(after("another", 3))).len(), 4);
}

#[tokio::test]
async fn a_follower_is_told_at_once_and_to_the_end() {
    let (writer, reader) = small();
    fill(&writer, 1);
    let mut cursor = reader.begin(Wanted::default());
    assert_eq!(details(&cursor.follow().await.unwrap()), ["1"]);
    let (batch, ()) = tokio::join!(cursor.follow(), async { writer.record(&ago(Duration::ZERO), [event("live")]) });
    assert_eq!(details(&batch.unwrap()), ["live"]);
    writer.record(&ago(Duration::ZERO), [event("last words")]);
    drop(writer);
    assert_eq!(details(&cursor.follow().await.unwrap()), ["last words"]);
    assert_eq!(cursor.follow().await, None);
}

#[tokio::test]
async fn a_follower_who_does_not_read_costs_nothing_and_is_told_what_it_missed() {
    let (writer, reader) = small();
    let mut cursor = reader.begin(Wanted::default());
    fill(&writer, 1004);
    let batch = cursor.follow().await.unwrap();
    assert_eq!((batch[0].kind, batch[0].sequence), (Kind::Missed, 1000));
    assert!(batch[0].detail.starts_with("1000 events were overwritten"), "{}", batch[0].detail);
    assert_eq!(details(&batch[1..]), ["1001", "1002", "1003", "1004"]);
}

#[test]
fn a_long_detail_is_cut_between_two_characters() {
    let (writer, reader) = small();
    writer.record(&ago(Duration::ZERO), [event(&"ü".repeat(DETAIL_BYTES_MAX))]);
    let told = all(reader.begin(Wanted::default()));
    assert!(told[0].detail.len() <= DETAIL_BYTES_MAX && told[0].detail.ends_with("ü..."));
}
