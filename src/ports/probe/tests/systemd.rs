//! A real dbus-daemon with a stand-in for systemd: a real one does not run where tests run.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use zbus::connection::Builder;
use zbus::{Connection, MessageStream, ObjectPath, Variant};

use super::*;

/// What the stand-in says of the unit.
#[derive(Clone, Copy)]
enum Unit {
    /// ActiveState and SubState.
    In(&'static str, &'static str),
    NotLoaded,
    Silent,
}

const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"#;

/// Starts a bus and returns when it listens.
async fn start_bus(directory: &Path) -> Child {
    let config = directory.join("bus.conf");
    let socket = directory.join("bus");
    let _gone = fs::remove_file(&socket);
    fs::write(&config, CONFIG.replace("SOCKET", socket.to_str().unwrap())).unwrap();
    let mut bus = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", config.display()))
        .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("dbus-daemon (install it)");
    let mut address = String::new();
    BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).await.unwrap();
    assert!(address.starts_with("unix:path="), "{address}");
    bus
}

async fn connect(directory: &Path) -> Connection {
    let stream = UnixStream::connect(directory.join("bus")).await.unwrap().into_std().unwrap();
    Builder::unix_stream(stream).build().await.unwrap()
}

/// Starts what answers as systemd does for one unit, in the state that `unit` holds; `asked` gets each method called.
async fn stand_in(directory: &Path, unit: watch::Receiver<Unit>, asked: Sender<String>) -> JoinHandle<()> {
    let connection = connect(directory).await;
    // Who has the name must already be listening: a call that comes too early would never be answered.
    let calls = MessageStream::from(&connection);
    connection.request_name("org.freedesktop.systemd1").await.unwrap();
    tokio::spawn(answer_calls(connection, calls, unit, asked))
}

async fn answer_calls(connection: Connection, mut calls: MessageStream, unit: watch::Receiver<Unit>, asked: Sender<String>) {
    loop {
        // The stream ends with the bus.
        let Some(Ok(message)) = futures_util::StreamExt::next(&mut calls).await else { return };
        let header = message.header();
        let Some(member) = header.member() else { continue };
        let state = *unit.borrow();
        let _unread = asked.try_send(member.to_string());
        match (member.as_str(), state) {
            (_, Unit::Silent) => {}
            ("GetUnit", Unit::NotLoaded) => {
                let name = "org.freedesktop.systemd1.NoSuchUnit";
                connection.reply_error(&header, name, &("Unit nginx.service not loaded.",)).await.unwrap();
            }
            ("GetUnit", Unit::In(..)) => {
                let (name,): (String,) = message.body().deserialize().unwrap();
                assert_eq!(name, "nginx.service");
                let path = ObjectPath::try_from("/org/freedesktop/systemd1/unit/nginx_2eservice").unwrap();
                connection.reply(&header, &path).await.unwrap();
            }
            ("Get", Unit::In(active, sub)) => {
                assert_eq!(header.path().map(|path| path.as_str()), Some("/org/freedesktop/systemd1/unit/nginx_2eservice"));
                let (interface, property): (String, String) = message.body().deserialize().unwrap();
                assert_eq!(interface, "org.freedesktop.systemd1.Unit");
                let value = match property.as_str() {
                    "ActiveState" => active,
                    "SubState" => sub,
                    other => panic!("{other} was asked for"),
                };
                connection.reply(&header, &Variant::from(value)).await.unwrap();
            }
            _ => {}
        }
    }
}

fn systemd_test(directory: &Path, timeout: Duration) -> TestSpec {
    spec(TestKind::Systemd { unit: "nginx.service".to_owned(), bus: directory.join("bus") }, timeout)
}

#[tokio::test]
async fn a_systemd_test_goes_by_the_state_of_the_unit() {
    let directory = tempfile::tempdir().unwrap();
    let _bus = start_bus(directory.path()).await;
    let (state, states) = watch::channel(Unit::In("active", "running"));
    let (asked, mut calls) = channel(1_000);
    let _systemd = stand_in(directory.path(), states, asked).await;
    let (_probes, mut results) = Probes::start(vec![systemd_test(directory.path(), Duration::from_secs(2))], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);

    state.send(Unit::In("failed", "failed")).unwrap();
    assert_eq!(fails_again(&mut results).await, "unit nginx.service is failed (failed)");
    state.send(Unit::In("reloading", "reload")).unwrap();
    passes_again(&mut results).await;
    state.send(Unit::In("activating", "auto-restart")).unwrap();
    assert_eq!(fails_again(&mut results).await, "unit nginx.service is activating (auto-restart)");
    state.send(Unit::NotLoaded).unwrap();
    assert_eq!(fails_text(&mut results, "loaded").await, "unit nginx.service is not active: systemd has not loaded it");
    state.send(Unit::Silent).unwrap();
    let why = fails_text(&mut results, "within").await;
    assert_eq!(why, "systemd did not say whether nginx.service is active within 2s");
    state.send(Unit::In("active", "running")).unwrap();
    passes_again(&mut results).await;

    // Only what reads: a test must never start or stop anything.
    calls.close();
    while let Some(call) = calls.recv().await {
        assert!(["GetUnit", "Get", "NameAcquired"].contains(&call.as_str()), "{call}");
    }
}

#[tokio::test]
async fn a_systemd_test_outlives_the_bus_and_systemd_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (_probes, mut results) = Probes::start(vec![systemd_test(directory.path(), AMPLE)], Vec::new());
    let why = failure(&mut results).await;
    assert!(why.starts_with("the bus at ") && why.contains("cannot be reached: No such file"), "{why}");

    let mut bus = start_bus(directory.path()).await;
    let why = fails_text(&mut results, "systemd could not be asked").await;
    assert!(why.contains("org.freedesktop.systemd1"), "{why}");
    let (_state, states) = watch::channel(Unit::In("active", "running"));
    let (asked, _calls) = channel(1);
    let first = stand_in(directory.path(), states.clone(), asked.clone()).await;
    passes_again(&mut results).await;

    bus.kill().await.unwrap();
    first.abort();
    fails_again(&mut results).await;
    let _bus = start_bus(directory.path()).await;
    let _second = stand_in(directory.path(), states, asked).await;
    passes_again(&mut results).await;
}
