//! A client that sends probes to a service address, and the servers that answer with their host's name.
//!
//! Owns the sockets of both and the log of what was sent and answered. The client is an ordinary one: the kernel's own ARP
//! cache decides where its packets go. Never asks raisd anything. Called by the demo and the netns tests.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::io;
use std::io::{IoSlice, IoSliceMut, PipeReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Socket, Type};

use super::log::{Background, Log, ObserverError, instant_of};
use super::namespace::Namespace;

/// Where the servers answer: the echo port (RFC 862), with a name behind what was sent.
const PORT: u16 = 7;

/// An answer that takes longer is none: whoever waited has given up or sent again.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// What of a server was heard, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// When the kernel took the answer in.
    pub at: Instant,
    /// The name of the host that answered.
    pub by: String,
}

/// One probe; its number is its place in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// When it was handed to the kernel.
    pub sent: Instant,
    /// The first answer.
    pub answer: Option<Answer>,
}

impl Probe {
    /// The host that answered in time.
    #[must_use]
    pub fn served_by(&self, patience: Duration) -> Option<&str> {
        let answer = self.answer.as_ref()?;
        (answer.at.saturating_duration_since(self.sent) <= patience).then_some(&answer.by)
    }
}

/// A time in which no probe was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outage {
    /// When the first probe without an answer was sent.
    pub from: Instant,
    /// When the next probe that was answered was sent, or the last one of all.
    pub until: Instant,
    /// How many probes were lost.
    pub lost: usize,
}

impl Outage {
    /// How long.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.until.saturating_duration_since(self.from)
    }
}

/// All outages of a log, in order. Probes younger than `patience` at the end of the log may still be answered: cut them off before.
#[must_use]
pub fn outages(probes: &[Probe], patience: Duration) -> Vec<Outage> {
    let mut all = Vec::new();
    let mut current: Option<Outage> = None;
    for probe in probes {
        match (probe.served_by(patience), &mut current) {
            (Some(_), current) => all.extend(current.take().map(|outage| Outage { until: probe.sent, ..outage })),
            (None, Some(outage)) => {
                outage.lost += 1;
                outage.until = probe.sent;
            }
            (None, None) => current = Some(Outage { from: probe.sent, until: probe.sent, lost: 1 }),
        }
    }
    all.extend(current);
    all
}

/// Who answered, in order: each change of host with the first answer of it.
#[must_use]
pub fn servers(probes: &[Probe], patience: Duration) -> Vec<Answer> {
    let mut all: Vec<Answer> = Vec::new();
    for probe in probes {
        let Some(by) = probe.served_by(patience) else { continue };
        if all.last().is_none_or(|last| last.by != by) {
            all.extend(probe.answer.clone());
        }
    }
    all
}

/// A client that sends probes at a steady rate until it is dropped.
#[derive(Debug)]
pub struct Client {
    log: Arc<Log<Probe>>,
    thread: Background,
}

impl Client {
    /// Starts to send probes to `address` from inside `namespace`, one every `interval`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(namespace: &Namespace, address: IpAddr, interval: Duration) -> io::Result<Self> {
        let socket = namespace.run(|| client_socket(address))??;
        let log = Arc::new(Log::new("the client"));
        let target = SocketAddr::new(address, PORT);
        let thread = Background::start(&log, move |log, stop| Sender { socket, target, interval }.run(log, stop))?;
        Ok(Self { log, thread })
    }

    /// Waits until a probe sent at or after `since` is answered by a host that `wanted` accepts. `None` at the deadline.
    ///
    /// # Errors
    /// That the client has stopped.
    pub fn wait_answer(&self, since: Instant, deadline: Instant, wanted: impl Fn(&str) -> bool) -> Result<Option<Answer>, ObserverError> {
        // Each look goes on where the last one found only probes older than `since`.
        let mut start = 0;
        self.log.wait(deadline, |probes| {
            while probes.get(start).is_some_and(|probe| probe.sent < since) {
                start += 1;
            }
            probes.get(start..)?.iter().filter_map(|probe| probe.answer.as_ref()).find(|answer| wanted(&answer.by)).cloned()
        })
    }

    /// The probes so far that were sent at least [`PATIENCE`] ago.
    ///
    /// # Errors
    /// That the client has stopped.
    pub fn probes(&self) -> Result<Vec<Probe>, ObserverError> {
        let now = Instant::now();
        self.log.read(|all| {
            let old = all.partition_point(|probe| now.saturating_duration_since(probe.sent) > PATIENCE);
            all.get(..old).unwrap_or_default().to_vec()
        })
    }

    /// Stops to send, waits [`PATIENCE`] for the last answers, and returns the whole log.
    ///
    /// # Errors
    /// That the client had stopped before.
    pub fn finish(mut self) -> Result<Vec<Probe>, ObserverError> {
        self.thread.finish();
        self.log.read(<[Probe]>::to_vec)
    }
}

/// Sends one probe and waits for its answer: the name of the host that answers at `address`, if one does in time.
///
/// # Errors
/// What the kernel says.
pub fn ask(namespace: &Namespace, address: IpAddr, timeout: Duration) -> io::Result<Option<String>> {
    let socket = namespace.run(|| client_socket(address))??;
    match socket.send_to(&0u64.to_be_bytes(), SocketAddr::new(address, PORT)) {
        Ok(_) => {}
        Err(error) if is_unreachable(&error) => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    ppoll(&mut fds, Some(TimeSpec::from_duration(timeout)), None)?;
    Ok(receive_answer(&socket)?.map(|(_, answer)| answer.by))
}

fn client_socket(address: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    Ok(socket)
}

/// Errors of a send that mean "nobody is there", which is what a client is there to find out.
fn is_unreachable(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    matches!(errno, Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::ECONNREFUSED | Errno::EAGAIN | Errno::ENOBUFS | Errno::ENETDOWN)
}

struct Sender {
    socket: UdpSocket,
    target: SocketAddr,
    interval: Duration,
}

impl Sender {
    fn run(&self, log: &Log<Probe>, stop: &PipeReader) -> io::Result<()> {
        let mut next = Instant::now();
        let mut stop_at: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if stop_at.is_some_and(|end| now >= end) {
                return Ok(());
            }
            if stop_at.is_none() && now >= next {
                self.send(log)?;
                // A client that was held up goes on at its rate and does not catch up.
                next = (next + self.interval).max(now);
            }
            let wake = stop_at.unwrap_or(next);
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::empty())];
            // After the stop its pipe is always ready; only answers and the end are waited for.
            let watched = if stop_at.is_none() { fds.as_mut_slice() } else { &mut fds[..1] };
            let left = TimeSpec::from_duration(wake.saturating_duration_since(Instant::now()));
            match ppoll(watched, Some(left), None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [_, stopped] = fds;
            if stop_at.is_none() && stopped.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
                stop_at = Some(Instant::now() + PATIENCE);
            }
            while let Some((number, answer)) = receive_answer(&self.socket)? {
                log.update(|probes| {
                    let probe = usize::try_from(number).ok().and_then(|number| probes.get_mut(number));
                    if let Some(probe) = probe {
                        probe.answer.get_or_insert(answer);
                    }
                });
            }
        }
    }

    fn send(&self, log: &Log<Probe>) -> io::Result<()> {
        // In the log before it is on the wire: its answer may be back before the next line runs.
        let number = log.update(|probes| {
            probes.push(Probe { sent: Instant::now(), answer: None });
            probes.len() - 1
        });
        match self.socket.send_to(&u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes(), self.target) {
            Ok(_) => Ok(()),
            Err(error) if is_unreachable(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The next answer in the queue, with the number of its probe.
fn receive_answer(socket: &UdpSocket) -> io::Result<Option<(u64, Answer)>> {
    let mut buffer = [0; 128];
    let mut control = cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let received = match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT) {
        Ok(received) => received,
        Err(Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stamp =
        received.cmsgs()?.find_map(|message| if let ControlMessageOwned::ScmTimestampns(stamp) = message { Some(stamp) } else { None });
    let bytes = received.bytes;
    let at = stamp.map_or_else(Instant::now, instant_of);
    let datagram = buffer.get(..bytes).unwrap_or_default();
    let Some((number, name)) = datagram.split_first_chunk() else { return Ok(None) };
    let by = String::from_utf8_lossy(name).into_owned();
    Ok(Some((u64::from_be_bytes(*number), Answer { at, by })))
}

/// The servers of one host: they answer at every address that the host has, with its name.
#[derive(Debug)]
pub struct Echo {
    log: Arc<Log<()>>,
    _thread: Background,
}

impl Echo {
    /// Starts to answer inside `namespace`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(namespace: &Namespace, name: &str) -> io::Result<Self> {
        let sockets = namespace.run(|| io::Result::Ok([echo_socket(Domain::IPV4)?, echo_socket(Domain::IPV6)?]))??;
        let log = Arc::new(Log::new("echo"));
        let name = name.to_owned();
        let thread = Background::start(&log, move |_, stop| echo(&sockets, &name, stop))?;
        Ok(Self { log, _thread: thread })
    }

    /// Whether it still answers.
    ///
    /// # Errors
    /// That it has stopped.
    pub fn check(&self) -> Result<(), ObserverError> {
        self.log.read(|_| ())
    }
}

fn echo_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    let any: SocketAddr = if domain == Domain::IPV4 {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        (Ipv4Addr::UNSPECIFIED, PORT).into()
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.set_only_v6(true)?;
        (Ipv6Addr::UNSPECIFIED, PORT).into()
    };
    socket.bind(&any.into())?;
    Ok(socket)
}

fn echo(sockets: &[Socket; 2], name: &str, stop: &PipeReader) -> io::Result<()> {
    loop {
        let [v4, v6] = sockets;
        let mut fds = [
            PollFd::new(v4.as_fd(), PollFlags::POLLIN),
            PollFd::new(v6.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [_, _, stopped] = fds;
        if stopped.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
            return Ok(());
        }
        for socket in sockets {
            while echo_one(socket, name)? {}
        }
    }
}

/// Answers one probe from the address that it was sent to. `false`: none is there.
fn echo_one(socket: &Socket, name: &str) -> io::Result<bool> {
    let mut buffer = [0; 64];
    let mut control = cmsg_space!(libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let received = match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT) {
        Ok(received) => received,
        Err(Errno::EAGAIN) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let asked = received.cmsgs()?.next();
    let (bytes, from) = (received.bytes, received.address);
    let probe = buffer.get(..bytes).unwrap_or_default();
    let answer = [IoSlice::new(probe), IoSlice::new(name.as_bytes())];
    let sent = match asked {
        Some(ControlMessageOwned::Ipv4PacketInfo(info)) => {
            let source = [ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: info.ipi_addr, ..info })];
            sendmsg(socket.as_raw_fd(), &answer, &source, MsgFlags::MSG_DONTWAIT, from.as_ref())
        }
        Some(ControlMessageOwned::Ipv6PacketInfo(info)) => {
            sendmsg(socket.as_raw_fd(), &answer, &[ControlMessage::Ipv6PacketInfo(&info)], MsgFlags::MSG_DONTWAIT, from.as_ref())
        }
        Some(_) | None => return Err(io::Error::other("the kernel did not say which address was asked")),
    };
    match sent.map_err(io::Error::from) {
        Ok(_) => Ok(true),
        // The address went away between question and answer, or the client did.
        Err(error) if is_unreachable(&error) || error.raw_os_error() == Some(libc::EINVAL) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(pattern: &str) -> (Instant, Vec<Probe>) {
        let start = Instant::now();
        let probes = pattern.chars().zip(0u64..).map(|(by, number)| {
            let sent = start + Duration::from_millis(number);
            Probe { sent, answer: (by != '.').then(|| Answer { at: sent, by: by.to_string() }) }
        });
        (start, probes.collect())
    }

    #[test]
    fn an_outage_lasts_from_the_first_lost_probe_to_the_next_answered_one() {
        let (start, probes) = log("aa...bb.b");
        let at = |ms| start + Duration::from_millis(ms);
        let expected = [Outage { from: at(2), until: at(5), lost: 3 }, Outage { from: at(7), until: at(8), lost: 1 }];
        assert_eq!(outages(&probes, PATIENCE), expected);
    }

    #[test]
    fn an_outage_at_the_end_counts() {
        let (_, probes) = log("a....");
        assert_eq!(outages(&probes, PATIENCE).last().map(|outage| outage.lost), Some(4));
    }

    #[test]
    fn an_answer_that_comes_too_late_is_none() {
        let (start, mut probes) = log("aaa");
        probes[1].answer = Some(Answer { at: start + PATIENCE * 2, by: "a".to_owned() });
        assert_eq!(outages(&probes, PATIENCE).len(), 1);
        assert_eq!(outages(&probes, PATIENCE * 3).len(), 0);
    }

    #[test]
    fn a_client_that_was_held_up_sees_no_outage() {
        let (_, mut probes) = log("aa");
        probes[1].sent += Duration::from_secs(1);
        probes[1].answer.as_mut().unwrap().at += Duration::from_secs(1);
        assert_eq!(outages(&probes, PATIENCE), []);
    }

    #[test]
    fn servers_are_told_in_order_once_a_change() {
        let (_, probes) = log("aa..bb.ba");
        let names: Vec<_> = servers(&probes, PATIENCE).into_iter().map(|answer| answer.by).collect();
        assert_eq!(names, ["a", "b", "a"]);
    }
}
