//! One file for all hosts: each includes it beside the few lines of its own, and finds its addresses in it by its name.
//!
//! Control networks are named by their interfaces there, so that it is the same everywhere; a reload takes up what becomes
//! different in it. Twin: a host is not named in it, and is a spare.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use libtest_mimic::Trial;
use raisd::demo::plan::{Network, Plan};

use crate::judge::control::Datagrams;
use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, STILL_HEARTBEATS, is_untouched, stays_still, wait_at, wait_own};
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, keygen, service};
use crate::story::{Finding, Outcome, Stage, Stories};

const ALL: [u8; 4] = [1, 2, 3, 4];

/// What a later version of the file adds.
const EXTRA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 33));

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("one_file_serves_all_hosts", |stage| share(stage, "web2")),
        stories.twin("one_file_serves_all_hosts", Finding::Unserved, |stage| share(stage, "somebody")),
    ]
}

fn share(stage: &Stage, second: &str) -> Outcome {
    let mut pool = Pool::build(stage, ALL.map(HostConfig::spare))?;
    let directory = stage.private().join("shared");
    fs::create_dir_all(&directory)?;
    keygen(&directory.join("shared.key"))?;
    for host in ALL {
        let own = own_file(&pool.directory(host), host);
        pool.configure(host, |config| config.file = Some(own))?;
    }
    let third = service(3);
    write_shared(&directory, second, &format!("\"{third}\""))?;
    let kernel = Kernel::record(pool.topology())?;
    let datagrams = Datagrams::record(pool.topology())?;
    pool.start_all()?;
    wait_own(&kernel, &[1, 2, 3])?;
    stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;

    let since = now();
    write_shared(&directory, second, &format!("\"{third}\", \"{EXTRA}\""))?;
    for host in ALL {
        pool.reload(host)?;
    }
    wait_at(&kernel, EXTRA, &[3], within(LONG))?;
    stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;
    is_untouched(&kernel, since, &[(3, EXTRA)])?;
    pool.check()
}

/// What one machine does not share with others: here they have one file system and one hostname.
fn own_file(directory: &Path, host: u8) -> String {
    let directory = directory.display();
    format!(
        "include = [\"../shared/*.toml\"]\n[host]\nname = \"{}\"\nstate_dir = \"{directory}/state\"\nsocket = \"{directory}/raisd.sock\"\n",
        Plan(host).name()
    )
}

fn write_shared(directory: &Path, second: &str, third: &str) -> Outcome {
    let [control0, control1, interface] = [Network::Control(0), Network::Control(1), Network::Service].map(Network::interface);
    fs::write(directory.join("10-host.toml"), format!("[host]\ncontrol = [\"{control0}\", \"{control1}\"]\n"))?;
    let group = format!(
        r#"[[group]]
name = "www"
address = "239.255.42.1"
interface = "{interface}"
heartbeat = "100ms"
timeout = "400ms"
key_file = "{directory}/shared.key"

[group.preferred]
web1 = ["{first_address}"]
{second} = ["{second_address}"]
web3 = [{third}]
"#,
        directory = directory.display(),
        first_address = service(1),
        second_address = service(2),
    );
    Ok(fs::write(directory.join("20-group.toml"), group)?)
}
