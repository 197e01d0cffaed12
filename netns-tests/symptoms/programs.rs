//! Scripts, tests and loads that fail, hang or print errors.

use std::fs;
use std::time::Duration;

use super::{LONG, Reader, Scene};
use crate::judge::kernel::Kernel;
use crate::judge::place::wait_own;
use crate::judge::{poll_until, within};
use crate::pool::{HostConfig, Pool};
use crate::story::{Failure, Outcome, Stage};

const HOST: u8 = 1;

/// What a script may take.
const TIMEOUT: Duration = Duration::from_millis(300);

const ACQUIRE_FAILS: &str = "An acquire script fails";
const PRINTS: &str = "A script prints something";
const ALL_FAILED: &str = "Every host has failed to acquire an address";
const ACQUIRE_HANGS: &str = "An acquire script hangs";
const RELEASE_FAILS: &str = "A release script fails";
const TEST_FAILS: &str = "A test fails";
const NOBODY: &str = "Nobody serves an address, and no host is fit";
const TEST_IMPOSSIBLE: &str = "A test cannot be run at all";
const LOAD_FAILS: &str = "A load cannot be read";
const NOT_YET: &str = "A test has not passed yet";

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "symptoms_of_scripts", headings: &[ACQUIRE_FAILS, PRINTS, ALL_FAILED, ACQUIRE_HANGS, RELEASE_FAILS], tell: scripts },
    Scene {
        name: "symptoms_of_tests_and_loads",
        headings: &[TEST_FAILS, NOBODY, TEST_IMPOSSIBLE, LOAD_FAILS, NOT_YET],
        tell: tests_and_loads,
    },
];

fn scripts(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = Pool::build(stage, [HostConfig::server(HOST)])?;
    let directory = pool.directory(HOST).display().to_string();
    let tables = format!(
        "[group.scripts]\nacquire = \"{directory}/acquire\"\nrelease = \"{directory}/release\"\ntimeout = \"{}ms\"\n",
        TIMEOUT.as_millis()
    );
    pool.configure(HOST, |config| config.tables = tables)?;
    pool.script(HOST, "acquire", "#!/bin/sh\necho 'gateway 192.0.2.1 refuses the route' >&2\nexit 1\n")?;
    pool.script(HOST, "release", "#!/bin/sh\nexit 3\n")?;
    pool.start(HOST)?;
    reader.expect_log(ACQUIRE_FAILS, &pool, HOST)?;
    reader.expect_log(PRINTS, &pool, HOST)?;
    reader.expect_log(ALL_FAILED, &pool, HOST)?;

    pool.script(HOST, "acquire", "#!/bin/sh\nexec tail -f /dev/null\n")?;
    pool.stop(HOST, LONG)?;
    pool.start(HOST)?;
    reader.expect_log(ACQUIRE_HANGS, &pool, HOST)?;
    pool.stop(HOST, LONG)?;

    pool.script(HOST, "acquire", "#!/bin/sh\n")?;
    pool.start(HOST)?;
    wait_online(&pool)?;
    pool.stop(HOST, LONG)?;
    reader.expect_log(RELEASE_FAILS, &pool, HOST)
}

/// The script has ended, too: an acquire that a stop overtakes has nothing to release.
fn wait_online(pool: &Pool) -> Outcome {
    let online = poll_until(within(LONG), || {
        // The daemon may not answer yet.
        let Ok(status) = pool.raisctl_json(HOST, &["status"]) else { return Ok(None) };
        Ok((status.pointer("/groups/0/addresses/0/state") == Some(&"online".into())).then_some(()))
    })?;
    online.ok_or_else(|| Failure::broken("its address does not come online"))
}

fn tests_and_loads(stage: &Stage, reader: &mut Reader) -> Outcome {
    let mut pool = Pool::build(stage, [HostConfig::server(HOST)])?;
    let flag = pool.directory(HOST).join("well");
    pool.script(HOST, "test", &format!("#!/bin/sh\ntest -e {} || {{ echo 'database is read-only'; exit 1; }}\n", flag.display()))?;
    let test = format!(
        "[test.web]\nkind = \"script\"\ncommand = [\"{}\"]\ninterval = \"100ms\"\ntimeout = \"100ms\"\nrise = 2\nfall = 2\n",
        pool.directory(HOST).join("test").display()
    );
    let load = "[load.queue]\nkind = \"script\"\ncommand = [\"/usr/local/bin/queue-length\"]\ninterval = \"100ms\"\n";
    pool.configure(HOST, |config| {
        config.group_keys = "tests = [\"web\"]\nloads = [\"queue\"]".to_owned();
        config.tables = format!("{test}{load}");
    })?;
    fs::write(&flag, "")?;
    let kernel = Kernel::record(pool.topology())?;
    pool.start(HOST)?;
    reader.expect_log(NOT_YET, &pool, HOST)?;
    reader.expect_log(LOAD_FAILS, &pool, HOST)?;
    wait_own(&kernel, &[HOST])?;
    fs::remove_file(&flag)?;
    reader.expect_log(TEST_FAILS, &pool, HOST)?;
    reader.expect_log(NOBODY, &pool, HOST)?;
    pool.stop(HOST, LONG)?;
    fs::remove_file(pool.directory(HOST).join("test"))?;
    pool.start(HOST)?;
    reader.expect_log(TEST_IMPOSSIBLE, &pool, HOST)
}
