//! Keys are changed in a running pool: one for another, and the first one for a group that had none.
//!
//! Step by step, host by host, as the reference says; judged by every word of the kernels about addresses, by a client at 1,000
//! packets a second, and by the ids of the keys that seal what goes over the wire. `raisctl key status` is held against those.
//! Twins: a step is left out, so that a host sends what the others cannot read.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use libtest_mimic::Trial;

use crate::judge::control::Datagrams;
use crate::judge::kernel::Kernel;
use crate::judge::place::{LONG, STILL_HEARTBEATS, is_untouched, stays_still, wait_own};
use crate::judge::steady::Steady;
use crate::judge::{now, poll_until, within};
use crate::pool::{HostConfig, Pool, draw_key, service, write_keys};
use crate::story::{Failure, Finding, Outcome, Stage, Stories, Verdict};

const ALL: [u8; 4] = [1, 2, 3, 4];
/// Of whose address a client asks.
const ASKED: u8 = 2;
/// Stands for no key.
const NONE: u32 = 0;

pub(crate) fn trials(stories: &Stories) -> Vec<Trial> {
    vec![
        stories.story("a_new_key_replaces_the_old_one", |stage| rotate(stage, Steps::All)),
        stories.twin("a_new_key_replaces_the_old_one", Finding::Moved, |stage| rotate(stage, Steps::Hasty)),
        stories.story("keys_are_brought_into_a_group_without", |stage| authenticate(stage, Steps::All)),
        stories.twin("keys_are_brought_into_a_group_without", Finding::Moved, |stage| authenticate(stage, Steps::Hasty)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    All,
    /// Without the one in which every host learns to read the key.
    Hasty,
}

/// Id and secret as they stand in a key file, and the id.
struct Key {
    lines: String,
    id: u32,
}

impl Key {
    fn draw() -> Outcome<Self> {
        let lines = draw_key()?;
        let id = lines.lines().find_map(|line| line.strip_prefix("id = ")?.parse().ok());
        let id = id.ok_or_else(|| Failure::broken("raisctl keygen prints no id"))?;
        Ok(Self { lines, id })
    }
}

struct Scene {
    pool: Pool,
    kernel: Kernel,
    datagrams: Datagrams,
    steady: Steady,
    since: Instant,
}

impl Scene {
    fn build(stage: &Stage, mut prepare: impl FnMut(&mut HostConfig, PathBuf) -> Outcome) -> Outcome<Self> {
        let mut pool = Pool::build(stage, [1, 2, 3].map(HostConfig::server).into_iter().chain([HostConfig::spare(4)]))?;
        for host in ALL {
            let path = key_file(stage, host);
            let mut prepared = Ok(());
            pool.configure(host, |config| prepared = prepare(config, path))?;
            prepared?;
        }
        let kernel = Kernel::record(pool.topology())?;
        let datagrams = Datagrams::record(pool.topology())?;
        pool.start_all()?;
        wait_own(&kernel, &[1, 2, 3])?;
        stays_still(&kernel, &datagrams, &ALL, STILL_HEARTBEATS)?;
        let steady = Steady::start(&pool, service(ASKED), ASKED)?;
        Ok(Self { pool, kernel, datagrams, steady, since: now() })
    }

    /// Nothing happens for a while, and each host seals with this key.
    fn judge(&self, sends: u32) -> Outcome {
        let wanted: BTreeSet<(u8, u32)> = ALL.map(|host| (host, sends)).into();
        // What was under way has arrived by then.
        stays_still(&self.kernel, &self.datagrams, &ALL, STILL_HEARTBEATS)?;
        let since = now();
        stays_still(&self.kernel, &self.datagrams, &ALL, STILL_HEARTBEATS)?;
        is_untouched(&self.kernel, self.since, &[])?;
        let used = self.datagrams.keys(since)?;
        if used != wanted {
            return Err(Verdict::new(Finding::Misreported, format!("on the wire are {used:?} instead of {wanted:?}")).into());
        }
        Ok(())
    }

    /// `raisctl key status` on every host comes to end with `code`, with these hosts missing, and to say all of `words`.
    fn judge_status(&self, code: i32, step: &str, missing: &[u8], words: &[&str]) -> Outcome {
        for asked in ALL {
            let mut last = String::new();
            let said = poll_until(within(LONG), || {
                let plain = self.pool.raisctl(asked, &["key", "status"])?;
                let json = self.pool.raisctl(asked, &["key", "status", "--json"])?;
                let text = String::from_utf8_lossy(&plain.stdout).into_owned();
                last = format!("{}, {}:\n{text}{}", plain.status, json.status, String::from_utf8_lossy(&json.stdout));
                let value: serde_json::Value = serde_json::from_slice(&json.stdout)?;
                let group = |name: &str| value.pointer(&format!("/groups/0/{name}")).cloned().unwrap_or_default();
                let ids: Vec<String> = missing.iter().map(|host| raisd::demo::plan::Plan(*host).control(0).to_string()).collect();
                let is_said = [plain.status.code(), json.status.code()] == [Some(code); 2]
                    && group("step") == step
                    && group("missing") == serde_json::json!(ids)
                    && words.iter().all(|word| text.contains(word));
                Ok(is_said.then_some(()))
            })?;
            if said.is_none() {
                let text = format!("host {asked} does not say {code}, {step}, {missing:?}, {words:?}, but {last}");
                return Err(Verdict::new(Finding::Misreported, text).into());
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        self.steady.was_answered_by_its_host()?;
        self.pool.check()
    }
}

fn key_file(stage: &Stage, host: u8) -> PathBuf {
    stage.private().join(format!("web{host}.key"))
}

fn rotate(stage: &Stage, steps: Steps) -> Outcome {
    let (old, new) = (Key::draw()?, Key::draw()?);
    let scene = Scene::build(stage, |config, path| {
        write_keys(&path, &[(&old.lines, "send")])?;
        config.key_file = Some(path);
        Ok(())
    })?;
    scene.judge(old.id)?;
    scene.judge_status(0, "alone", &[], &[&format!("every host sends with key {} and reads no other", old.id)])?;
    if steps == Steps::All {
        for host in ALL {
            write_keys(&key_file(stage, host), &[(&old.lines, "send"), (&new.lines, "receive")])?;
            scene.pool.reload(host)?;
            let missing: Vec<u8> = ALL.into_iter().filter(|other| *other > host).collect();
            let (code, step) = if missing.is_empty() { (0, "readable") } else { (1, "spreading") };
            scene.judge_status(code, step, &missing, &[&format!("key {}", new.id)])?;
        }
        scene.judge(old.id)?;
        for host in ALL {
            write_keys(&key_file(stage, host), &[(&old.lines, "receive"), (&new.lines, "send")])?;
            scene.pool.reload(host)?;
        }
        scene.judge(new.id)?;
        scene.judge_status(0, "sending", &[], &[&format!("take key {} out of the key file", old.id)])?;
    }
    for host in ALL {
        write_keys(&key_file(stage, host), &[(&new.lines, "send")])?;
        scene.pool.reload(host)?;
        if steps == Steps::Hasty {
            // It is not heard any more, and what it has is given to others.
            stays_still(&scene.kernel, &scene.datagrams, &ALL, STILL_HEARTBEATS)?;
        }
    }
    scene.judge(new.id)?;
    scene.judge_status(0, "alone", &[], &[&format!("every host sends with key {} and reads no other", new.id)])?;
    scene.finish()
}

fn authenticate(stage: &Stage, steps: Steps) -> Outcome {
    let key = Key::draw()?;
    let mut scene = Scene::build(stage, |config, _| {
        config.keyless = true;
        config.group_keys = "insecure = true".to_owned();
        Ok(())
    })?;
    scene.judge(NONE)?;
    scene.judge_status(0, "alone", &[], &["no host has a key"])?;
    if steps == Steps::All {
        for host in ALL {
            let path = key_file(stage, host);
            write_keys(&path, &[(&key.lines, "receive")])?;
            scene.pool.reconfigure(host, |config| {
                config.keyless = false;
                config.key_file = Some(path);
            })?;
            let missing: Vec<u8> = ALL.into_iter().filter(|other| *other > host).collect();
            let (code, step) = if missing.is_empty() { (0, "readable") } else { (1, "spreading") };
            scene.judge_status(code, step, &missing, &[&format!("key {}", key.id)])?;
        }
        scene.judge(NONE)?;
        for host in ALL {
            write_keys(&key_file(stage, host), &[(&key.lines, "send")])?;
            scene.pool.reload(host)?;
        }
        scene.judge(key.id)?;
        scene.judge_status(0, "sending", &[], &["remove insecure = true"])?;
    }
    for host in ALL {
        let path = key_file(stage, host);
        write_keys(&path, &[(&key.lines, "send")])?;
        scene.pool.reconfigure(host, |config| {
            config.keyless = false;
            config.key_file = Some(path);
            config.group_keys.clear();
        })?;
        if steps == Steps::Hasty {
            stays_still(&scene.kernel, &scene.datagrams, &ALL, STILL_HEARTBEATS)?;
        }
    }
    scene.judge(key.id)?;
    scene.judge_status(0, "alone", &[], &[&format!("every host sends with key {} and reads no other", key.id)])?;
    scene.finish()
}
