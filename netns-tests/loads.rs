//! Load above the high mark, between the marks, and below the low one: the zone follows the table on every name server.
//!
//! Each row changes the load of one host. A row that must change nothing is judged by the serial as well: had the list gone
//! and come back, it would have grown. Twins: the load script says the same whatever the load, and another `min_addresses`.

use std::fs;
use std::time::Duration;

use libtest_mimic::Trial;
use raisd::demo::plan::Plan;
use serde_json::Value;

use crate::judge::zone::wait_advertised;
use crate::judge::{poll_until, within};
use crate::pool::{HostConfig, Pool, ZONE, service};
use crate::story::{Finding, Outcome, Stage, Stories, Verdict};

const LONG: Duration = Duration::from_secs(5);

const SERVERS: [u8; 3] = [1, 2, 3];
const SPARE: u8 = 4;
const NAME_SERVERS: [u8; 4] = [1, 2, 3, 4];

/// One host's load, its capacity, and who is advertised then. The marks are 80 and 60 percent.
type Row = (u8, u32, u32, &'static [u8]);

/// With `min_addresses = 1`.
const ONE: &[Row] = &[
    // Between the marks, and advertised so far.
    (1, 70, 100, &[1, 2, 3]),
    // Not above the high mark.
    (1, 80, 100, &[1, 2, 3]),
    (1, 81, 100, &[2, 3]),
    // Between the marks, and not advertised so far.
    (1, 70, 100, &[2, 3]),
    // Not above the low mark.
    (1, 60, 100, &[1, 2, 3]),
    (2, 95, 100, &[1, 3]),
    // No capacity is above every mark.
    (3, 0, 0, &[1]),
    // All are above: the least of them is left.
    (1, 99, 100, &[2]),
    (3, 10, 100, &[3]),
];

/// With `min_addresses = 2`.
const TWO: &[Row] = &[
    (1, 90, 100, &[2, 3]),
    // Two are above, so that the lesser of them has to stay.
    (2, 95, 100, &[1, 3]),
    (3, 99, 100, &[1, 2]),
    // Between the marks and advertised so far.
    (1, 70, 100, &[1, 2]),
    // Between the marks and not advertised so far: less than the other that is above.
    (3, 70, 100, &[1, 3]),
    (2, 10, 100, &[1, 2, 3]),
];

/// With as many as there are.
const ALL: &[Row] = &[(1, 90, 100, &[1, 2, 3]), (2, 70, 100, &[1, 2, 3]), (3, 0, 0, &[1, 2, 3]), (2, 2000, 100, &[1, 2, 3])];

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("the_zone_follows_the_load_down_to_one_address", |stage| follow(stage, 1, Script::Reads, ONE)),
        stories.twin("the_zone_follows_the_load_down_to_one_address", Finding::Zone, |stage| {
            follow(stage, 1, Script::IsStuck, &[(1, 90, 100, &[2, 3])])
        }),
        stories.story("the_zone_follows_the_load_down_to_two_addresses", |stage| follow(stage, 2, Script::Reads, TWO)),
        stories.twin("the_zone_follows_the_load_down_to_two_addresses", Finding::Zone, |stage| follow(stage, 1, Script::Reads, TWO)),
        stories.story("the_zone_keeps_all_addresses_whatever_the_load", |stage| follow(stage, 3, Script::Reads, ALL)),
        stories.twin("the_zone_keeps_all_addresses_whatever_the_load", Finding::Zone, |stage| follow(stage, 2, Script::Reads, ALL)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Reads,
    IsStuck,
}

/// What a host's load script prints from its next run on.
fn set_load(pool: &Pool, host: u8, load: u32, capacity: u32) -> Outcome {
    let directory = pool.directory(host);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("load.next"), format!("{load} {capacity}\n"))?;
    Ok(fs::rename(directory.join("load.next"), directory.join("load"))?)
}

/// The leader has heard of the load: a step, not a judgement.
fn wait_heard(pool: &Pool, host: u8, load: u32, capacity: u32) -> Outcome {
    let id = Plan(host).control(0).to_string();
    let says = |status: &Value| {
        let hosts = status.pointer("/groups/0/hosts")?.as_array()?;
        let host = hosts.iter().find(|host| host.get("id").and_then(Value::as_str) == Some(&id))?;
        Some((host.get("load")?.as_u64()?, host.get("capacity")?.as_u64()?))
    };
    // The judge is asked in any case.
    poll_until(within(Duration::from_secs(2)), || {
        let status = pool.raisctl_json(1, &["status"])?;
        Ok((says(&status) == Some((load.into(), capacity.into()))).then_some(()))
    })
    .map(drop)
}

fn follow(stage: &Stage, min_addresses: u32, script: Script, rows: &[Row]) -> Outcome {
    let mut pool = Pool::build(stage, SERVERS.map(HostConfig::server).into_iter().chain([HostConfig::spare(SPARE)]))?;
    for host in NAME_SERVERS {
        set_load(&pool, host, 10, 100)?;
        let path = pool.directory(host).join("load");
        let text = match script {
            Script::Reads => format!("#!/bin/sh\nread line <{}\necho \"$line\"\n", path.display()),
            Script::IsStuck => "#!/bin/sh\necho 10 100\n".to_owned(),
        };
        let program = pool.script(host, "sessions", &text)?;
        pool.configure(host, |config| {
            config.group_keys = "loads = [\"sessions\"]\n".to_owned();
            config.dns_keys = format!("high_water = 80\nlow_water = 60\nmin_addresses = {min_addresses}\n");
            config.tables = format!("[load.sessions]\nkind = \"script\"\ncommand = \"{}\"\ninterval = \"300ms\"\n", program.display());
        })?;
    }
    pool.start_all()?;
    let client = pool.topology().client().clone();
    let mut last: &[u8] = &SERVERS;
    let mut serial = wait_advertised(&client, ZONE, &NAME_SERVERS, &SERVERS.map(service).into(), within(2 * LONG))?;
    for host in SERVERS {
        wait_heard(&pool, host, 10, 100)?;
    }
    for (host, load, capacity, advertised) in rows {
        set_load(&pool, *host, *load, *capacity)?;
        wait_heard(&pool, *host, *load, *capacity)?;
        let wanted = advertised.iter().copied().map(service).collect();
        let found = wait_advertised(&client, ZONE, &NAME_SERVERS, &wanted, within(LONG))?;
        let steps = u32::from(last != *advertised);
        if found != serial + steps {
            let text = format!("the serial goes from {serial} to {found} in {steps} steps when host {host} has {load} of {capacity}");
            return Err(Verdict::new(Finding::Zone, text).into());
        }
        (last, serial) = (advertised, found);
    }
    pool.check()
}
