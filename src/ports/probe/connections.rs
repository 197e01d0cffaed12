//! Established TCP connections to ports of this host, counted by the kernel's socket diagnosis.
//!
//! Reads; keeps nothing. The kernel picks out the connections itself (`sock_diag(7)`): on a host with many, `/proc/net/tcp` takes
//! ten times as long. Called by `probe.rs`.

use std::os::fd::AsRawFd;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::LoadProbe;
use super::blocking::Blocking;
use crate::node::event::LoadSample;

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;

/// `NLMSG_ERROR` and `NLMSG_DONE` of `linux/netlink.h`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// `NLM_F_REQUEST` and `NLM_F_DUMP` of `linux/netlink.h`.
const REQUEST_DUMP: u16 = 0x301;

/// `TCP_ESTABLISHED` of `linux/tcp.h`, as a bit.
const ESTABLISHED: u32 = 1 << 1;

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;

/// The kernel fills buffers of up to 32 KiB.
const BUFFER_BYTES: usize = 32 * 1024;

/// A load that counts connections.
pub(crate) struct ConnectionsLoad {
    ports: Vec<u16>,
    capacity: u32,
    counting: Blocking<Result<u32, String>>,
}

impl ConnectionsLoad {
    pub(crate) fn new(ports: Vec<u16>, capacity: u32) -> Self {
        Self { ports, capacity, counting: Blocking::default() }
    }
}

#[async_trait]
impl LoadProbe for ConnectionsLoad {
    async fn probe(&mut self) -> Result<Option<LoadSample>, String> {
        let ports = self.ports.clone();
        // On a thread of its own: a hundred thousand connections take the kernel tens of milliseconds.
        let load = self.counting.run(move || count_all(&ports)).await.and_then(|counted| counted)?;
        Ok(Some(LoadSample { load, capacity: self.capacity }))
    }

    fn overdue(&self) -> String {
        "the connections could not be counted".to_owned()
    }
}

fn count_all(ports: &[u16]) -> Result<u32, String> {
    let mut total = 0_u32;
    for port in ports {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let count = count(family, *port).map_err(|errno| {
                let help = if errno == Errno::ENOENT { " (this kernel lacks tcp_diag: modprobe tcp_diag)" } else { "" };
                format!("the connections to port {port} could not be counted: {errno}{help}")
            })?;
            total = total.saturating_add(count);
        }
    }
    Ok(total)
}

/// IPv4 connections to a socket of both families are IPv6 to the kernel, and so counted once.
fn count(family: i32, port: u16) -> Result<u32, Errno> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    send(socket.as_raw_fd(), &request(family, port), MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut count = 0_u32;
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let (messages, end) = take(buffer.get(..length).unwrap_or_default())?;
        count = count.saturating_add(messages);
        match end {
            End::MoreFollows => {}
            End::Reached => return Ok(count),
        }
    }
}

/// Whether a buffer held the last of the answers.
#[derive(PartialEq, Eq, Debug)]
enum End {
    MoreFollows,
    Reached,
}

fn request(family: i32, port: u16) -> [u8; REQUEST_BYTES] {
    let mut request = [0; REQUEST_BYTES];
    let length = u32::try_from(REQUEST_BYTES).unwrap_or(u32::MAX);
    let protocol = u8::try_from(libc::IPPROTO_TCP).unwrap_or(u8::MAX);
    request[0..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request[16] = u8::try_from(family).unwrap_or(u8::MAX);
    request[17] = protocol;
    request[20..24].copy_from_slice(&ESTABLISHED.to_ne_bytes());
    request[24..26].copy_from_slice(&port.to_be_bytes());
    request
}

/// How many connections the messages in a buffer tell of.
fn take(mut buffer: &[u8]) -> Result<(u32, End), Errno> {
    let mut count = 0;
    while let Some((header, _)) = buffer.split_first_chunk::<HEADER_BYTES>() {
        let [a, b, c, d, e, f, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        match u16::from_ne_bytes([e, f]) {
            BY_FAMILY => count += 1,
            DONE => return Ok((count, End::Reached)),
            ERROR => {
                let code = buffer.get(HEADER_BYTES..).and_then(|rest| rest.first_chunk()).copied().map_or(0, i32::from_ne_bytes);
                return Err(Errno::from_raw(code.saturating_neg()));
            }
            _ => {}
        }
        // A length that cannot be would never end.
        buffer = buffer.get(length.max(HEADER_BYTES).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok((count, End::MoreFollows))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::ports::probe::LoadProber;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn messages_are_counted_until_the_end_or_an_error() {
        let two = [message(BY_FAMILY, b"12345"), message(BY_FAMILY, &[])].concat();
        assert_eq!(take(&two), Ok((2, End::MoreFollows)));
        assert_eq!(take(&[two.clone(), message(DONE, &[0; 4]), message(BY_FAMILY, &[])].concat()), Ok((2, End::Reached)));
        assert_eq!(take(&message(ERROR, &(-libc::ENOENT).to_ne_bytes())), Err(Errno::ENOENT));
        assert_eq!(take(&[0; HEADER_BYTES]), Ok((0, End::MoreFollows)), "a length of zero");
        assert_eq!(take(&[0xff; HEADER_BYTES]), Ok((0, End::MoreFollows)), "a length beyond the end");
        assert_eq!(take(&[]), Ok((0, End::MoreFollows)));
    }

    #[test]
    fn a_count_that_does_not_get_its_turn_is_told_and_taken_up_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (release, released) = channel::<()>();
            let occupying = tokio::task::spawn_blocking(move || released.recv());
            let mut prober = LoadProber::Timed { probe: Box::new(ConnectionsLoad::new(vec![1], 5)), limit: Duration::from_millis(50) };
            assert_eq!(prober.probe().await, Err("the connections could not be counted within 50ms".to_owned()));
            release.send(()).unwrap();
            occupying.await.unwrap().unwrap();
            while prober.probe().await != Ok(Some(LoadSample { load: 0, capacity: 5 })) {}
        });
    }
}
