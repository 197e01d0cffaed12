//! What others do to a host's addresses by hand.

use std::net::{IpAddr, Ipv4Addr};

use raisd::demo::plan::{Network, Plan};
use raisd::demo::topology::{add_address, delete_address};

use super::{Reader, Scene};
use crate::judge::kernel::Kernel;
use crate::judge::place::wait_own;
use crate::pool::{HostConfig, Pool, service};
use crate::story::{Outcome, Stage};

const HOST: u8 = 1;

/// Floating, and accepted by nobody.
const UNWANTED: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

const FOREIGN: &str = "An address of the group was there before the daemon";
const NOT_ACCEPTED: &str = "No host accepts an address";
const FOUND: &str = "Something else put an address of the group on the interface";
const LOST: &str = "Something else removed an address";

pub(super) const SCENES: &[Scene] =
    &[Scene { name: "symptoms_of_addresses_changed_by_others", headings: &[FOREIGN, NOT_ACCEPTED, FOUND, LOST], tell: by_others }];

fn by_others(stage: &Stage, reader: &mut Reader) -> Outcome {
    let keys = format!("floating = [\"{UNWANTED}/32\"]\naccept = [\"192.0.2.0/24\"]");
    let mut pool = Pool::build(stage, [HostConfig { group_keys: keys, ..HostConfig::server(HOST) }])?;
    let index = Plan(HOST).interface_index(Network::Service);
    let kernel = Kernel::record(pool.topology())?;
    add_address(pool.topology().host(HOST)?.namespace(), index, service(HOST), 32)?;
    pool.start(HOST)?;
    reader.expect_log(FOREIGN, &pool, HOST)?;
    reader.expect_log(NOT_ACCEPTED, &pool, HOST)?;
    add_address(pool.topology().host(HOST)?.namespace(), index, UNWANTED, 32)?;
    reader.expect_log(FOUND, &pool, HOST)?;
    wait_own(&kernel, &[HOST])?;
    delete_address(pool.topology().host(HOST)?.namespace(), index, service(HOST), 32)?;
    reader.expect_log(LOST, &pool, HOST)?;
    pool.check()
}
