//! The judges judged: addresses are put and announced by hand, without raisd, and each judge must see what was done.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use pnet::datalink::{self, Channel, Config};
use raisd::demo::frames::Frames;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::{self, Client, Echo, PATIENCE};
use raisd::demo::topology::{Host, Topology, add_address, delete_address};

use crate::judge::dig::dig;
use crate::judge::kernel::{self, Holders, Kernel};
use crate::judge::neighbour::neighbour;
use crate::judge::{now, within};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(5);

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("kernel_judge_sees_one_holder", |_| one_holder(By::Handover)),
        stories.twin("kernel_judge_sees_one_holder", Finding::Doubled, |_| one_holder(By::Overlap)),
        stories.story("kernel_judge_sees_a_holder", |_| has_holder(true)),
        stories.twin("kernel_judge_sees_a_holder", Finding::Unserved, |_| has_holder(false)),
        stories.story("kernel_judge_survives_a_thousand_addresses", |_| thousand_addresses()),
        stories.story("client_follows_an_announced_move", |_| announced_move(Announce::Yes, V4)),
        stories.twin("client_follows_an_announced_move", Finding::StaleNeighbour, |_| announced_move(Announce::No, V4)),
        stories.story("client_follows_an_announced_move_ipv6", |_| announced_move(Announce::Yes, V6)),
        stories.twin("client_follows_an_announced_move_ipv6", Finding::StaleNeighbour, |_| announced_move(Announce::No, V6)),
        stories.story("client_measures_an_outage", |_| outage(Duration::from_millis(150))),
        stories.twin("client_measures_an_outage", Finding::Dark, |_| outage(Duration::from_millis(600))),
        stories.story("frames_judge_sees_an_announcement", |_| announcement(Announce::Yes)),
        stories.twin("frames_judge_sees_an_announcement", Finding::Unannounced, |_| announcement(Announce::No)),
        stories.story("dig_reads_a_zone", |stage| zone(stage, &["192.0.2.11", "192.0.2.12"])),
        stories.twin("dig_reads_a_zone", Finding::Zone, |stage| zone(stage, &["192.0.2.11"])),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Announce {
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Handover,
    Overlap,
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11));

fn put(host: &Host, address: IpAddr) -> io::Result<()> {
    let index = host.plan().interface_index(Network::Service);
    add_address(host.namespace(), index, address, if address.is_ipv4() { 32 } else { 128 })
}

fn take(host: &Host, address: IpAddr) -> io::Result<()> {
    let index = host.plan().interface_index(Network::Service);
    delete_address(host.namespace(), index, address, if address.is_ipv4() { 32 } else { 128 })
}

/// Sends a gratuitous ARP request or an unsolicited neighbour advertisement, built byte by byte.
fn announce(host: &Host, address: IpAddr) -> Outcome {
    let mac = host.plan().mac(Network::Service).0;
    let frame = match address {
        IpAddr::V4(address) => {
            let ip = address.octets();
            [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac, &ip, &[0; 6], &ip].concat()
        }
        IpAddr::V6(address) => advertisement(address, mac),
    };
    host.namespace().run(|| {
        let interface = datalink::interfaces().into_iter().find(|interface| interface.name == Network::Service.interface());
        let interface = interface.ok_or_else(|| Failure::broken("the host has no service interface"))?;
        let Channel::Ethernet(mut sender, _) = datalink::channel(&interface, Config { promiscuous: false, ..Config::default() })? else {
            return Err(Failure::broken("no Ethernet channel"));
        };
        sender.send_to(&frame, None).ok_or_else(|| Failure::broken("the frame does not fit"))??;
        Ok(())
    })?
}

fn advertisement(address: std::net::Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let all_nodes = std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets();
    // Type 136, code, checksum (below), override flag, target, and the target link-layer address option.
    let mut message = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &address.octets(), &[2, 1], &mac].concat();
    let pseudo = [&address.octets()[..], &all_nodes, &[0, 0, 0, 32, 0, 0, 0, 58], &message].concat();
    let words = pseudo.chunks(2).map(|pair| pair.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    message.splice(2..4, [high, low]);
    let header = [&[0x60, 0, 0, 0, 0, 32, 58, 255][..], &address.octets(), &all_nodes].concat();
    [&[0x33, 0x33, 0, 0, 0, 1][..], &mac, &[0x86, 0xdd], &header, &message].concat()
}

fn one_holder(by: By) -> Outcome {
    let topology = Topology::build(2)?;
    let (first, second) = (topology.host(1)?, topology.host(2)?);
    let kernel = Kernel::record(&topology)?;
    put(first, V4)?;
    match by {
        By::Handover => {
            take(first, V4)?;
            put(second, V4)?;
        }
        By::Overlap => {
            put(second, V4)?;
            take(first, V4)?;
        }
    }
    if kernel.wait_holders(V4, &[2], within(LONG))?.is_none() {
        return Err(Failure::broken("the record does not end with the second host"));
    }
    if kernel::dump(&topology)?.get(&V4) != Some(&Holders::from([2])) {
        return Err(Failure::broken("the dump differs from the record"));
    }
    let spans = kernel.spans(V4)?;
    let held: Vec<_> = spans.iter().map(|span| span.holders.len()).collect();
    if held != [0, 1, if by == By::Overlap { 2 } else { 0 }, 1] {
        return Err(Failure::broken(format!("not what was done: {spans:?}")));
    }
    match spans.iter().find(|span| span.holders.len() > 1) {
        Some(span) => Err(Verdict::new(Finding::Doubled, format!("{:?} for {:?}", span.holders, span.duration())).into()),
        None => Ok(()),
    }
}

fn has_holder(put_it: bool) -> Outcome {
    let topology = Topology::build(1)?;
    let kernel = Kernel::record(&topology)?;
    if put_it {
        put(topology.host(1)?, V4)?;
    }
    match kernel.wait_holders(V4, &[1], within(Duration::from_millis(500)))? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Unserved, format!("{:?}", kernel.holders(V4)?)).into()),
    }
}

fn thousand_addresses() -> Outcome {
    let topology = Topology::build(1)?;
    let kernel = Kernel::record(&topology)?;
    let host = topology.host(1)?;
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        IpAddr::from([198, 18, high, low])
    };
    let all: Vec<IpAddr> = (0..1000).map(address).collect();
    for address in &all {
        put(host, *address)?;
    }
    let complete = kernel.wait(within(LONG), |state| {
        all.iter().all(|address| state.get(address).is_some_and(|holders| holders.contains(&1))).then_some(())
    })?;
    let changes = kernel.changes()?.len();
    complete.ok_or_else(|| Failure::broken(format!("only {changes} changes were recorded")))
}

fn announced_move(announced: Announce, address: IpAddr) -> Outcome {
    let topology = Topology::build(2)?;
    let (first, second) = (topology.host(1)?, topology.host(2)?);
    let _servers = [Echo::start(first.namespace(), "web1")?, Echo::start(second.namespace(), "web2")?];
    put(first, address)?;
    let client = Client::start(topology.client(), address, Duration::from_millis(1))?;
    client.wait_answer(now() - LONG, within(LONG), |by| by == "web1")?.ok_or_else(|| Failure::broken("web1 does not answer"))?;
    topology.vanish(1)?;
    let moved = now();
    put(second, address)?;
    if announced == Announce::Yes {
        announce(second, address)?;
    }
    // The kernel itself looks for a neighbour that is silent only after seconds.
    let answer = client.wait_answer(moved, within(Duration::from_secs(1)), |by| by == "web2")?;
    let cached = neighbour(topology.client(), address)?;
    if answer.is_none() || cached != Some(Plan(2).mac(Network::Service)) {
        return Err(Verdict::new(Finding::StaleNeighbour, format!("the client's kernel sends to {cached:?}")).into());
    }
    let log = client.finish()?;
    let servers: Vec<_> = probes::servers(&log, PATIENCE).into_iter().map(|answer| answer.by).collect();
    if servers != ["web1", "web2"] {
        return Err(Failure::broken(format!("the client was answered by {servers:?}")));
    }
    Ok(())
}

/// The address is taken off, and put back so much later; a client may be in the dark for 400 ms.
fn outage(length: Duration) -> Outcome {
    const BOUND: Duration = Duration::from_millis(400);
    let topology = Topology::build(1)?;
    let host = topology.host(1)?;
    let _server = Echo::start(host.namespace(), "web1")?;
    put(host, V4)?;
    let client = Client::start(topology.client(), V4, Duration::from_millis(1))?;
    client.wait_answer(now() - LONG, within(LONG), |_| true)?.ok_or_else(|| Failure::broken("no answer at all"))?;
    let off = now();
    take(host, V4)?;
    // Nothing tells that time has passed but the client's own probes.
    client.wait_answer(off + length, off + length, |_| true)?;
    put(host, V4)?;
    let back = now();
    client.wait_answer(back, within(LONG), |_| true)?.ok_or_else(|| Failure::broken("the address did not come back"))?;
    let log = client.finish()?;
    let longest = probes::outages(&log, PATIENCE).into_iter().max_by_key(probes::Outage::duration);
    let longest = longest.ok_or_else(|| Failure::broken("the client noticed nothing"))?;
    let (measured, done) = (longest.duration(), back - off);
    if measured.abs_diff(done) > Duration::from_millis(30) {
        return Err(Failure::broken(format!("the client measured {measured:?} of an outage of {done:?}")));
    }
    if measured > BOUND {
        return Err(Verdict::new(Finding::Dark, format!("for {measured:?}, {} packets lost", longest.lost)).into());
    }
    Ok(())
}

fn announcement(announced: Announce) -> Outcome {
    let topology = Topology::build(2)?;
    let frames = Frames::capture(&topology)?;
    let host = topology.host(2)?;
    for address in [V4, V6] {
        put(host, address)?;
        if announced == Announce::Yes {
            announce(host, address)?;
        }
        let seen = frames.wait(within(Duration::from_millis(500)), |frame| frame.is_announcement() && frame.claim.address() == address)?;
        let Some(frame) = seen else {
            return Err(Verdict::new(Finding::Unannounced, format!("{address}; seen: {:?}", frames.all()?)).into());
        };
        let mac = host.plan().mac(Network::Service);
        if frame.port != "web2" || frame.source != mac || frame.claim.mac() != Some(mac) {
            return Err(Failure::broken(format!("the frame is misread: {frame:?}")));
        }
    }
    Ok(())
}

/// A name server that knows one answer, built byte by byte, so that nothing of raisd answers.
fn zone(stage: &Stage, advertised: &[&str]) -> Outcome {
    let topology = Topology::build(1)?;
    let host = topology.host(1)?;
    let own = host.plan().own();
    let socket = host.namespace().run(|| UdpSocket::bind((own, 53)))??;
    let addresses = advertised.iter().map(|address| address.parse()).collect::<Result<Vec<Ipv4Addr>, _>>()?;
    let server = thread::spawn(move || answer_once(&socket, &addresses));
    let answer = dig(topology.client(), own.into(), "www.pool.example.", "A", &["+noedns"])?;
    server.join().map_err(|_| Failure::broken(format!("{}: the name server panicked", stage.name())))??;
    let answer = answer.ok_or_else(|| Failure::broken("no answer"))?;
    if answer.status != "NOERROR" || !answer.flags.contains("aa") {
        return Err(Failure::broken(format!("misread: {answer:?}")));
    }
    let wanted = ["192.0.2.11", "192.0.2.12"].iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
    if answer.addresses() != wanted {
        return Err(Verdict::new(Finding::Zone, format!("{:?} instead of {wanted:?}", answer.addresses())).into());
    }
    Ok(())
}

fn answer_once(socket: &UdpSocket, addresses: &[Ipv4Addr]) -> io::Result<()> {
    let mut question = [0; 512];
    let (length, from) = socket.recv_from(&mut question)?;
    let question = question.get(..length).unwrap_or_default();
    let (id, rest) = question.split_at_checked(2).ok_or(io::ErrorKind::InvalidData)?;
    let (_, body) = rest.split_at_checked(10).ok_or(io::ErrorKind::InvalidData)?;
    let count = u8::try_from(addresses.len()).unwrap_or(u8::MAX);
    // QR and AA; one question, `count` answers, each with a pointer to the name of the question, type A, class IN, 5 seconds.
    let mut answer = [id, &[0x84, 0, 0, 1, 0, count, 0, 0, 0, 0], body].concat();
    for address in addresses {
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        answer.extend(address.octets());
    }
    socket.send_to(&answer, from).map(drop)
}
