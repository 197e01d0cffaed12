//! Starts that are refused, and a daemon that is not there: what is printed then.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;

use raisd::demo::plan::Plan;

use super::{LONG, Reader, Scene};
use crate::bad_start::Attempt;
use crate::judge::kernel::Kernel;
use crate::judge::place::wait_own;
use crate::pool::{HostConfig, Pool};
use crate::story::{Outcome, Stage};

const HOST: u8 = 1;

const WRONG: &str = "The configuration is wrong";
const KEY_OPEN: &str = "Others can read the key file";
const NO_CAPABILITY: &str = "A capability is missing";
const PORT_TAKEN: &str = "Another name server has the DNS port";
const SECOND: &str = "Another daemon runs with the same state directory";
const NOBODY_ANSWERS: &str = "`raisctl` finds no daemon";

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "symptoms_of_starts_that_are_refused", headings: &[WRONG, KEY_OPEN, NO_CAPABILITY, PORT_TAKEN], tell: refused },
    Scene { name: "symptoms_of_a_second_daemon_and_of_none", headings: &[SECOND, NOBODY_ANSWERS], tell: second_and_none },
];

fn attempt(pool: &Pool, wrapper: &[&str]) -> Outcome<String> {
    Attempt::start(pool, HOST, wrapper)?.end(LONG)
}

fn refused(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = Pool::build(stage, [HostConfig::server(HOST)])?;
    pool.configure(HOST, |config| config.group_keys = "failback = \"soon\"".to_owned())?;
    let said = attempt(&pool, &[])?;
    reader.expect(WRONG, || Ok(said.clone()))?;

    let key = stage.private().join("open.key");
    crate::pool::keygen(&key)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    pool.configure(HOST, |config| (config.group_keys, config.key_file) = (String::new(), Some(key)))?;
    let said = attempt(&pool, &[])?;
    reader.expect(KEY_OPEN, || Ok(said.clone()))?;

    pool.configure(HOST, |config| config.key_file = None)?;
    let said = attempt(&pool, &["setpriv", "--inh-caps=-all", "--bounding-set=-net_admin"])?;
    reader.expect(NO_CAPABILITY, || Ok(said.clone()))?;

    let namespace = pool.topology().host(HOST)?.namespace();
    let _taken = namespace.run(|| UdpSocket::bind((Plan(HOST).own(), 53)))??;
    let said = attempt(&pool, &[])?;
    reader.expect(PORT_TAKEN, || Ok(said.clone()))
}

fn second_and_none(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = Pool::build(stage, [HostConfig::server(HOST)])?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start(HOST)?;
    wait_own(&kernel, &[HOST])?;
    let said = attempt(&pool, &[])?;
    reader.expect(SECOND, || Ok(said.clone()))?;
    pool.stop(HOST, LONG)?;
    reader.expect_raisctl(NOBODY_ANSWERS, &pool, HOST, &["status"])
}
