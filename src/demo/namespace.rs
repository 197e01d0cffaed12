//! A network namespace without a name: it lives as long as somebody holds it.
//!
//! Owns two file descriptors: the namespace, and a netlink socket made inside it, over which interfaces and addresses are set
//! from outside, one request at a time. Never runs in the daemon. Called by the topology, and by whoever wants a socket or a
//! program inside.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::{Child, Command, Output};
use std::sync::{Mutex, PoisonError};
use std::thread;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

/// `NLM_F_DUMP_INTR`: the table changed while it was dumped.
const DUMP_INTERRUPTED: u16 = 0x10;

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    netlink: Mutex<Netlink>,
}

#[derive(Debug)]
struct Netlink {
    socket: Socket,
    /// Of the newest request: what is left of an earlier one that failed half-way is known by another number.
    sequence: u32,
}

/// What a netlink request does with what is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Makes what must not exist.
    Create,
    /// Makes or changes.
    Replace,
    /// Changes, removes or asks for one thing.
    Change,
    /// Asks for all things of a kind.
    Dump,
}

impl Intent {
    fn flags(self) -> u16 {
        NLM_F_REQUEST
            | match self {
                Self::Create => NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                Self::Replace => NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
                Self::Change => NLM_F_ACK,
                Self::Dump => NLM_F_DUMP,
            }
    }
}

impl Namespace {
    /// Makes one, with its loopback up.
    ///
    /// # Errors
    /// What the kernel says, mostly that the caller has no capability in its user namespace.
    pub fn create() -> io::Result<Self> {
        // A thread may be in another network namespace than its process; the namespace outlives it through the file.
        let namespace = in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Self::current()
        })?;
        namespace.set_link(LinkUnspec::new_with_name("lo").up())?;
        Ok(namespace)
    }

    /// The one that the calling thread is in.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn current() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { file: File::open("/proc/thread-self/ns/net")?, netlink: Mutex::new(Netlink { socket, sequence: 0 }) })
    }

    /// Runs a closure on a thread inside. Sockets that it makes belong to the namespace for good.
    ///
    /// # Errors
    /// That the thread could not enter.
    pub fn run<T: Send>(&self, closure: impl FnOnce() -> T + Send) -> io::Result<T> {
        in_thread(|| {
            setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
            io::Result::Ok(closure())
        })
    }

    /// Starts a program inside.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.run(|| command.spawn())?
    }

    /// Runs a program inside to its end.
    ///
    /// # Errors
    /// Those of [`Command::output`].
    pub fn output(&self, command: &mut Command) -> io::Result<Output> {
        self.run(|| command.output())?
    }

    /// Sends one request to the kernel of this namespace and returns what it answers, acknowledgements apart.
    ///
    /// # Errors
    /// What the kernel refuses, as the error number that it gives.
    pub fn request(&self, message: RouteNetlinkMessage, intent: Intent) -> io::Result<Vec<RouteNetlinkMessage>> {
        // The lock is poisoned if a thread died between request and answer; the next number skips what it left.
        let mut netlink = self.netlink.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match netlink.exchange(message.clone(), intent) {
                // A dump during which the table changed may miss entries; the next try does not.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Changes an interface that exists, named by index or name.
    ///
    /// # Errors
    /// Those of [`Namespace::request`].
    pub fn set_link<T>(&self, link: LinkMessageBuilder<T>) -> io::Result<()> {
        self.request(RouteNetlinkMessage::SetLink(link.build()), Intent::Change).map(drop)
    }

    /// The index of an interface.
    ///
    /// # Errors
    /// `ENODEV` if there is none of that name.
    pub fn link_index(&self, name: &str) -> io::Result<u32> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers = self.request(RouteNetlinkMessage::GetLink(question), Intent::Change)?;
        answers
            .into_iter()
            .find_map(|answer| if let RouteNetlinkMessage::NewLink(link) = answer { Some(link.header.index) } else { None })
            .ok_or_else(|| io::Error::other(format!("the kernel did not say which index {name} has")))
    }
}

impl Netlink {
    fn exchange(&mut self, message: RouteNetlinkMessage, intent: Intent) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = intent.flags();
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        let mut interrupted = false;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in messages::<RouteNetlinkMessage>(&datagram)? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & DUMP_INTERRUPTED != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) if interrupted => return Err(io::ErrorKind::Interrupted.into()),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    // `NetlinkPayload` is not ours and may grow.
                    NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
                }
            }
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Namespace {
    fn as_raw_fd(&self) -> i32 {
        self.file.as_raw_fd()
    }
}

/// The netlink messages of one datagram.
///
/// # Errors
/// `InvalidData` if the datagram is malformed.
pub fn messages<T: NetlinkDeserializable>(mut datagram: &[u8]) -> io::Result<Vec<NetlinkMessage<T>>> {
    let mut all = Vec::new();
    while !datagram.is_empty() {
        let message =
            NetlinkMessage::<T>::deserialize(datagram).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        // Messages are aligned to four bytes; the length in the header does not count the padding.
        let length = usize::try_from(message.header.length).map_or(usize::MAX, |length| length.saturating_add(3) & !3);
        datagram = datagram.get(length.max(1)..).unwrap_or_default();
        all.push(message);
    }
    Ok(all)
}

/// Runs a closure on a thread of its own, which ends with it.
fn in_thread<T: Send>(closure: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| match scope.spawn(closure).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
