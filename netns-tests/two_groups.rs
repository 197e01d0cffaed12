//! Two groups on the same hosts, with one group address or two, do not disturb each other.
//!
//! In one of them a host is drained, a test fails, a host vanishes that is in this group alone; nothing of the other group moves, and
//! its zone stays as it is. Twins: the same, but it happens to both groups.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::Client;

use crate::judge::kernel::Kernel;
use crate::judge::zone::wait_advertised;
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, ZONE, keygen, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);

/// The zone of the second group.
const MAIL_ZONE: &str = "mail.pool.example.";

const SPARE: u8 = 4;

/// Where the trouble is.
const VICTIM: u8 = 2;

/// In the first group only, but for one twin.
const VANISHES: u8 = 3;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("two_groups_with_one_group_address", |stage| two_groups(stage, Address::Same, &Trouble::ALL, Reaches::OneGroup)),
        stories.story("two_groups_with_two_group_addresses", |stage| two_groups(stage, Address::Other, &Trouble::ALL, Reaches::OneGroup)),
        stories.twin("two_groups_one_drained", Finding::Moved, |stage| {
            two_groups(stage, Address::Same, &[Trouble::Drain], Reaches::BothGroups)
        }),
        stories.twin("two_groups_one_failing", Finding::Moved, |stage| {
            two_groups(stage, Address::Same, &[Trouble::FailedTest], Reaches::BothGroups)
        }),
        stories.twin("two_groups_one_without_a_host", Finding::Moved, |stage| {
            two_groups(stage, Address::Other, &[Trouble::Vanish], Reaches::BothGroups)
        }),
    ]
}

/// Where the second group talks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Address {
    Same,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    Drain,
    FailedTest,
    Vanish,
}

impl Trouble {
    const ALL: [Self; 3] = [Self::Drain, Self::FailedTest, Self::Vanish];
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reaches {
    OneGroup,
    BothGroups,
}

/// The service address that a host prefers in the second group.
fn mail(number: u8) -> IpAddr {
    [192, 0, 2, number + 100].into()
}

fn two_groups(stage: &Stage, address: Address, troubles: &[Trouble], reaches: Reaches) -> Outcome {
    let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]))?;
    let key = stage.private().join("mail.key");
    keygen(&key)?;
    let well = stage.private().join("www-is-well");
    fs::write(&well, "")?;
    let in_mail: &[u8] = if reaches == Reaches::OneGroup { &[1, 2, SPARE] } else { &[1, 2, 3, SPARE] };
    for host in [1, 2, 3, SPARE] {
        let (group_keys, tests) =
            if host == VICTIM { ("tests = [\"web\"]", test(&well.display().to_string())) } else { ("", String::new()) };
        let mail_tests = if reaches == Reaches::BothGroups { group_keys } else { "" };
        let group = if in_mail.contains(&host) { mail_group(host, address, mail_tests, &key.display().to_string()) } else { String::new() };
        pool.configure(host, |config| {
            config.group_keys = group_keys.to_owned();
            config.tables = format!("{group}\n{tests}");
        })?;
    }
    let mail_homes: Vec<u8> = in_mail.iter().copied().filter(|host| *host != SPARE).collect();
    let kernel = Kernel::record(pool.topology())?;
    pool.start_all()?;
    for host in [1, 2, 3] {
        wait_on(&kernel, service(host), host)?;
    }
    for host in &mail_homes {
        wait_on(&kernel, mail(*host), *host)?;
    }
    let (www_zone, mail_zone): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) =
        ([1, 2, 3].map(service).into(), mail_homes.iter().copied().map(mail).collect());
    wait_advertised(pool.topology().client(), ZONE, &[1, 2, 3, SPARE], &www_zone, within(LONG))?;
    let serial = wait_advertised(pool.topology().client(), MAIL_ZONE, in_mail, &mail_zone, within(LONG))?;
    let client = Client::start(pool.topology().client(), mail(1), Duration::from_millis(2))?;
    let before = now();
    for trouble in troubles {
        make_trouble(&mut pool, &kernel, *trouble, reaches, &well)?;
        judge_mail(&kernel, &client, before, *trouble)?;
        mend(&mut pool, &kernel, *trouble, &well)?;
        judge_mail(&kernel, &client, before, *trouble)?;
    }
    let at_the_end = wait_advertised(pool.topology().client(), MAIL_ZONE, in_mail, &mail_zone, within(LONG))?;
    if at_the_end != serial {
        return Err(Verdict::new(Finding::Zone, format!("{MAIL_ZONE} went from serial {serial} to {at_the_end}")).into());
    }
    pool.check()
}

/// A test that passes while the file is there.
fn test(file: &str) -> String {
    format!(
        "[test.web]\nkind = \"script\"\ncommand = [\"/usr/bin/test\", \"-e\", {file:?}]\ninterval = \"100ms\"\ntimeout = \"90ms\"\nrise = 1\nfall = 1\n"
    )
}

fn mail_group(host: u8, address: Address, keys: &str, key: &str) -> String {
    let servers: Vec<String> = [1, 2, 3, SPARE].map(|host| format!("\"n{host}.{MAIL_ZONE}\" = [\"{}\"]", Plan(host).own())).into();
    let servers = servers.join(", ");
    let address = if address == Address::Same { "239.255.42.1:4242" } else { "239.255.42.2:4343" };
    let preferred = if host == SPARE { String::new() } else { format!("\"{}/32\"", mail(host)) };
    format!(
        r#"
[[group]]
name = "mail"
address = "{address}"
interface = "{interface}"
preferred = [{preferred}]
heartbeat = "100ms"
timeout = "400ms"
key_file = "{key}"
{keys}
[group.dns]
zone = "{MAIL_ZONE}"
ttl = "5s"
nameservers = {{ {servers} }}
"#,
        interface = Network::Service,
    )
}

fn wait_on(kernel: &Kernel, address: IpAddr, host: u8) -> Outcome {
    match kernel.wait_holders(address, &[host], within(LONG))? {
        Some(_) => Ok(()),
        None => Err(Verdict::new(Finding::Unserved, format!("{address} is on {:?}, not on {host}", kernel.holders(address)?)).into()),
    }
}

/// The trouble, until its effect on the first group is there.
fn make_trouble(pool: &mut Pool, kernel: &Kernel, trouble: Trouble, reaches: Reaches, well: &std::path::Path) -> Outcome {
    match trouble {
        Trouble::Drain => {
            let groups: &[&str] = if reaches == Reaches::OneGroup { &["--group", "www"] } else { &[] };
            let output = pool.raisctl(VICTIM, &[&["drain"], groups].concat())?;
            if !output.status.success() {
                return Err(Failure::broken(format!("raisctl drain: {}", String::from_utf8_lossy(&output.stderr))));
            }
            wait_on(kernel, service(VICTIM), SPARE)
        }
        Trouble::FailedTest => {
            fs::remove_file(well)?;
            wait_on(kernel, service(VICTIM), SPARE)
        }
        Trouble::Vanish => {
            pool.power_off(VANISHES)?;
            let has = |state: &crate::judge::kernel::Holdings| state.get(&service(VANISHES))?.contains(&SPARE).then_some(());
            let taken = kernel.wait(within(LONG), has)?;
            taken.ok_or_else(|| Verdict::new(Finding::Unserved, format!("{}", service(VANISHES))).into())
        }
    }
}

/// Ends it, until the first group is as it was.
fn mend(pool: &mut Pool, kernel: &Kernel, trouble: Trouble, well: &std::path::Path) -> Outcome {
    match trouble {
        Trouble::Drain => {
            let output = pool.raisctl(VICTIM, &["resume"])?;
            if !output.status.success() {
                return Err(Failure::broken(format!("raisctl resume: {}", String::from_utf8_lossy(&output.stderr))));
            }
            wait_on(kernel, service(VICTIM), VICTIM)
        }
        Trouble::FailedTest => {
            fs::write(well, "")?;
            wait_on(kernel, service(VICTIM), VICTIM)
        }
        // It stays away.
        Trouble::Vanish => Ok(()),
    }
}

/// For five heartbeats more, counted by the packets of a client of the second group, nothing of that group has moved.
fn judge_mail(kernel: &Kernel, client: &Client, before: Instant, trouble: Trouble) -> Outcome {
    let later = now() + 5 * HostConfig::server(VICTIM).heartbeat;
    if client.wait_answer(later, within(LONG), |by| by == Plan(1).name())?.is_none() {
        return Err(Verdict::new(Finding::Unserved, format!("{} after {trouble:?}", mail(1))).into());
    }
    let all: BTreeSet<IpAddr> = [1, 2, 3].map(mail).into();
    match kernel.changes()?.into_iter().find(|change| change.at >= before && all.contains(&change.address)) {
        Some(change) => Err(Verdict::new(Finding::Moved, format!("by {trouble:?}: {change:?}")).into()),
        None => Ok(()),
    }
}
