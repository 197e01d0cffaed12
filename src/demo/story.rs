//! What the demo tells: a host of a running pool dies, another serves its address, it comes back.
//!
//! Owns the order of the scenes and what counts as success. All that it prints was seen by the client, the resolver or the
//! capture; it never asks raisd. Called by [`super::run`].
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::frames::{Frame, Frames};
use super::log::ObserverError;
use super::plan::Plan;
use super::pool::{Pool, PoolError, ZONE};
use super::probes::{Answer, Client, Outage, PATIENCE, ask, outages};
use super::resolver::Resolver;
use super::timeline::{Subject, Timeline};

/// The demo ends by itself in less than 30 s, whatever happens.
const LIMIT: Duration = Duration::from_secs(28);

/// One packet a millisecond: the resolution of what is measured.
const INTERVAL: Duration = Duration::from_millis(1);

/// Why the story did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoryError {
    /// The pool did not do what it is there for.
    #[error("{0}")]
    Failed(String),
    /// The machine cannot run a pool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// An observer is broken.
    #[error(transparent)]
    Observer(#[from] ObserverError),
    /// A socket of an observer, or the terminal.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Which hosts lose their power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Casualties {
    /// One, which serves.
    One,
    /// All: then nobody is left to take over, and the demo must say so.
    All,
}

/// The story so far.
pub(super) struct Story<'a, W> {
    pool: &'a mut Pool,
    timeline: &'a mut Timeline<W>,
    victim: Plan,
}

impl<'a, W: Write> Story<'a, W> {
    pub(super) fn new(pool: &'a mut Pool, timeline: &'a mut Timeline<W>) -> Self {
        // The first host: it also leads, so that the pool loses its leader as well.
        Self { pool, timeline, victim: Plan(1) }
    }

    pub(super) fn tell(&mut self, casualties: Casualties) -> Result<(), StoryError> {
        let frames = Frames::capture(self.pool.topology())?;
        self.start_pool()?;
        let server = self.pool.spare().own().into();
        let resolver = Resolver::start(self.pool.topology().client(), server, ZONE)?;
        self.wait_for_zone(&resolver, &self.addresses(), "holds all servers")?;
        let client = self.start_client()?;
        let taken = self.take_over(casualties, &client, &frames)?;
        let mut without_victim = self.addresses();
        without_victim.remove(&self.address());
        self.wait_for_zone(&resolver, &without_victim, "no longer sends anybody to the dead host")?;
        let home = self.come_back(&client, &frames)?;
        self.wait_for_zone(&resolver, &self.addresses(), "holds all servers again")?;
        let (taken, home) = (milliseconds(taken), milliseconds(home));
        let (address, victim) = (self.address(), self.victim.name());
        self.timeline.now(
            Subject::Result,
            format!("{victim} died and {address} was away for {taken}; {victim} came back and it was away for {home}"),
        )?;
        Ok(())
    }

    fn address(&self) -> IpAddr {
        self.victim.service().into()
    }

    fn addresses(&self) -> BTreeSet<IpAddr> {
        self.pool.servers().map(|plan| plan.service().into()).collect()
    }

    fn start_pool(&mut self) -> Result<(), StoryError> {
        let spare = self.pool.spare();
        let servers: Vec<_> = self.pool.servers().collect();
        for plan in servers.iter().copied().chain([spare]) {
            self.pool.start(plan)?;
        }
        let names: Vec<_> = servers.iter().map(|plan| plan.name()).collect();
        let text = format!("raisd starts on {} with an address each, and on {} without: the spare", names.join(", "), spare.name());
        self.timeline.now(Subject::Pool, text)?;
        let deadline = self.deadline(10 * self.pool.timeout() + Duration::from_secs(5));
        for plan in servers {
            loop {
                let by = ask(self.pool.topology().client(), plan.service().into(), Duration::from_millis(50))?;
                if by.as_ref() == Some(&plan.name()) {
                    self.timeline.now(Subject::Client, format!("{} is answered by {}", plan.service(), plan.name()))?;
                    break;
                }
                if Instant::now() >= deadline || !self.pool.casualties()?.is_empty() {
                    let seen = by.map_or_else(|| "nobody answers".to_owned(), |by| format!("{by} answers"));
                    return Err(self.failure(format!("{} should be served by {}, but {seen}", plan.service(), plan.name())));
                }
            }
        }
        Ok(())
    }

    fn start_client(&mut self) -> Result<Client, StoryError> {
        let (address, victim) = (self.address(), self.victim.name());
        let client = Client::start(self.pool.topology().client(), address, INTERVAL)?;
        self.timeline.now(Subject::Client, format!("sends 1,000 packets a second to {address}, from here on to the end"))?;
        // A second of peace, so that it can be seen that nothing else loses packets.
        let calm = Instant::now() + Duration::from_secs(1);
        if client.wait_answer(calm, self.deadline(Duration::from_secs(3)), |by| by == victim)?.is_none() {
            return Err(self.failure(format!("{victim} does not answer at {address} any more, and nobody has touched it")));
        }
        let lost = client.probes()?.iter().filter(|probe| probe.served_by(PATIENCE).is_none()).count();
        self.timeline.now(Subject::Client, format!("after a second: answered by {victim}, {lost} packets lost"))?;
        Ok(client)
    }

    /// Kills the victim; returns how long its address was away.
    fn take_over(&mut self, casualties: Casualties, client: &Client, frames: &Frames) -> Result<Duration, StoryError> {
        let (address, victim) = (self.address(), self.victim.name());
        let cut = Instant::now();
        self.timeline.now(Subject::Power, format!("{victim} dies: no link, no goodbye, its raisd killed by SIGKILL"))?;
        if casualties == Casualties::All {
            let others: Vec<_> = self.pool.servers().skip(1).chain([self.pool.spare()]).collect();
            for plan in others {
                self.timeline.now(Subject::Power, format!("{} dies as well", plan.name()))?;
                self.pool.power_off(plan)?;
            }
        }
        self.pool.power_off(self.victim)?;
        let limit = 5 * self.pool.timeout() + Duration::from_secs(2);
        let Some(answer) = client.wait_answer(cut, self.deadline(limit), |by| by != victim)? else {
            return Err(self.failure(format!("nobody took {address} over within {} s", limit.as_secs())));
        };
        self.tell_announcement(frames, cut, &answer)?;
        self.tell_outage(client, cut, &answer, &format!("{} serves the address of the dead {victim}", answer.by))
    }

    /// Switches the victim on again; returns how long its address was away on the way home.
    fn come_back(&mut self, client: &Client, frames: &Frames) -> Result<Duration, StoryError> {
        let victim = self.victim.name();
        let on = Instant::now();
        self.timeline.now(Subject::Power, format!("{victim} boots"))?;
        self.pool.power_on(self.victim)?;
        let limit = 10 * self.pool.timeout() + Duration::from_secs(5);
        let Some(answer) = client.wait_answer(on, self.deadline(limit), |by| by == victim)? else {
            return Err(self.failure(format!("{} did not go home to {victim}", self.address())));
        };
        self.tell_announcement(frames, on, &answer)?;
        self.tell_outage(client, on, &answer, &format!("{victim} serves its own address again"))
    }

    /// The frame that made the client follow.
    fn tell_announcement(&mut self, frames: &Frames, since: Instant, answer: &Answer) -> Result<(), StoryError> {
        let address = self.address();
        let of_it =
            |frame: &Frame| frame.at >= since && frame.port == answer.by && frame.is_announcement() && frame.claim.address() == address;
        // It was on the wire before the answer that it led to; the capture may be a moment behind.
        match frames.wait(self.deadline(Duration::from_secs(1)), of_it)? {
            Some(frame) => {
                let text = format!("{} tells all: {} (sent by {})", frame.port, frame.claim, frame.source);
                self.timeline.keep(frame.at, Subject::Wire, text);
                Ok(())
            }
            None => Err(self.failure(format!("{} serves {address} without having announced it", answer.by))),
        }
    }

    fn tell_outage(&mut self, client: &Client, since: Instant, answer: &Answer, what: &str) -> Result<Duration, StoryError> {
        // Until all that was lost is known to be lost.
        client.wait_answer(answer.at + 2 * PATIENCE, self.deadline(Duration::from_secs(2)), |_| true)?;
        let probes: Vec<_> = client.probes()?.into_iter().filter(|probe| probe.sent >= since).collect();
        let all = outages(&probes, PATIENCE);
        let lost: usize = all.iter().map(|outage| outage.lost).sum();
        let longest = all.iter().map(Outage::duration).max().unwrap_or_default();
        self.timeline.keep(answer.at, Subject::Client, format!("{what}: away for {}, {lost} packets lost", milliseconds(longest)));
        Ok(longest)
    }

    fn wait_for_zone(&mut self, resolver: &Resolver, wanted: &BTreeSet<IpAddr>, what: &str) -> Result<(), StoryError> {
        let server = self.pool.spare();
        let deadline = self.deadline(10 * self.pool.timeout() + Duration::from_secs(3));
        match resolver.wait(wanted, deadline)? {
            Ok(answer) => {
                let text = format!("{ZONE} {what}: {} (serial {}, {} says)", list(&answer.addresses), answer.serial, server.name());
                self.timeline.keep(answer.at, Subject::Dns, text);
                Ok(self.timeline.print()?)
            }
            Err(last) => {
                let last = last.map_or_else(|| "no answer".to_owned(), |answer| list(&answer.addresses));
                Err(self.failure(format!("{ZONE} should hold {}, but the last answer was: {last}", list(wanted))))
            }
        }
    }

    fn deadline(&self, duration: Duration) -> Instant {
        (Instant::now() + duration).min(self.timeline.started() + LIMIT)
    }

    /// What went wrong, with the daemons that ended if some did.
    fn failure(&mut self, text: String) -> StoryError {
        match self.pool.casualties() {
            Ok(casualties) => StoryError::Failed(casualties.into_iter().fold(text, |text, casualty| text + "\n" + &casualty)),
            Err(error) => StoryError::Pool(error),
        }
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    if addresses.is_empty() {
        return "nothing".to_owned();
    }
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
}
