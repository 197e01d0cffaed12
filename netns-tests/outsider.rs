//! Somebody on the control networks who belongs to no pool: records what is said, and says what he likes.
//!
//! Owns a socket on each control network of a host that runs no daemon. Reads of a datagram what anybody can read: the header of
//! `docs/protocol.md`.

use std::io::{self, PipeReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use raisd::demo::frames::grow_queue;
use raisd::demo::log::{Background, Log, ObserverError};
use raisd::demo::topology::Host;
use socket2::{Domain, Protocol, Socket, Type};

/// A control message as it was on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Datagram(pub(crate) Vec<u8>);

impl Datagram {
    /// What its message is for: 0 info, 1 acquire, 2 release.
    pub(crate) fn kind(&self) -> Option<u8> {
        self.0.get(6).copied()
    }

    /// Whether it is a goodbye: it has the reserved number.
    pub(crate) fn is_farewell(&self) -> bool {
        self.0.get(56..64) == Some(&[0xff; 8])
    }
}

/// The outsider.
#[derive(Debug)]
pub(crate) struct Outsider {
    sockets: Arc<[Socket; 2]>,
    group: SocketAddr,
    log: Arc<Log<Datagram>>,
    _thread: Background,
}

impl Outsider {
    /// Listens to a group on both control networks of a host.
    pub(crate) fn join(host: &Host, group: SocketAddr) -> io::Result<Self> {
        let plan = host.plan();
        let sockets = host.namespace().run(|| io::Result::Ok([socket(group, plan.control(0))?, socket(group, plan.control(1))?]))??;
        let sockets = Arc::new(sockets);
        let log = Arc::new(Log::new("control messages"));
        let heard = Arc::clone(&sockets);
        let thread = Background::start(&log, move |log, stop| listen(&heard, log, stop))?;
        Ok(Self { sockets, group, log, _thread: thread })
    }

    /// What it has heard so far, once a network.
    pub(crate) fn heard(&self) -> Result<Vec<Datagram>, ObserverError> {
        self.log.read(<[Datagram]>::to_vec)
    }

    /// Waits until it has heard `count` datagrams that `wanted` accepts. `None` at the deadline.
    pub(crate) fn wait(&self, count: usize, deadline: Instant, wanted: impl Fn(&Datagram) -> bool) -> Result<Option<()>, ObserverError> {
        self.log.wait(deadline, |all| (all.iter().filter(|datagram| wanted(datagram)).count() >= count).then_some(()))
    }

    /// Says something on both networks.
    pub(crate) fn say(&self, bytes: &[u8]) -> io::Result<()> {
        for socket in self.sockets.iter() {
            socket.send_to(bytes, &self.group.into())?;
        }
        Ok(())
    }
}

fn socket(group: SocketAddr, own: Ipv4Addr) -> io::Result<Socket> {
    let SocketAddr::V4(address) = group else { return Err(io::Error::other("the outsider speaks IPv4")) };
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_multicast_if_v4(&own)?;
    socket.set_multicast_all_v4(false)?;
    // What it says itself it need not hear.
    socket.set_multicast_loop_v4(false)?;
    socket.join_multicast_v4(address.ip(), &own)?;
    grow_queue(&socket)?;
    socket.bind(&group.into())?;
    Ok(socket)
}

fn listen(sockets: &[Socket; 2], log: &Log<Datagram>, stop: &PipeReader) -> io::Result<()> {
    loop {
        let [first, second] = sockets;
        let mut fds = [
            PollFd::new(first.as_fd(), PollFlags::POLLIN),
            PollFd::new(second.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let readable = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let [.., stopped] = readable;
        if stopped.contains(PollFlags::POLLHUP) {
            return Ok(());
        }
        for (socket, ready) in sockets.iter().zip(readable) {
            if ready.contains(PollFlags::POLLIN) {
                let mut buffer = [0; 2048];
                let bytes =
                    nix::sys::socket::recv(std::os::fd::AsRawFd::as_raw_fd(socket), &mut buffer, nix::sys::socket::MsgFlags::empty())?;
                log.extend(buffer.get(..bytes).map(|bytes| Datagram(bytes.to_vec())));
            }
        }
    }
}
