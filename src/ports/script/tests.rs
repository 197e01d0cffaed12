use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::captured_log::CapturedLog;
use super::*;
use crate::node::event::GroupIndex;
use crate::types::item::{Epoch, Reason};

/// Far above what any of these tests takes: reached only if something hangs.
const HANGS: Duration = Duration::from_secs(60);

/// A timeout that is meant to be reached: long enough for the script to get going on a machine that is busy with other tests.
const RUNS_UP: Duration = Duration::from_secs(2);

struct Stage {
    directory: TempDir,
    scripts: Scripts,
    answers: UnboundedReceiver<Event>,
}

impl Stage {
    /// One group whose acquire script has this text, with `DIR` replaced by a directory of its own.
    fn new(text: &str) -> Self {
        Self::with(text, |_| {})
    }

    fn with(text: &str, change: impl FnOnce(&mut GroupScripts)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = write_script(&directory, "acquire", text);
        let mut group =
            GroupScripts { group: "www".to_owned(), acquire: Some(path), release: None, timeout: Duration::from_secs(30), user: None };
        change(&mut group);
        let (scripts, answers) = Scripts::new(HostId([10, 0, 0, 11].into()), [(GroupIndex(0), group)].into());
        Self { directory, scripts, answers }
    }

    fn acquire(&mut self, op: u64) {
        self.scripts.run(OpId(op), job(ScriptAction::Acquire));
    }

    async fn answer(&mut self) -> (OpId, Outcome) {
        let event = timeout(HANGS, self.answers.recv()).await.expect("an answer").expect("the channel is open");
        let Event::Finished { op, outcome } = event else { panic!("only operations end here: {event:?}") };
        (op, outcome)
    }

    async fn outcome(&mut self) -> Outcome {
        self.acquire(1);
        self.answer().await.1
    }

    async fn why(&mut self) -> String {
        match self.outcome().await {
            Outcome::Failed { why } => why,
            other @ (Outcome::Done | Outcome::TimedOut) => panic!("it should have failed: {other:?}"),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }
}

fn job(action: ScriptAction) -> ScriptJob {
    ScriptJob {
        group: GroupIndex(0),
        action,
        interface: "eth0".to_owned(),
        item: Item::Address([192, 0, 2, 11].into()),
        prefix: 32,
        reason: Reason::Home,
        epoch: Epoch(7),
    }
}

fn write_script(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text.replace("DIR", &directory.path().display().to_string())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    path
}

/// A named pipe: opening it waits for the script, its end tells that all who had it open are gone.
fn make_fifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
}

/// On a thread of its own: if nobody ever opens the pipe, the test fails instead of waiting for the thread.
async fn read_fifo(path: PathBuf) -> String {
    let (sender, text) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
        sender.send(text)
    });
    timeout(HANGS, text).await.expect("the writers open and end").unwrap()
}

#[tokio::test]
async fn a_script_that_succeeds_is_done_and_gets_arguments_and_environment() {
    let mut stage =
        Stage::new("#!/bin/sh\nprintf '%s\\n' \"$@\" \"$PWD\" >DIR/arguments\nenv >DIR/environment\nreadlink /proc/self/fd/0 >DIR/stdin\n");
    assert_eq!(stage.outcome().await, Outcome::Done);
    assert_eq!(stage.read("arguments"), "192.0.2.11\n32\neth0\n/\n");
    assert_eq!(stage.read("stdin"), "/dev/null\n");
    let environment = stage.read("environment");
    let environment: BTreeMap<_, _> = environment.lines().filter_map(|line| line.split_once('=')).collect();
    let expected = [
        ("RAISD_ACTION", "acquire"),
        ("RAISD_ADDRESS", "192.0.2.11"),
        ("RAISD_EPOCH", "7"),
        ("RAISD_GROUP", "www"),
        ("RAISD_HOST", "10.0.0.11"),
        ("RAISD_INTERFACE", "eth0"),
        ("RAISD_ITEM", "192.0.2.11"),
        ("RAISD_KIND", "address"),
        ("RAISD_PREFIX", "32"),
        ("RAISD_REASON", "home"),
    ];
    for (name, value) in expected {
        assert_eq!(environment.get(name), Some(&value), "{name}");
    }
    assert!(environment.contains_key("PATH"));
    // The shell adds a few of its own; nothing of the daemon's gets through.
    let foreign: Vec<_> = environment.keys().filter(|name| !name.starts_with("RAISD_")).collect();
    assert!(foreign.iter().all(|name| ["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)), "{foreign:?}");
}

#[tokio::test]
async fn a_data_set_is_named_in_place_of_an_address() {
    let mut stage = Stage::new("#!/bin/sh\necho \"$1 $2 $3 $RAISD_KIND $RAISD_ITEM <$RAISD_ADDRESS>\" >DIR/seen\n");
    let job = ScriptJob { item: Item::DataSet("orders".to_owned()), prefix: 0, ..job(ScriptAction::Acquire) };
    stage.scripts.run(OpId(1), job);
    assert_eq!(stage.answer().await, (OpId(1), Outcome::Done));
    assert_eq!(stage.read("seen"), "orders 0 eth0 data-set orders <>\n");
}

#[tokio::test]
async fn a_script_that_fails_says_its_path_its_status_and_its_last_words() {
    let mut stage = Stage::new("#!/bin/sh\necho first >&2\necho 'no route to the switch' >&2\necho >&2\nexit 3\n");
    let why = stage.why().await;
    let path = stage.file("acquire");
    assert_eq!(why, format!("acquire script {} exited with status 3, saying \"no route to the switch\"", path.display()));
}

#[tokio::test]
async fn a_script_that_dies_of_a_signal_says_which() {
    let mut stage = Stage::new("#!/bin/sh\nkill -SEGV $$\n");
    let why = stage.why().await;
    assert!(why.ends_with("was killed by SIGSEGV"), "{why}");
}

#[tokio::test]
async fn a_script_that_cannot_be_run_says_what_to_do() {
    type Change = fn(&mut GroupScripts);
    let cases: [(&str, Change, &str); 6] = [
        ("#!/bin/sh\n", |group| group.acquire = Some("/nonexistent/acquire".into()), "/nonexistent/acquire does not exist: install it"),
        ("#!/bin/sh\n", |group| group.acquire = group.acquire.take().map(|path| path.parent().unwrap().to_owned()), "is a directory"),
        ("#!/bin/sh\n", |group| chmod(group, 0o644), "is not executable (mode 0644): chmod +x "),
        ("#!/nonexistent/sh\n", |_| {}, "names an interpreter after #! that is not there"),
        ("exit 0\n", |_| {}, "its first line must be like #!/bin/sh"),
        ("#!/bin/sh\n", |group| group.user = Some("raisd-no-such-user".to_owned()), "there is no user \"raisd-no-such-user\""),
    ];
    for (text, change, expected) in cases {
        let mut stage = Stage::with(text, change);
        let why = stage.why().await;
        assert!(why.starts_with("acquire script /") && why.contains(expected), "{expected}: {why}");
    }
}

fn chmod(group: &GroupScripts, mode: u32) {
    fs::set_permissions(group.acquire.as_ref().unwrap(), fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn without_a_script_there_is_nothing_to_do() {
    let mut stage = Stage::new("#!/bin/sh\n");
    stage.scripts.run(OpId(5), job(ScriptAction::Release));
    assert_eq!(stage.answer().await, (OpId(5), Outcome::Done));
}

#[tokio::test]
async fn a_group_that_is_gone_fails() {
    let mut stage = Stage::new("#!/bin/sh\n");
    stage.scripts.remove_group(GroupIndex(0));
    let why = stage.why().await;
    assert!(why.contains("configured no longer"), "{why}");
}

#[tokio::test]
async fn a_script_that_hangs_is_ended_with_all_its_children() {
    let text = "#!/bin/sh\nsleep 1000 >DIR/fifo &\nsleep 1000 >DIR/fifo\n";
    let mut stage = Stage::with(text, |group| group.timeout = RUNS_UP);
    make_fifo(&stage.file("fifo"));
    let gone = tokio::spawn(read_fifo(stage.file("fifo")));
    assert_eq!(stage.outcome().await, Outcome::TimedOut);
    assert_eq!(gone.await.unwrap(), "");
}

#[tokio::test]
async fn a_script_may_clean_up_at_its_timeout() {
    let text = "#!/bin/sh\ntrap 'echo cleaned >DIR/trace; exit 0' TERM\nwhile :; do sleep 0.01; done\n";
    let mut stage = Stage::with(text, |group| group.timeout = RUNS_UP);
    assert_eq!(stage.outcome().await, Outcome::TimedOut);
    assert_eq!(stage.read("trace"), "cleaned\n");
}

#[tokio::test]
async fn a_child_that_cleans_up_after_its_parent_died_is_given_the_rest_of_the_grace() {
    let text = "#!/bin/sh\n(trap 'sleep 0.3; echo cleaned >DIR/trace; exit 0' TERM; while :; do sleep 0.01; done) &\nwait\n";
    let mut stage = Stage::with(text, |group| group.timeout = RUNS_UP);
    assert_eq!(stage.outcome().await, Outcome::TimedOut);
    assert_eq!(stage.read("trace"), "cleaned\n");
}

#[tokio::test]
async fn a_script_that_ignores_term_is_killed() {
    let text = "#!/bin/sh\ntrap '' TERM\n: >DIR/fifo\nexec 3>DIR/fifo2\nwhile :; do sleep 1; done\n";
    let mut stage = Stage::with(text, |group| group.timeout = RUNS_UP);
    make_fifo(&stage.file("fifo"));
    make_fifo(&stage.file("fifo2"));
    let ready = tokio::spawn(read_fifo(stage.file("fifo")));
    let gone = tokio::spawn(read_fifo(stage.file("fifo2")));
    assert_eq!(stage.outcome().await, Outcome::TimedOut);
    ready.await.unwrap();
    gone.await.unwrap();
}

#[tokio::test]
async fn a_background_process_that_keeps_the_pipes_does_not_hold_up_the_answer() {
    // It lives until the test opens the named pipe, long after the answer.
    let mut stage = Stage::new("#!/bin/sh\n(read line <DIR/fifo; echo lived >DIR/fifo2) &\necho 'started' >&2\nexit 4\n");
    make_fifo(&stage.file("fifo"));
    make_fifo(&stage.file("fifo2"));
    let why = stage.why().await;
    assert!(why.ends_with("exited with status 4, saying \"started\""), "{why}");
    let path = stage.file("fifo");
    let lived = tokio::spawn(read_fifo(stage.file("fifo2")));
    tokio::task::spawn_blocking(move || fs::write(path, "go on\n").unwrap()).await.unwrap();
    assert_eq!(lived.await.unwrap(), "lived\n");
}

#[tokio::test]
async fn endless_output_without_a_line_end_is_bounded_and_ends_at_the_timeout() {
    let text = "#!/bin/sh\nyes | tr -d '\\n' &\nyes >&2\n";
    let mut stage = Stage::with(text, |group| group.timeout = RUNS_UP);
    assert_eq!(stage.outcome().await, Outcome::TimedOut);
}

#[tokio::test]
async fn much_output_is_read_to_its_end() {
    // More than a pipe holds: the script would hang if nobody read it.
    let mut stage = Stage::new("#!/bin/sh\nhead -c 200000 /dev/zero | tr '\\0' 'x'\necho done >&2\nexit 1\n");
    let why = stage.why().await;
    assert!(why.ends_with("saying \"done\""), "{why}");
}

#[tokio::test]
async fn a_thousand_scripts_run_at_once() {
    // Each says that it has started, then waits for a line, which comes when all have started.
    let mut stage = Stage::with("#!/bin/sh\nprintf x >DIR/started\nread line <DIR/gate\n", |group| group.timeout = HANGS);
    let count = 1000;
    // Opened for both directions, a named pipe makes nobody wait in open().
    let [mut started, mut gate] = ["started", "gate"].map(|name| {
        make_fifo(&stage.file(name));
        fs::OpenOptions::new().read(true).write(true).open(stage.file(name)).unwrap()
    });
    for op in 0..count {
        stage.acquire(op);
    }
    let opening = tokio::task::spawn_blocking(move || {
        let mut seen = vec![0; 1000];
        started.read_exact(&mut seen).unwrap();
        std::io::Write::write_all(&mut gate, &b"\n".repeat(1000)).unwrap();
        gate
    });
    let mut answered = BTreeMap::new();
    for _ in 0..count {
        let (op, outcome) = stage.answer().await;
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(answered.insert(op, ()), None, "{op:?} was answered twice");
    }
    drop(opening.await.unwrap());
}

#[tokio::test]
async fn a_script_that_hangs_holds_up_no_other() {
    let mut stage = Stage::with("#!/bin/sh\nread line <DIR/fifo\n", |group| group.timeout = HANGS);
    make_fifo(&stage.file("fifo"));
    let quick = write_script(&stage.directory, "quick", "#!/bin/sh\n");
    for op in 0..100 {
        stage.acquire(op);
    }
    let mut group = GroupScripts::clone(stage.scripts.groups.get(&GroupIndex(0)).unwrap());
    group.acquire = Some(quick);
    stage.scripts.set_group(GroupIndex(0), group);
    stage.acquire(100);
    assert_eq!(stage.answer().await, (OpId(100), Outcome::Done));
}

#[tokio::test]
async fn dropping_the_port_kills_the_scripts_and_answers_each_once() {
    let mut stage = Stage::new("#!/bin/sh\nexec 3>DIR/fifo\necho $$ >DIR/ready\nexec sleep 1000\n");
    make_fifo(&stage.file("ready"));
    make_fifo(&stage.file("fifo"));
    let ready = tokio::spawn(read_fifo(stage.file("ready")));
    let gone = tokio::spawn(read_fifo(stage.file("fifo")));
    stage.acquire(9);
    let process: i32 = ready.await.unwrap().trim().parse().unwrap();
    let Stage { directory: _directory, scripts, mut answers } = stage;
    drop(scripts);
    let event = timeout(HANGS, answers.recv()).await.unwrap();
    assert!(matches!(event, Some(Event::Finished { op: OpId(9), outcome: Outcome::Failed { .. } })), "{event:?}");
    assert_eq!(timeout(HANGS, answers.recv()).await.unwrap(), None);
    gone.await.unwrap();
    // Nothing tells when tokio has reaped it, so look: signal 0 finds a process as long as it is a zombie.
    let reaped = async {
        while nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), None).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(HANGS, reaped).await.expect("no zombie is left");
}

#[tokio::test]
async fn another_user_has_its_own_groups() {
    if !nix::unistd::Uid::effective().is_root() {
        let mut stage = Stage::with("#!/bin/sh\n", |group| group.user = Some("nobody".to_owned()));
        let why = stage.why().await;
        assert!(why.contains("only root can change users"), "{why}");
        return;
    }
    let text = "#!/bin/sh\necho \"$(id -u) $(id -g) $(id -G) $HOME $USER $LOGNAME\" >DIR/seen\n";
    let mut stage = Stage::with(text, |group| group.user = Some("nobody".to_owned()));
    assert_eq!(stage.outcome().await, Outcome::Done);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let seen = stage.read("seen");
    let expected = format!("{0} {1} {1} {2} nobody nobody\n", nobody.uid, nobody.gid, nobody.dir.display());
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn its_lines_reach_the_log_with_group_item_and_action_but_not_all_of_a_flood() {
    let (log, guard) = CapturedLog::start();
    let mut stage = Stage::new("#!/bin/sh\necho hello\necho trouble >&2\ni=0\nwhile [ $i -lt 1000 ]; do echo flood; i=$((i+1)); done\n");
    assert_eq!(stage.outcome().await, Outcome::Done);
    drop(guard);
    let text = log.text();
    let line = |words: &str| text.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words} not in {text}"));
    for part in ["INFO", "group=www", "item=192.0.2.11", "action=\"acquire\""] {
        assert!(line("hello").contains(part), "{part}: {text}");
    }
    assert!(line("trouble").contains("WARN"), "{text}");
    assert!(line("the rest was dropped").contains("dropped=801"), "{text}");
    assert!(text.lines().count() < 210, "{text}");
}
