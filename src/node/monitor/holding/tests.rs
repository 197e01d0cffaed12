//! Every state of a holding with every input: the whole list of actions and the state after it.

use super::*;
use crate::node::event::GroupIndex;
use crate::node::turn::{Operations, Row};
use crate::types::host::{HostKeys, Role};
use crate::types::policy::{AllFailed, AnnouncePolicy, Assign, Failback, Handover, SharedPolicy};

const ADDRESS: ServiceAddress = ServiceAddress { address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), prefix: 32 };

fn item() -> Item {
    Item::Address(ADDRESS.address)
}

fn with_scripts() -> GroupPolicy {
    GroupPolicy {
        name: "www".to_owned(),
        interface: "svc0".to_owned(),
        role: Role::Server,
        preferred: Vec::new(),
        floating: Vec::new(),
        accept: Vec::new(),
        multicast: true,
        peers: Vec::new(),
        tests: Default::default(),
        loads: Default::default(),
        has_acquire_script: true,
        has_release_script: true,
        script_timeout: Duration::from_secs(30),
        announce: AnnouncePolicy { method: AnnounceMethod::Link, count: 5, refresh: Duration::from_secs(30) },
        keys: HostKeys::insecure(),
        shared: SharedPolicy {
            heartbeat: Duration::from_millis(250),
            timeout: Duration::from_secs(1),
            orphan_lifetime: Duration::from_secs(3600),
            assign: Assign::Random,
            failback: Failback::Never,
            rebalance: None,
            all_failed: AllFailed::Release,
            handover: Handover::Break,
            zone: None,
        },
    }
}

fn without_scripts() -> GroupPolicy {
    GroupPolicy { has_acquire_script: false, has_release_script: false, ..with_scripts() }
}

#[derive(Clone, Copy, Debug)]
enum Input {
    Acquire,
    /// The operation under way ends.
    Ends(End),
    /// An operation ends that nobody waits for.
    Late(End),
    Release(Manner),
    /// Others remove the address.
    Removed,
    Heartbeat,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Failed,
    TimedOut,
}

use End::{Done, Failed, TimedOut};
use Input::{Acquire, Ends, Heartbeat, Late, Release, Removed};
use Manner::{Forced, Orderly};

/// Holdings with the clock and the numbers of operations around them.
#[derive(Clone)]
struct Bench {
    policy: GroupPolicy,
    now: Time,
    operations: Operations,
    holdings: Holdings,
}

impl Bench {
    fn new(policy: GroupPolicy) -> Self {
        Self { policy, now: Time::START, operations: Operations::default(), holdings: Holdings::default() }
    }

    /// After these inputs.
    fn after(policy: GroupPolicy, inputs: &[Input]) -> Self {
        let mut bench = Self::new(policy);
        for input in inputs {
            bench.feed(*input);
        }
        bench
    }

    /// What is done, in words, and the state after it.
    fn feed(&mut self, input: Input) -> (String, String) {
        let mut actions = Vec::new();
        let mut turn =
            Turn { now: self.now, group: GroupIndex(0), row: Row::Ends, actions: &mut actions, operations: &mut self.operations };
        let (holdings, policy) = (&mut self.holdings, &self.policy);
        let under_way = holdings.held.get(&item()).and_then(|holding| op(&holding.stage));
        match input {
            Acquire => holdings.acquire(&mut turn, policy, &item(), 32, Epoch(7), Reason::Assigned),
            Ends(end) => holdings.finish(&mut turn, policy, &item(), under_way.expect("an operation is under way"), outcome(end)),
            Late(end) => holdings.finish(&mut turn, policy, &item(), OpId(999), outcome(end)),
            Release(Orderly) => holdings.release(&mut turn, policy, &item(), Reason::Drained, Orderly),
            Release(Forced) => holdings.release(&mut turn, policy, &item(), Reason::Duplicate, Forced),
            Removed => holdings.lose_address(&mut turn, policy, &policy.interface, &item()),
            Heartbeat => holdings.beat(&mut turn),
        }
        holdings.announce_due(&mut turn, policy);
        let state = self.holdings.held.get(&item()).map_or_else(|| "not serving".to_owned(), |holding| stage_words(&holding.stage));
        // Whoever waits is told by the operation that was begun last.
        let begun = actions.iter().filter_map(begun_by).next_back();
        if let Some(begun) = begun {
            assert_eq!(self.holdings.held.get(&item()).and_then(|holding| op(&holding.stage)), Some(begun));
        }
        (words(&actions), state)
    }
}

fn outcome(end: End) -> Outcome {
    match end {
        Done => Outcome::Done,
        Failed => Outcome::Failed { why: "no".to_owned() },
        TimedOut => Outcome::TimedOut,
    }
}

fn op(stage: &Stage) -> Option<OpId> {
    match stage {
        Stage::Adding { op, .. }
        | Stage::Preparing { op, .. }
        | Stage::Undoing { op, .. }
        | Stage::Restoring { op, .. }
        | Stage::Closing { op, .. }
        | Stage::Removing { op, .. } => Some(*op),
        Stage::Online | Stage::Stuck { .. } | Stage::UndoingStuck => None,
    }
}

fn begun_by(action: &Action) -> Option<OpId> {
    match action {
        Action::AddAddress { op, .. } | Action::RemoveAddress { op, .. } | Action::RunScript { op, .. } => Some(*op),
        Action::Announce { .. }
        | Action::Send { .. }
        | Action::PublishZone { .. }
        | Action::StoreGroup { .. }
        | Action::StoreIncarnation { .. }
        | Action::Report { .. }
        | Action::Reply { .. }
        | Action::EndGroup { .. }
        | Action::Exit { .. } => None,
    }
}

fn stage_words(stage: &Stage) -> String {
    let overtaken = |then: &Option<(Reason, Manner)>| then.map_or(String::new(), |(_, manner)| format!(", then {manner:?}"));
    match stage {
        Stage::Adding { then, .. } => format!("adding{}", overtaken(then)),
        Stage::Preparing { then, .. } => format!("preparing{}", overtaken(then)),
        Stage::Undoing { cause: Cause::Failed { .. }, .. } => "undoing a failure".to_owned(),
        Stage::Undoing { cause: Cause::Overtaken | Cause::Told, .. } => "undoing".to_owned(),
        Stage::UndoingStuck => "undoing, stuck".to_owned(),
        Stage::Online => "online".to_owned(),
        Stage::Restoring { then, .. } => format!("restoring{}", overtaken(then)),
        Stage::Closing { manner, .. } => format!("closing {manner:?}"),
        Stage::Removing { manner, .. } => format!("removing {manner:?}"),
        Stage::Stuck { manner, .. } => format!("stuck {manner:?}"),
    }
}

fn words(actions: &[Action]) -> String {
    let words: Vec<String> = actions
        .iter()
        // Beside each end of a script; a test of its own looks at them.
        .filter(|action| !matches!(action, Action::Report { report: Report::ScriptEnded { .. }, .. }))
        .map(|action| match action {
            Action::AddAddress { address, interface, .. } => {
                assert_eq!((*address, interface.as_str()), (ADDRESS, "svc0"));
                "add".to_owned()
            }
            Action::RemoveAddress { address, interface, .. } => {
                assert_eq!((*address, interface.as_str()), (ADDRESS, "svc0"));
                "remove".to_owned()
            }
            Action::RunScript { job, .. } => {
                assert_eq!((&job.item, job.prefix, job.epoch), (&item(), 32, Epoch(7)));
                format!("{} script ({})", job.action.as_str(), job.reason)
            }
            Action::Announce { addresses, .. } => {
                assert_eq!(addresses, &[ADDRESS]);
                "announce".to_owned()
            }
            Action::Report { report: Report::Acquired { .. }, .. } => "Acquired".to_owned(),
            Action::Report { report: Report::AcquireFailed { back_off, .. }, .. } => format!("AcquireFailed {back_off:?}"),
            Action::Report { report: Report::Released { reason, .. }, .. } => format!("Released ({reason})"),
            Action::Report { report: Report::ReleaseFailed { reason, .. }, .. } => format!("ReleaseFailed ({reason})"),
            Action::Report { report: Report::AddressLost { times, .. }, .. } => format!("AddressLost {times}"),
            Action::Report { .. }
            | Action::Send { .. }
            | Action::PublishZone { .. }
            | Action::StoreGroup { .. }
            | Action::StoreIncarnation { .. }
            | Action::Reply { .. }
            | Action::EndGroup { .. }
            | Action::Exit { .. } => panic!("not a holding's business: {action:?}"),
        })
        .collect();
    words.join(", ")
}

/// Input, actions, state after it.
type Rows<'a> = &'a [(Input, &'a str, &'a str)];

fn check(policy: &GroupPolicy, path: &[Input], rows: Rows<'_>) {
    let bench = Bench::after(policy.clone(), path);
    for (input, actions, state) in rows {
        let (done, after) = bench.clone().feed(*input);
        assert_eq!((done.as_str(), after.as_str()), (*actions, *state), "{path:?}, then {input:?}");
    }
}

/// A late answer, a heartbeat and another acquire change nothing in any state that waits.
fn check_waits(policy: &GroupPolicy, path: &[Input], state: &str) {
    for input in [Late(Done), Late(Failed), Late(TimedOut), Heartbeat, Acquire] {
        check(policy, path, &[(input, "", state)]);
    }
}

#[test]
fn not_serving() {
    for policy in [with_scripts(), without_scripts()] {
        check(
            &policy,
            &[],
            &[
                (Acquire, "add", "adding"),
                (Late(Done), "", "not serving"),
                (Late(Failed), "", "not serving"),
                (Release(Orderly), "", "not serving"),
                (Release(Forced), "", "not serving"),
                (Removed, "", "not serving"),
                (Heartbeat, "", "not serving"),
            ],
        );
    }
}

#[test]
fn acquiring_the_address_goes_on() {
    let path = [Acquire];
    check_waits(&with_scripts(), &path, "adding");
    check(
        &with_scripts(),
        &path,
        &[
            // Announced as soon as the kernel has confirmed it, since nobody else can answer.
            (Ends(Done), "acquire script (assigned), announce", "preparing"),
            (Ends(Failed), "remove", "undoing a failure"),
            (Ends(TimedOut), "remove", "undoing a failure"),
            (Release(Orderly), "", "adding, then Orderly"),
            (Release(Forced), "", "adding, then Forced"),
            (Removed, "", "adding"),
        ],
    );
    check(&without_scripts(), &path, &[(Ends(Done), "Acquired, announce", "online")]);
}

#[test]
fn acquiring_was_overtaken_while_the_address_goes_on() {
    for manner in [Orderly, Forced] {
        let path = [Acquire, Release(manner)];
        check_waits(&with_scripts(), &path, &format!("adding, then {manner:?}"));
        check(
            &with_scripts(),
            &path,
            &[
                // A script that a newer action has overtaken is not run, and the address is not announced.
                (Ends(Done), "remove", "undoing"),
                (Ends(Failed), "remove", "undoing a failure"),
                (Ends(TimedOut), "remove", "undoing a failure"),
                (Release(Forced), "", "adding, then Forced"),
                (Removed, "", &format!("adding, then {manner:?}")),
            ],
        );
    }
}

#[test]
fn acquiring_the_script_runs() {
    let path = [Acquire, Ends(Done)];
    check_waits(&with_scripts(), &path, "preparing");
    check(
        &with_scripts(),
        &path,
        &[
            (Ends(Done), "Acquired", "online"),
            (Ends(Failed), "remove", "undoing a failure"),
            (Ends(TimedOut), "remove", "undoing a failure"),
            (Release(Orderly), "", "preparing, then Orderly"),
            (Release(Forced), "", "preparing, then Forced"),
            (Removed, "AddressLost 1", "preparing"),
        ],
    );
}

#[test]
fn acquiring_was_overtaken_while_the_script_runs() {
    let path = [Acquire, Ends(Done), Release(Orderly)];
    check_waits(&with_scripts(), &path, "preparing, then Orderly");
    check(
        &with_scripts(),
        &path,
        &[
            (Ends(Done), "Acquired, release script (drained)", "closing Orderly"),
            (Ends(Failed), "remove", "undoing a failure"),
            (Ends(TimedOut), "remove", "undoing a failure"),
            (Release(Forced), "", "preparing, then Forced"),
        ],
    );
    check(&with_scripts(), &[Acquire, Ends(Done), Release(Forced)], &[(Ends(Done), "Acquired, remove", "removing Forced")]);
}

#[test]
fn an_address_that_others_removed_while_the_acquire_script_ran_is_put_back_when_it_has_ended() {
    check(
        &with_scripts(),
        &[Acquire, Ends(Done), Removed],
        &[(Ends(Done), "Acquired, add", "restoring"), (Ends(Failed), "remove", "undoing a failure"), (Removed, "", "preparing")],
    );
    check(
        &with_scripts(),
        &[Acquire, Ends(Done), Removed, Release(Orderly)],
        &[(Ends(Done), "Acquired, release script (drained)", "closing Orderly")],
    );
}

#[test]
fn a_failed_acquire_is_undone() {
    let path = [Acquire, Ends(Failed)];
    check_waits(&with_scripts(), &path, "undoing a failure");
    check(
        &with_scripts(),
        &path,
        &[
            (Ends(Done), "AcquireFailed 5s", "not serving"),
            (Ends(Failed), "AcquireFailed 5s", "undoing, stuck"),
            (Ends(TimedOut), "AcquireFailed 5s", "undoing, stuck"),
            (Release(Orderly), "", "undoing a failure"),
            (Release(Forced), "", "undoing a failure"),
            (Removed, "", "undoing a failure"),
        ],
    );
}

#[test]
fn an_overtaken_acquire_is_undone_without_a_back_off() {
    let path = [Acquire, Release(Orderly), Ends(Done)];
    check_waits(&with_scripts(), &path, "undoing");
    check(
        &with_scripts(),
        &path,
        &[
            (Ends(Done), "", "not serving"),
            (Ends(Failed), "ReleaseFailed (assigned)", "undoing, stuck"),
            (Release(Forced), "", "undoing"),
            (Removed, "", "undoing"),
        ],
    );
    let mut bench = Bench::after(with_scripts(), &path);
    bench.feed(Ends(Done));
    assert!(bench.holdings.failures().all().next().is_none());
}

#[test]
fn online() {
    let path = [Acquire, Ends(Done), Ends(Done)];
    check_waits(&with_scripts(), &path, "online");
    check(
        &with_scripts(),
        &path,
        &[
            (Release(Orderly), "release script (drained)", "closing Orderly"),
            (Release(Forced), "remove", "removing Forced"),
            (Removed, "AddressLost 1, add", "restoring"),
        ],
    );
    check(
        &without_scripts(),
        &[Acquire, Ends(Done)],
        &[(Release(Orderly), "remove", "removing Orderly"), (Release(Forced), "remove", "removing Forced")],
    );
}

#[test]
fn online_the_address_goes_on_again() {
    let path = [Acquire, Ends(Done), Ends(Done), Removed];
    check_waits(&with_scripts(), &path, "restoring");
    check(
        &with_scripts(),
        &path,
        &[
            (Ends(Done), "announce", "online"),
            (Ends(Failed), "remove", "removing Forced"),
            (Ends(TimedOut), "remove", "removing Forced"),
            (Release(Orderly), "", "restoring, then Orderly"),
            (Release(Forced), "", "restoring, then Forced"),
            (Removed, "", "restoring"),
        ],
    );
    check(
        &with_scripts(),
        &[Acquire, Ends(Done), Ends(Done), Removed, Release(Orderly)],
        &[
            (Ends(Done), "release script (drained)", "closing Orderly"),
            (Ends(Failed), "release script (drained)", "closing Orderly"),
            (Release(Forced), "", "restoring, then Forced"),
        ],
    );
}

#[test]
fn orderly_release_the_script_runs_then_the_address_goes_off_whatever_the_script_did() {
    let path = [Acquire, Ends(Done), Ends(Done), Release(Orderly)];
    check_waits(&with_scripts(), &path, "closing Orderly");
    check(
        &with_scripts(),
        &path,
        &[
            (Ends(Done), "remove", "removing Orderly"),
            (Ends(Failed), "remove", "removing Orderly"),
            (Ends(TimedOut), "remove", "removing Orderly"),
            (Release(Orderly), "", "closing Orderly"),
            (Removed, "", "closing Orderly"),
        ],
    );
    let path = [Acquire, Ends(Done), Ends(Done), Release(Orderly), Ends(Done)];
    check_waits(&with_scripts(), &path, "removing Orderly");
    check(
        &with_scripts(),
        &path,
        &[
            (Ends(Done), "Released (drained)", "not serving"),
            (Ends(Failed), "ReleaseFailed (drained)", "stuck Orderly"),
            (Ends(TimedOut), "ReleaseFailed (drained)", "stuck Orderly"),
            (Release(Forced), "", "removing Orderly"),
            (Removed, "", "removing Orderly"),
        ],
    );
    for end in [Failed, TimedOut] {
        check(
            &with_scripts(),
            &[Acquire, Ends(Done), Ends(Done), Release(Orderly), Ends(end)],
            &[(Ends(Done), "ReleaseFailed (drained), Released (drained)", "not serving")],
        );
    }
}

#[test]
fn forced_release_the_address_goes_off_then_the_script_runs() {
    let path = [Acquire, Ends(Done), Ends(Done), Release(Forced)];
    check_waits(&with_scripts(), &path, "removing Forced");
    check(
        &with_scripts(),
        &path,
        &[
            (Ends(Done), "release script (duplicate)", "closing Forced"),
            (Ends(Failed), "ReleaseFailed (duplicate)", "stuck Forced"),
            (Release(Orderly), "", "removing Forced"),
            (Removed, "", "removing Forced"),
        ],
    );
    let path = [Acquire, Ends(Done), Ends(Done), Release(Forced), Ends(Done)];
    check_waits(&with_scripts(), &path, "closing Forced");
    check(
        &with_scripts(),
        &path,
        &[
            (Ends(Done), "Released (duplicate)", "not serving"),
            (Ends(Failed), "ReleaseFailed (duplicate), Released (duplicate)", "not serving"),
            (Ends(TimedOut), "ReleaseFailed (duplicate), Released (duplicate)", "not serving"),
            (Release(Orderly), "", "closing Forced"),
            (Release(Forced), "", "closing Forced"),
            (Removed, "", "closing Forced"),
        ],
    );
    check(&without_scripts(), &[Acquire, Ends(Done), Release(Forced)], &[(Ends(Done), "Released (duplicate)", "not serving")]);
}

#[test]
fn a_stuck_removal_is_tried_again_at_the_heartbeat_and_told_once() {
    for (manner, reason) in [(Orderly, "drained"), (Forced, "duplicate")] {
        let mut path = vec![Acquire, Ends(Done), Release(manner), Ends(Failed)];
        let stuck = format!("stuck {manner:?}");
        check(
            &without_scripts(),
            &path,
            &[
                (Heartbeat, "remove", &format!("removing {manner:?}")),
                (Late(Done), "", &stuck),
                (Release(Orderly), "", &stuck),
                (Release(Forced), "", &stuck),
                (Acquire, "", &stuck),
                (Removed, "", &stuck),
            ],
        );
        for _ in 0..5 {
            path.push(Heartbeat);
            check(&without_scripts(), &path, &[(Ends(Failed), "", &stuck)]);
            path.push(Ends(Failed));
        }
        path.push(Heartbeat);
        let told = format!("ReleaseFailed ({reason}), Released ({reason})");
        check(&without_scripts(), &path, &[(Ends(Done), &told, "not serving")]);
    }
}

#[test]
fn a_failed_acquire_backs_off_five_seconds_and_twice_as_long_each_time() {
    for (policy, failing) in [(without_scripts(), vec![Ends(Failed)]), (with_scripts(), vec![Ends(Done), Ends(TimedOut)])] {
        let mut bench = Bench::new(policy);
        for back_off in ["5s", "10s", "20s", "40s", "80s", "160s", "300s", "300s"] {
            bench.feed(Acquire);
            for input in &failing {
                bench.feed(*input);
            }
            assert_eq!(bench.feed(Ends(Done)), (format!("AcquireFailed {back_off}"), "not serving".to_owned()));
        }
        bench.feed(Acquire);
        bench.feed(Ends(Done));
        if bench.policy.has_acquire_script {
            bench.feed(Ends(Done));
        }
        assert!(bench.holdings.failures().all().next().is_none(), "success ends the row");
    }
}

#[test]
fn an_acquire_whose_address_would_not_go_off_is_told_once_and_tried_again_at_the_heartbeat() {
    for path in [vec![Acquire, Ends(Failed), Ends(Failed)], vec![Acquire, Release(Orderly), Ends(Done), Ends(Failed)]] {
        check_stuck(path);
    }
}

fn check_stuck(mut path: Vec<Input>) {
    for _ in 0..3 {
        check(
            &without_scripts(),
            &path,
            &[
                (Late(Done), "", "undoing, stuck"),
                (Release(Orderly), "", "undoing, stuck"),
                (Release(Forced), "", "undoing, stuck"),
                (Acquire, "", "undoing, stuck"),
                (Removed, "", "undoing, stuck"),
                (Heartbeat, "remove", "undoing"),
            ],
        );
        path.push(Heartbeat);
        check(&without_scripts(), &path, &[(Ends(Failed), "", "undoing, stuck"), (Ends(Done), "", "not serving")]);
        path.push(Ends(Failed));
    }
}

#[test]
fn an_address_that_others_remove_more_than_three_times_is_given_away() {
    let mut bench = Bench::after(without_scripts(), &[Acquire, Ends(Done)]);
    for times in 1..=3 {
        assert_eq!(bench.feed(Removed), (format!("AddressLost {times}, add"), "restoring".to_owned()));
        assert_eq!(bench.feed(Ends(Done)), ("announce".to_owned(), "online".to_owned()));
        bench.now = bench.now.plus(Duration::from_millis(900));
    }
    assert_eq!(bench.feed(Removed), ("AddressLost 4, remove".to_owned(), "removing Forced".to_owned()));
    assert!(bench.holdings.failures().is_in_back_off(bench.now, &item()));
    assert_eq!(bench.feed(Ends(Done)), ("Released (removed-by-others)".to_owned(), "not serving".to_owned()));
}

#[test]
fn removals_that_are_far_apart_have_nothing_to_do_with_each_other() {
    let mut bench = Bench::after(without_scripts(), &[Acquire, Ends(Done)]);
    for _ in 0..20 {
        assert_eq!(bench.feed(Removed).0, "AddressLost 1, add");
        bench.feed(Ends(Done));
        bench.now = bench.now.plus(Duration::from_secs(60));
        bench.feed(Heartbeat);
    }
}

#[test]
fn an_address_that_is_removed_again_and_again_while_its_acquire_script_runs_is_given_away_when_it_has_ended() {
    let mut bench = Bench::after(with_scripts(), &[Acquire, Ends(Done), Ends(Done)]);
    for _ in 0..3 {
        bench.feed(Removed);
        bench.feed(Ends(Done));
    }
    assert_eq!(bench.feed(Removed).1, "removing Forced");
}

#[test]
fn leftovers_are_taken_off_before_anything_else() {
    for (policy, after) in [(without_scripts(), "not serving"), (with_scripts(), "closing Forced")] {
        let mut bench = Bench::new(policy.clone());
        let mut actions = Vec::new();
        let mut turn =
            Turn { now: bench.now, group: GroupIndex(0), row: Row::Ends, actions: &mut actions, operations: &mut bench.operations };
        bench.holdings.take_off_leftover(&mut turn, &policy, ADDRESS, Epoch(0));
        assert_eq!(words(&actions), "remove");
        let op = op(&bench.holdings.held[&item()].stage).unwrap();
        actions.clear();
        let mut turn =
            Turn { now: bench.now, group: GroupIndex(0), row: Row::Ends, actions: &mut actions, operations: &mut bench.operations };
        bench.holdings.finish(&mut turn, &policy, &item(), op, Outcome::Done);
        let state = bench.holdings.held.get(&item()).map_or_else(|| "not serving".to_owned(), |holding| stage_words(&holding.stage));
        assert_eq!(state, after);
    }
}

#[test]
fn announcements_begin_when_the_kernel_has_confirmed_and_end_before_the_address_goes_off() {
    let mut bench = Bench::new(with_scripts());
    let mut announced = Vec::new();
    let story =
        [Acquire, Heartbeat, Ends(Done), Heartbeat, Ends(Done), Heartbeat, Release(Orderly), Heartbeat, Ends(Done), Heartbeat, Ends(Done)];
    for input in story {
        bench.now = bench.now.plus(Duration::from_millis(200));
        announced.push(bench.feed(input).0.contains("announce"));
    }
    assert_eq!(announced, [false, false, true, true, true, true, false, false, false, false, false]);
    bench.now = bench.now.plus(Duration::from_secs(3600));
    assert_eq!(bench.feed(Heartbeat).0, "");
}

#[test]
fn with_announcements_left_to_the_scripts_nothing_is_announced() {
    let mut policy = with_scripts();
    policy.announce.method = AnnounceMethod::None;
    check(&policy, &[Acquire], &[(Ends(Done), "acquire script (assigned)", "preparing")]);
    check(&policy, &[Acquire, Ends(Done), Ends(Done), Removed], &[(Ends(Done), "", "online")]);
}

#[test]
fn data_sets_are_left_to_the_swarm() {
    let mut bench = Bench::new(without_scripts());
    let mut actions = Vec::new();
    let mut turn = Turn { now: bench.now, group: GroupIndex(0), row: Row::Ends, actions: &mut actions, operations: &mut bench.operations };
    bench.holdings.acquire(&mut turn, &bench.policy, &Item::DataSet("orders".to_owned()), 0, Epoch(1), Reason::Assigned);
    assert!(actions.is_empty() && bench.holdings.is_empty());
}
