//! A resolver that asks one of the pool's name servers over UDP, again and again, and notes when its answer changes.
//!
//! Owns a socket in the client's namespace and the log of answers; one question is out at a time. Never caches, and never asks
//! anybody else. Called by the demo.
#![expect(clippy::disallowed_methods, reason = "an observer outside of the protocol measures time")]

use std::collections::BTreeSet;
use std::io::{self, PipeReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::log::{Background, Log, ObserverError};
use super::namespace::Namespace;

/// What a zone holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// When it was complete.
    pub at: Instant,
    /// The addresses of the zone's name.
    pub addresses: BTreeSet<IpAddr>,
    /// The zone's serial.
    pub serial: u32,
}

/// A resolver that asks until it is dropped.
#[derive(Debug)]
pub struct Resolver {
    log: Arc<Log<Answer>>,
    _thread: Background,
}

impl Resolver {
    /// Starts to ask `server`, from inside `namespace`, for the IPv4 addresses of a zone's name and its serial.
    ///
    /// # Errors
    /// What the kernel says; `InvalidInput` if the name is none.
    pub fn start(namespace: &Namespace, server: IpAddr, zone: &str) -> io::Result<Self> {
        let name = Name::from_ascii(zone).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let socket = namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        socket.set_nonblocking(true)?;
        let log = Arc::new(Log::new("the zone"));
        let thread = Background::start(&log, move |log, stop| Asker { socket, server, name }.run(log, stop))?;
        Ok(Self { log, _thread: thread })
    }

    /// Waits until the zone holds exactly these addresses. At the deadline: the last answer, if there ever was one.
    ///
    /// # Errors
    /// That the resolver has stopped.
    pub fn wait(&self, wanted: &BTreeSet<IpAddr>, deadline: Instant) -> Result<Result<Answer, Option<Answer>>, ObserverError> {
        let found = self.log.wait(deadline, |all| all.last().filter(|answer| answer.addresses == *wanted).cloned())?;
        match found {
            Some(answer) => Ok(Ok(answer)),
            None => Ok(Err(self.log.read(|all| all.last().cloned())?)),
        }
    }
}

struct Asker {
    socket: UdpSocket,
    server: IpAddr,
    name: Name,
}

impl Asker {
    fn run(&self, log: &Log<Answer>, stop: &PipeReader) -> io::Result<()> {
        // A hundredth of what a client would keep the answer for, and twice the resolution that is printed.
        const INTERVAL: Duration = Duration::from_millis(10);
        let mut last: Option<Answer> = None;
        loop {
            if let Some(answer) = self.ask_zone()? {
                let same = |last: &Answer| last.addresses == answer.addresses && last.serial == answer.serial;
                if !last.as_ref().is_some_and(same) {
                    log.extend([answer.clone()]);
                    last = Some(answer);
                }
            }
            let mut fds = [PollFd::new(stop.as_fd(), PollFlags::empty())];
            match ppoll(&mut fds, Some(TimeSpec::from_duration(INTERVAL)), None) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Addresses and serial. The serial is asked first and last, so that the two belong together.
    fn ask_zone(&self) -> io::Result<Option<Answer>> {
        let Some(before) = self.ask_serial()? else { return Ok(None) };
        let Some(answer) = self.ask(RecordType::A)? else { return Ok(None) };
        let at = Instant::now();
        if self.ask_serial()? != Some(before) {
            return Ok(None);
        }
        let addresses = answer.answers.iter().filter_map(|record| if let RData::A(a) = record.data { Some(a.0.into()) } else { None });
        Ok(Some(Answer { at, addresses: addresses.collect(), serial: before }))
    }

    fn ask_serial(&self) -> io::Result<Option<u32>> {
        let answer = self.ask(RecordType::SOA)?;
        Ok(answer.and_then(|answer| {
            answer.answers.iter().find_map(|record| if let RData::SOA(soa) = &record.data { Some(soa.serial) } else { None })
        }))
    }

    /// One question; `None` if there is no answer in time, or an error of the server.
    fn ask(&self, kind: RecordType) -> io::Result<Option<Message>> {
        // A name server on the same switch answers in less than a millisecond.
        let deadline = Instant::now() + Duration::from_millis(200);
        let mut question = Message::query();
        question.add_query(Query::query(self.name.clone(), kind));
        let bytes = question.to_vec().map_err(io::Error::other)?;
        match self.socket.send_to(&bytes, SocketAddr::new(self.server, 53)) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => return Ok(None),
            Err(error) => return Err(error),
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None) {
                Ok(0) if left.is_zero() => return Ok(None),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut buffer = [0; 4096];
            let (length, from) = match self.socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            // An answer to an earlier question, or not from whom it was asked, is no answer.
            let answer = Message::from_vec(buffer.get(..length).unwrap_or_default());
            let Some(answer) = answer.ok().filter(|answer| from.ip() == self.server && answer.metadata.id == question.metadata.id) else {
                continue;
            };
            return Ok((answer.metadata.response_code == ResponseCode::NoError).then_some(answer));
        }
    }
}
