//! The zone above delegates to the pool with the lines that `raisctl zone --delegation` prints, and a resolver follows them.
//!
//! BIND serves the zone above, with the printed lines as they are; another BIND resolves for a client, starting at the root. It finds
//! the pool's addresses, and goes on finding them when a host dies that was both in the zone and a name server of it.
//! Twin: the zone above has the lines of that host only.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;

use crate::judge::dig::dig;
use crate::judge::zone::wait_advertised;
use crate::judge::{poll_until, within};
use crate::named::Files;
use crate::pool::{HostConfig, Pool, State, ZONE, service};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(10);

/// Time to live, what a resolver waits for a dead name server, and a busy machine.
const FOLLOWED: Duration = Duration::from_secs(20);

const VICTIM: u8 = 2;
const SPARE: u8 = 3;
const POOL: [u8; 3] = [1, 2, 3];
/// The zone above, and the root.
const ABOVE: u8 = 5;
const RESOLVER: u8 = 6;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_resolver_follows_the_delegation_and_a_failover", |stage| follow(stage, Lines::All)),
        stories.twin("a_resolver_follows_the_delegation_and_a_failover", Finding::Zone, |stage| follow(stage, Lines::OfVictim)),
    ]
}

/// What the zone above has of the printed lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    All,
    OfVictim,
}

fn follow(stage: &Stage, lines: Lines) -> Outcome {
    let hosts = [HostConfig::server(1), HostConfig::server(VICTIM)].into_iter().chain([SPARE, ABOVE, RESOLVER].map(HostConfig::spare));
    let mut pool = Pool::build(stage, hosts)?;
    for host in POOL {
        pool.configure(host, |config| config.name_servers = POOL.map(Plan).to_vec())?;
        pool.start(host)?;
    }
    let client = pool.topology().client().clone();
    let both: BTreeSet<IpAddr> = [service(1), service(VICTIM)].into();
    let serial = wait_advertised(&client, ZONE, &POOL, &both, within(LONG))?;

    let printed = delegation(&pool, 1)?;
    judge_comments(&printed, serial)?;
    let lines = match lines {
        Lines::All => printed,
        Lines::OfVictim => printed.lines().filter(|line| line.contains(&name_server(VICTIM))).map(|line| format!("{line}\n")).collect(),
    };
    let (above, resolver): (IpAddr, IpAddr) = (Plan(ABOVE).own().into(), Plan(RESOLVER).own().into());
    let files = Files::new(stage, "above")?;
    files.write("delegation.zone", &lines)?;
    let soa = "@ 60 IN SOA ns.pool.example. hostmaster.example. 1 60 60 60 1\n@ 60 IN NS ns.pool.example.\n";
    files.write("pool.zone", &format!("{soa}ns 60 IN A {above}\n$INCLUDE \"delegation.zone\"\n"))?;
    files.write("root.zone", &format!("{soa}pool.example. 60 IN NS ns.pool.example.\nns.pool.example. 60 IN A {above}\n"))?;
    let zones = "zone \".\" { type primary; file \"root.zone\"; };\nzone \"pool.example\" { type primary; file \"pool.zone\"; };";
    let _above = files.start(pool.topology().host(ABOVE)?.namespace(), above, "recursion no; notify no;", zones, Some("pool.example."))?;
    let files = Files::new(stage, "resolver")?;
    files.write("root.hints", &format!(". 3600 IN NS ns.pool.example.\nns.pool.example. 3600 IN A {above}\n"))?;
    let hints = "zone \".\" { type hint; file \"root.hints\"; };";
    let options = "recursion yes; allow-recursion { any; }; qname-minimization off;";
    let _resolver = files.start(pool.topology().host(RESOLVER)?.namespace(), resolver, options, hints, None)?;

    let wait = |wanted: &BTreeSet<IpAddr>| {
        let mut last = None;
        let found = poll_until(within(FOLLOWED), || {
            last = dig(&client, resolver, ZONE, "A", &["+recurse"])?;
            Ok(last.as_ref().is_some_and(|answer| answer.addresses() == *wanted).then_some(()))
        })?;
        found.ok_or_else(|| Failure::from(Verdict::new(Finding::Zone, format!("the resolver says {last:?} instead of {wanted:?}"))))
    };
    wait(&both)?;
    pool.power_off(VICTIM)?;
    wait(&[service(1)].into())?;
    if let Some(line) = comment_of(&delegation(&pool, 1)?, VICTIM).filter(|line| line.contains("(aa)")) {
        return Err(Verdict::new(Finding::Misreported, format!("of a host without power: {line}")).into());
    }
    pool.power_on(VICTIM, State::Kept)?;
    wait(&both)?;
    pool.check()
}

/// What an operator would put into the zone above.
fn delegation(pool: &Pool, host: u8) -> Outcome<String> {
    let output = pool.raisctl(host, &["zone", "--delegation"])?;
    if !output.status.success() {
        return Err(Failure::broken(format!("raisctl zone --delegation: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn name_server(host: u8) -> String {
    format!("n{host}.{ZONE}")
}

fn comment_of(printed: &str, host: u8) -> Option<&str> {
    let start = format!("; {} at {}: ", name_server(host), Plan(host).own());
    printed.lines().find(|line| line.starts_with(&start))
}

/// The comments say of each name server what `dig` has seen, and are all that is no record.
fn judge_comments(printed: &str, serial: u32) -> Outcome {
    for host in POOL {
        let line = comment_of(printed, host).unwrap_or_default();
        if !line.ends_with(&format!("answers with authority (aa), serial {serial}")) {
            return Err(Verdict::new(Finding::Misreported, format!("serial {serial}, but of web{host}:\n{printed}")).into());
        }
    }
    let records = printed.lines().filter(|line| !line.starts_with(';')).count();
    // NS and address of each.
    if records != 2 * POOL.len() {
        return Err(Verdict::new(Finding::Misreported, format!("{records} records:\n{printed}")).into());
    }
    Ok(())
}
