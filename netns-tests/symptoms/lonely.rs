//! One host to which something is missing: an interface, its control addresses, what it had on disk, time to run.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use raisd::demo::lab;
use raisd::demo::plan::{Network, Plan};
use raisd::demo::probes::Client;
use raisd::demo::topology::{add_address, delete_address};
use rtnetlink::LinkUnspec;

use super::{LONG, Reader, Scene};
use crate::judge::kernel::Kernel;
use crate::judge::place::{wait_at, wait_own};
use crate::judge::{now, within};
use crate::pool::{HostConfig, Pool, ZONE, service};
use crate::story::{Failure, Outcome, Stage};

const HOST: u8 = 1;

const NO_INTERFACE: &str = "The service interface does not exist";
const NO_CARRIER: &str = "The service interface has no carrier";
const NO_CONTROL: &str = "No control address is there";
const ONE_CONTROL: &str = "One control network does not work";
const SERVFAIL: &str = "The zone is answered with SERVFAIL";
const DAMAGED: &str = "A state file is damaged";
const UNWRITABLE: &str = "State cannot be written";
const STALLED: &str = "The daemon did not run for a while";

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "symptoms_of_a_service_interface_that_is_missing", headings: &[NO_INTERFACE], tell: no_interface },
    Scene { name: "symptoms_of_control_addresses_that_are_missing", headings: &[NO_CONTROL, ONE_CONTROL, SERVFAIL], tell: no_control },
    Scene { name: "symptoms_of_a_lonely_host", headings: &[NO_CARRIER, DAMAGED, UNWRITABLE, STALLED], tell: lonely },
];

fn one_host(stage: &Stage) -> Outcome<Pool> {
    Pool::build(stage, [HostConfig::server(HOST)])
}

fn no_interface(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = one_host(stage)?;
    let namespace = pool.topology().host(HOST)?.namespace();
    let link = || LinkUnspec::new_with_index(Plan(HOST).interface_index(Network::Service));
    namespace.set_link(link().down())?;
    namespace.set_link(link().name("other0".to_owned()))?;
    pool.start(HOST)?;
    reader.expect_log(NO_INTERFACE, &pool, HOST)
}

/// The twin: the interface is there, and so the quote is not.
pub(super) fn nothing_is_missing(stage: &Stage) -> Outcome {
    let mut pool = one_host(stage)?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start(HOST)?;
    wait_own(&kernel, &[HOST])?;
    // Once it serves it has said whatever it has to say about its interface.
    Reader::open()?.wait(NO_INTERFACE, Duration::ZERO, || Ok(fs::read_to_string(pool.log(HOST))?))
}

fn no_control(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = one_host(stage)?;
    let plan = Plan(HOST);
    let each = |network: u8| (plan.interface_index(Network::Control(network)), plan.control(network).into());
    for (index, address) in [0, 1].map(each) {
        delete_address(pool.topology().host(HOST)?.namespace(), index, address, 24)?;
    }
    pool.start(HOST)?;
    reader.expect_log(NO_CONTROL, &pool, HOST)?;
    reader.expect(SERVFAIL, || {
        let mut dig = lab::command("dig");
        dig.args([&format!("@{}", plan.own()), ZONE, "A", "+tries=1", "+time=1"]);
        Ok(String::from_utf8_lossy(&pool.topology().client().output(&mut dig)?.stdout).into_owned())
    })?;
    let (index, address) = each(1);
    add_address(pool.topology().host(HOST)?.namespace(), index, address, 24)?;
    reader.expect_log(ONE_CONTROL, &pool, HOST)
}

fn lonely(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = one_host(stage)?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start(HOST)?;
    wait_own(&kernel, &[HOST])?;
    pool.topology().cut(HOST, Network::Service)?;
    reader.expect_log(NO_CARRIER, &pool, HOST)?;
    wait_at(&kernel, service(HOST), &[], within(LONG))?;
    pool.topology().mend(HOST, Network::Service)?;
    wait_own(&kernel, &[HOST])?;

    let client = Client::start(pool.topology().client(), service(HOST), Duration::from_millis(10))?;
    pool.signal(HOST, Signal::SIGSTOP)?;
    // The kernel goes on answering; the client's packets tell the time.
    let later = now() + HostConfig::server(HOST).timeout * 2;
    if client.wait_answer(later, within(LONG), |by| by == Plan(HOST).name())?.is_none() {
        return Err(Failure::broken("the client is not answered"));
    }
    pool.signal(HOST, Signal::SIGCONT)?;
    reader.expect_log(STALLED, &pool, HOST)?;
    pool.stop(HOST, LONG)?;

    let state = pool.directory(HOST).join("state");
    fs::write(state.join("groups/www.json"), "{\"version\": 1, \"gro")?;
    pool.start(HOST)?;
    reader.expect_log(DAMAGED, &pool, HOST)?;
    wait_own(&kernel, &[HOST])?;

    fs::remove_dir_all(state.join("groups"))?;
    fs::write(state.join("groups"), "in the way of a directory")?;
    let asked = pool.raisctl(HOST, &["quiesce"])?;
    if asked.status.success() {
        return Err(Failure::broken("a wish that is not on disk is confirmed"));
    }
    reader.expect_log(UNWRITABLE, &pool, HOST)?;
    pool.check()
}
