//! What strangers send to a name server: floods, garbage, and connections that say nothing.
//!
//! The judge is a client in the same network, another in another network, `dig`, and the bytes that come back. Twins: the limit is
//! switched off; the name server is stopped in the middle.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use raisd::demo::plan::Plan;

use crate::judge::dig::{Answer, dig};
use crate::judge::zone::wait_advertised;
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, ZONE, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);

/// A server on the same machine answers within a millisecond; this is a hang.
const PATIENCE: Duration = Duration::from_secs(3);

const SERVERS: [u8; 3] = [1, 2, 3];
/// Belongs to no pool; asks over a control network, which is another client network.
const ELSEWHERE: u8 = 9;

/// No datagram is longer, whatever is asked.
const BYTES_MAX: usize = 1232;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_flood_gets_few_answers_and_keeps_nobody_out", |stage| flood(stage, 20)),
        stories.twin("a_flood_gets_few_answers_and_keeps_nobody_out", Finding::Amplified, |stage| flood(stage, 0)),
        stories.story("garbage_and_idle_connections_do_a_name_server_no_harm", |stage| garbage(stage, Server::Runs)),
        stories.twin("garbage_and_idle_connections_do_a_name_server_no_harm", Finding::Dark, |stage| garbage(stage, Server::IsStopped)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    Runs,
    IsStopped,
}

/// Host 1 answers on its own address and on a control address.
fn pool(stage: &Stage, rate_limit: u32) -> Outcome<Pool> {
    let hosts = SERVERS.map(HostConfig::server).into_iter().chain([HostConfig::spare(ELSEWHERE)]);
    let mut pool = Pool::build(stage, hosts)?;
    for host in SERVERS {
        pool.configure(host, |config| {
            config.name_servers = vec![Plan(1)];
            config.listen = vec![Plan(1).own().to_string(), Plan(1).control(0).to_string()];
            config.server_keys = format!("rate_limit = {rate_limit}");
        })?;
        pool.start(host)?;
    }
    Ok(pool)
}

fn question(id: u16, edns: bool) -> Outcome<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.queries.push(Query::query(Name::from_ascii(ZONE)?, RecordType::A));
    if edns {
        message.edns.get_or_insert_with(Edns::new).set_max_payload(4096);
    }
    Ok(message.to_vec()?)
}

fn client(pool: &Pool) -> Outcome<UdpSocket> {
    let socket = pool.topology().client().run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    socket.connect((Plan(1).own(), 53))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn flood(stage: &Stage, rate_limit: u32) -> Outcome {
    const ASKED: u16 = 2000;
    /// What the twin exceeds a hundredfold, and the story keeps to whatever the limit of the twin.
    const ALLOWED_PER_SECOND: u32 = 20;
    let mut pool = pool(stage, rate_limit)?;
    let near = pool.topology().client().clone();
    let all: BTreeSet<IpAddr> = SERVERS.map(service).into();
    wait_advertised(&near, ZONE, &[1], &all, within(LONG))?;
    let socket = client(&pool)?;
    let (start, mut whole) = (now(), 0_u32);
    for id in 0..ASKED {
        let asked = question(id, false)?;
        socket.send(&asked)?;
        let mut answer = [0; 4096];
        let length = socket.recv(&mut answer).map_err(|error| Verdict::new(Finding::Dark, format!("question {id}: {error}")))?;
        let is_cut = answer.get(2).is_some_and(|flags| flags & 2 != 0);
        whole += u32::from(!is_cut);
        if is_cut && length > asked.len() {
            return Err(Verdict::new(Finding::Amplified, format!("{length} bytes for {}", asked.len())).into());
        }
        if id == ASKED / 2 {
            judge_nobody_is_out(&pool, &all)?;
        }
    }
    let elapsed = start.elapsed();
    // One second's answers at once, and then the rate; a second for what was granted while this judge was not looking.
    let allowed = ALLOWED_PER_SECOND.saturating_mul(u32::try_from(elapsed.as_secs())?.saturating_add(2));
    if whole > allowed {
        return Err(Verdict::new(Finding::Amplified, format!("{whole} of {ASKED} answered in {elapsed:?}, not {allowed}")).into());
    }
    pool.check()
}

/// In the midst of a flood: who comes from its network gets an answer by other means, who comes from another as ever.
fn judge_nobody_is_out(pool: &Pool, all: &BTreeSet<IpAddr>) -> Outcome {
    let near = pool.topology().client();
    let far = pool.topology().host(ELSEWHERE)?.namespace();
    let (own, control): (IpAddr, IpAddr) = (Plan(1).own().into(), Plan(1).control(0).into());
    for (namespace, server, options) in [
        // Truncated, and then over TCP.
        (near, own, &["+nocookie"][..]),
        // BADCOOKIE, and then with the cookie.
        (near, own, &["+cookie", "+notcp", "+ignore"]),
        (far, control, &["+nocookie", "+notcp", "+ignore"]),
    ] {
        let answer = dig(namespace, server, ZONE, "A", options)?;
        if answer.as_ref().is_none_or(|answer: &Answer| answer.addresses() != *all) {
            return Err(Verdict::new(Finding::Dark, format!("asked at {server} {options:?}: {answer:?}")).into());
        }
    }
    Ok(())
}

fn garbage(stage: &Stage, server: Server) -> Outcome {
    let mut pool = pool(stage, 0)?;
    let near = pool.topology().client().clone();
    let all: BTreeSet<IpAddr> = SERVERS.map(service).into();
    wait_advertised(&near, ZONE, &[1], &all, within(LONG))?;
    let socket = client(&pool)?;
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    for round in 0..200 {
        if round == 100 && server == Server::IsStopped {
            pool.signal(1, Signal::SIGSTOP)?;
        }
        for _ in 0..25 {
            socket.send(&chance.packet(&question(0, round % 2 == 0)?))?;
        }
        judge_lives(&socket, 0x8000 | round)?;
    }
    // Kept open, so that they are there while others ask.
    let mut idle = Vec::new();
    for number in 0..400 {
        let address = SocketAddr::from((Plan(1).own(), 53));
        let mut stream = near.run(|| TcpStream::connect_timeout(&address, PATIENCE))??;
        match number % 4 {
            // Nothing; half a length; a length and nothing; garbage.
            0 => {}
            1 => stream.write_all(&[0])?,
            2 => stream.write_all(&[0, 40])?,
            _ => drop(stream.write_all(&chance.packet(&question(0, true)?))),
        }
        idle.push(stream);
    }
    let far = pool.topology().host(ELSEWHERE)?.namespace();
    for (namespace, server) in [(&near, IpAddr::from(Plan(1).own())), (far, Plan(1).control(0).into())] {
        let answer = dig(namespace, server, ZONE, "A", &["+tcp"])?;
        if answer.as_ref().is_none_or(|answer| answer.addresses() != all) {
            return Err(Verdict::new(Finding::Dark, format!("over TCP at {server}: {answer:?}")).into());
        }
    }
    let log = fs::read_to_string(pool.log(1))?;
    if let Some(line) = log.lines().find(|line| ["DNS", "EDNS", "hickory", "panic"].iter().any(|word| line.contains(word))) {
        return Err(Verdict::new(Finding::Misreported, format!("strangers fill the log: {line}")).into());
    }
    pool.check()
}

/// A good question gets its answer; what came back for the garbage before it is short enough.
fn judge_lives(socket: &UdpSocket, id: u16) -> Outcome {
    let asked = question(id, false)?;
    socket.send(&asked)?;
    let mut answer = [0; 65_535];
    loop {
        match socket.recv(&mut answer) {
            Ok(length) if length > BYTES_MAX => {
                return Err(Verdict::new(Finding::Amplified, format!("an answer of {length} bytes")).into());
            }
            // Longer than an error: it has the addresses.
            Ok(length) if answer.starts_with(&id.to_be_bytes()) && length > asked.len() => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(Verdict::new(Finding::Dark, format!("no answer to a good question after garbage, {id:#x}")).into());
            }
            Err(error) => return Err(Failure::from(error)),
        }
    }
}

/// The same garbage in every run.
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.draw() & 0xff).unwrap_or_default()
    }

    /// A good question with bits flipped, bytes changed, cut or followed by more; or nothing but noise. Never one of the judge's ids.
    fn packet(&mut self, good: &[u8]) -> Vec<u8> {
        let mut packet = good.to_vec();
        if self.draw().is_multiple_of(4) {
            packet = (0..self.draw() % 600).map(|_| self.byte()).collect();
        }
        for _ in 0..self.draw() % 6 {
            let (at, bit, byte) = (self.draw() % packet.len().max(1), self.draw() % 8, self.byte());
            if let Some(changed) = packet.get_mut(at) {
                *changed = if byte < 128 { *changed ^ (1 << bit) } else { byte };
            }
        }
        match self.draw() % 6 {
            0 => packet.truncate(self.draw() % (packet.len() + 1)),
            1 => packet.extend_from_slice(&[0; 40]),
            2 => packet.extend_from_within(..packet.len() / 2),
            _ => {}
        }
        if let Some(first) = packet.first_mut() {
            *first &= 0x7f;
        }
        packet
    }
}
