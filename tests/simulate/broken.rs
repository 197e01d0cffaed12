//! Each checker is shown broken histories, made by hand or by a world that is sabotaged behind everybody's back, and must object;
//! and the same history unbroken, to which it must not.

use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use raisd::node::action::Report;
use raisd::node::event::{Event, Mark};
use raisd::types::host::{BootId, Duty, Role};
use raisd::types::item::{Item, ServiceAddress};
use raisd::types::message::MessageKind;
use raisd::types::policy::{Assign, Failback, WhenEmpty};
use raisd::types::time::Time;

use crate::checkers::{Checkers, Judgement};
use crate::machine::Number;
use crate::play::Play;
use crate::schedule::Schedule;
use crate::seen::{Seen, What};
use crate::setting::{Member, Setting};
use crate::setup::address;
use crate::situation::Situation;
use crate::truth::Truth;
use crate::world::World;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("announced_objects_to_an_address_that_is_not_there", announced),
        Trial::test("bounds_objects_to_chatter_and_to_long_datagrams", bounds),
        Trial::test("doubles_objects_to_two_holders_without_cause_or_after_their_bound", doubles),
        Trial::test("moves_objects_to_a_move_without_cause_and_to_a_cycle", moves),
        Trial::test("quiesced_objects_to_what_comes_to_a_quiesced_host", quiesced),
        Trial::test("rest_objects_to_everything_that_is_out_of_place", rest),
        Trial::test("zone_objects_to_serials_that_go_back_and_to_other_answers", zone),
        Trial::test("a_healthy_world_is_not_objected_to", || sabotaged(None, |_| {})),
        Trial::test("an_address_that_two_machines_have_is_noticed", || sabotaged(Some("rest"), put_twice)),
        Trial::test("an_address_that_is_gone_in_silence_is_noticed", || sabotaged(Some("rest"), take_off)),
        Trial::test("a_name_server_that_answers_otherwise_is_noticed", || sabotaged(Some("zone"), answer_otherwise)),
        Trial::test("a_stop_that_nobody_ordered_is_noticed", || sabotaged(Some("moves"), quiet_failure)),
    ]
}

/// Three hosts with an address each, at home.
struct History {
    truth: Truth,
    checkers: Checkers,
}

fn setting() -> Setting {
    let member = |number| Member { number, role: Role::Server, preferred: vec![address(number)] };
    Setting {
        heartbeat: Duration::from_millis(250),
        timeout: Duration::from_secs(1),
        script_timeout: Duration::from_secs(2),
        assign: Assign::Random,
        failback: Failback::After(Duration::ZERO),
        scripts: false,
        when_empty: WhenEmpty::Nodata,
        members_max: 0,
        members: (1..=3).map(member).collect(),
        floating: Vec::new(),
    }
}

fn at(seconds: u64) -> Time {
    Time::after_start(Duration::from_secs(seconds))
}

/// Long after everything has come to rest.
const LATE: u64 = 100;

impl History {
    fn new() -> Result<Self, Failed> {
        let mut history = Self { truth: Truth::new(&setting()), checkers: Checkers::default() };
        for host in 1..=3 {
            history.pass(0, host, What::Starts)?;
            history.pass(1, host, What::On { address: address(host), mark: Mark::Ours })?;
            history.pass(2, host, answers(1, &[1, 2, 3]))?;
        }
        Ok(history)
    }

    fn see(&mut self, seconds: u64, host: Number, what: What) -> Judgement {
        let seen = Seen { host, what };
        self.truth.see(at(seconds), &seen);
        self.checkers.see(at(seconds), &seen, &self.truth)
    }

    fn pass(&mut self, seconds: u64, host: Number, what: What) -> Result<(), Failed> {
        let words = format!("{what:?}");
        self.see(seconds, host, what).map_err(|objection| format!("{words}: {objection:?}").into())
    }

    fn judge(&mut self, seconds: u64) -> Judgement {
        self.checkers.judge_rest(at(seconds), &self.truth)
    }
}

fn answers(serial: u32, advertised: &[u16]) -> What {
    What::Answers { boot: BootId([1; 16]), serial, advertised: advertised.iter().copied().map(address).collect() }
}

fn on(number: u16) -> What {
    What::On { address: address(number), mark: Mark::Ours }
}

fn off(number: u16) -> What {
    What::Off { address: address(number) }
}

/// The checker objected.
fn objects(judgement: &Judgement, by: &str, part: &str) -> Result<(), Failed> {
    match judgement {
        Err(objection) if objection.by == by && objection.why.contains(part) => Ok(()),
        Err(objection) => Err(format!("{by} was to object with {part:?}: {objection:?}").into()),
        Ok(()) => Err(format!("{by} does not object: {part:?}").into()),
    }
}

fn content(judgement: Judgement) -> Result<(), Failed> {
    judgement.map_err(|objection| format!("{objection:?}").into())
}

fn announced() -> Result<(), Failed> {
    let mut history = History::new()?;
    history.pass(3, 1, What::Announced { address: address(1), is_on: true })?;
    objects(&history.see(3, 1, What::Announced { address: address(2), is_on: false }), "announced", "does not have")
}

fn bounds() -> Result<(), Failed> {
    let mut history = History::new()?;
    let sent = |members_max| What::Sent { kind: MessageKind::Info, datagrams: 1, members_max };
    for _ in 0..4 {
        history.pass(LATE, 1, sent(10))?;
    }
    objects(&history.see(LATE, 1, sent(200)), "bounds", "200 members")?;
    objects(&history.see(LATE, 1, What::Packed { bytes_max: 1233 }), "bounds", "1233 bytes")?;
    let chatter = (0..40).map(|_| history.see(LATE, 1, sent(10))).find(Result::is_err);
    objects(&chatter.unwrap_or(Ok(())), "bounds", "at most")
}

fn doubles() -> Result<(), Failed> {
    let mut history = History::new()?;
    history.truth.disturb(at(10));
    history.pass(10, 2, on(1))?;
    objects(&history.see(11, 2, off(1)), "doubles", "nothing excuses it")?;
    // The same during a partition, and shortly after.
    let mut history = History::new()?;
    history.truth.disturb(at(10));
    history.truth.situations.begin(at(9), Situation::Partition, None);
    history.pass(10, 2, on(1))?;
    history.truth.situations.end(at(20), Situation::Partition, None);
    history.pass(21, 2, off(1))?;
    history.truth.disturb(at(21));
    // But not for good.
    let mut history = History::new()?;
    history.truth.disturb(at(10));
    history.truth.situations.begin(at(9), Situation::Partition, None);
    history.pass(10, 2, on(1))?;
    history.truth.situations.end(at(20), Situation::Partition, None);
    objects(&history.checkers.end(at(60), &history.truth), "doubles", "nothing excuses it")?;
    // A hang excuses who hangs, and nobody else.
    let mut history = History::new()?;
    history.truth.disturb(at(10));
    history.truth.situations.begin(at(9), Situation::Hung, Some(3));
    history.pass(10, 2, on(1))?;
    objects(&history.see(11, 2, off(1)), "doubles", "nothing excuses it")
}

fn moves() -> Result<(), Failed> {
    let mut history = History::new()?;
    objects(&history.see(LATE, 1, off(1)), "moves", "gives 192.0.2.1 up without cause")?;
    let mut history = History::new()?;
    history.truth.disturb(at(10));
    history.pass(10, 1, off(1))?;
    objects(&history.see(LATE, 2, on(1)), "moves", "takes 192.0.2.1 without cause")?;
    // Home, late, is no move without cause; home twice is a cycle.
    let mut history = History::new()?;
    history.truth.disturb(at(10));
    history.pass(10, 1, off(1))?;
    history.pass(LATE, 1, on(1))?;
    objects(&history.see(LATE + 1, 1, on(1)), "moves", "again")
}

fn quiesced() -> Result<(), Failed> {
    let mut history = History::new()?;
    history.truth.disturb(at(10));
    if let Some(host) = history.truth.hosts.get_mut(&2) {
        (host.duty, host.duty_since) = (Duty::Quiesced, at(10));
    }
    history.pass(10, 1, off(1))?;
    // What it had it may put back.
    history.pass(11, 2, off(2))?;
    history.pass(11, 2, on(2))?;
    objects(&history.see(12, 2, on(1)), "quiesced", "although it is Quiesced")
}

fn rest() -> Result<(), Failed> {
    let mut history = History::new()?;
    content(history.judge(LATE))?;
    history.truth.disturb(at(10));
    history.pass(10, 1, off(1))?;
    objects(&history.judge(LATE), "rest", "nobody has 192.0.2.1")?;
    history.pass(10, 2, on(1))?;
    objects(&history.judge(LATE), "rest", "its home h1 is fit")?;
    history.pass(10, 1, What::On { address: address(1), mark: Mark::Foreign })?;
    objects(&history.judge(LATE), "rest", "all have 192.0.2.1")?;
    // Expired: nobody may have it, although it has no home any more.
    let mut history = History::new()?;
    history.truth.disturb(at(10));
    history.pass(10, 1, What::Ends)?;
    history.pass(11, 1, off(1))?;
    history.pass(12, 3, What::Reported(Report::Expired { item: Item::Address(address(1)), why: String::new() }))?;
    content(crate::checkers::rest::judge(at(LATE), &history.truth))?;
    history.pass(13, 2, on(1))?;
    objects(&history.judge(LATE), "rest", "has expired")?;
    // Unfit, and draining with others who could take it.
    for (change, part) in [((false, Duty::Active), "is not fit to"), ((true, Duty::Draining), "is draining")] {
        let mut history = History::new()?;
        history.truth.disturb(at(10));
        if let Some(host) = history.truth.hosts.get_mut(&2) {
            (host.test_passes, host.duty) = change;
        }
        objects(&history.judge(LATE), "rest", part)?;
    }
    Ok(())
}

fn zone() -> Result<(), Failed> {
    let mut history = History::new()?;
    content(history.judge(LATE))?;
    history.pass(5, 1, answers(2, &[1, 2, 3]))?;
    objects(&history.judge(LATE), "zone", "h2 answers")?;
    objects(&history.see(6, 1, answers(1, &[1, 2, 3])), "zone", "after 2")?;
    let mut history = History::new()?;
    for host in 1..=3 {
        history.pass(5, host, answers(2, &[1, 2]))?;
    }
    objects(&history.judge(LATE), "zone", "at home and well are")?;
    let mut history = History::new()?;
    history.pass(5, 2, answers(1, &[1, 2]))?;
    history.pass(5, 2, answers(1, &[1, 2, 3]))?;
    objects(&history.judge(LATE), "zone", "two lists")
}

/// A pool on which nothing befalls, in which the world does something that nobody has ordered.
fn sabotaged(by: Option<&str>, act: fn(&mut World)) -> Result<(), Failed> {
    let lasts = Duration::from_secs(40);
    let schedule = Schedule { seed: 1, setting: setting(), faults: Vec::new(), peace: lasts, lasts };
    let mut play = Play::new(&schedule);
    play.sabotage = Some((at(20), act));
    let judgement = play.run();
    match by {
        None => content(judgement),
        Some(by) => objects(&judgement, by, ""),
    }
}

fn put_twice(world: &mut World) {
    let number: IpAddr = address(1);
    world.machine(2).interface.insert(ServiceAddress::host(number), Mark::Ours);
    // As if a fault had come: whoever judges moves looks away.
    world.note(2, What::Starts);
    world.note(2, What::On { address: number, mark: Mark::Ours });
}

/// The daemon is not told.
fn take_off(world: &mut World) {
    world.machine(3).interface.remove(&ServiceAddress::host(address(3)));
    world.note(2, What::Starts);
    world.note(3, What::Off { address: address(3) });
}

fn answer_otherwise(world: &mut World) {
    world.note(2, answers(1000, &[1]));
}

/// A test fails of which the onlooker does not know.
fn quiet_failure(world: &mut World) {
    let result = raisd::node::event::TestResult::Failed { why: "sabotage".to_owned() };
    world.tell(3, Event::Tested { test: "web".to_owned(), result });
}
