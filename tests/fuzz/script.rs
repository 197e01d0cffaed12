//! What a script prints, through a real process and the real port, into the log and the core.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use raisd::node::action::{ScriptAction, ScriptJob};
use raisd::node::event::{Event, GroupIndex, OpId, Outcome};
use raisd::ports::script::{GroupScripts, Scripts};
use raisd::types::item::{Epoch, Item, Reason};
use tempfile::TempDir;

use crate::setup::host;

/// The longest line of a script that is logged, with what the log puts before it and escapes in it.
const LOG_LINE_BYTES_MAX: usize = 16 * 1024;

/// Lines of one channel that are logged, a last one that says so, and what is said of the end.
const LOG_LINES_MAX: usize = 2 * 200 + 4;

/// What a failure says, which travels into events and status.
const WHY_BYTES_MAX: usize = 8 * 1024;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    static STAGE: TempDir = stage();
}

fn stage() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("acquire");
    let text = "#!/bin/sh\ncd \"${0%/*}\" || exit 9\ncat out\ncat err >&2\nread -r code <code\nexit \"$code\"\n";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// The first byte is its exit status, the second says where of the rest standard output ends.
pub(crate) fn output(bytes: &[u8]) {
    let Some(([code, cut], printed)) = bytes.split_first_chunk::<2>() else { return };
    let (out, err) = printed.split_at(printed.len() * usize::from(*cut) / 256);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).without_time().finish();
    let outcome = tracing::subscriber::with_default(subscriber, || run(*code % 3, out, err));
    match &outcome {
        Outcome::Done => assert_eq!(code % 3, 0),
        Outcome::Failed { why } => {
            assert_ne!(code % 3, 0, "{why}");
            assert!(why.len() <= WHY_BYTES_MAX && !why.chars().any(char::is_control), "{why:?}");
        }
        Outcome::TimedOut => panic!("it has a minute"),
    }
    let logged = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = String::from_utf8(logged).expect("a log of text");
    assert!(text.lines().count() <= LOG_LINES_MAX, "{} lines", text.lines().count());
    for line in text.lines() {
        assert!(line.len() <= LOG_LINE_BYTES_MAX && !line.chars().any(char::is_control), "{line:?}");
    }
}

fn run(code: u8, out: &[u8], err: &[u8]) -> Outcome {
    STAGE.with(|directory| {
        let path = directory.path();
        fs::write(path.join("out"), out).unwrap();
        fs::write(path.join("err"), err).unwrap();
        fs::write(path.join("code"), format!("{code}\n")).unwrap();
        let group = GroupScripts {
            group: "www".to_owned(),
            acquire: Some(path.join("acquire")),
            release: None,
            timeout: Duration::from_secs(60),
            user: None,
        };
        let job = ScriptJob {
            group: GroupIndex(0),
            action: ScriptAction::Acquire,
            interface: "svc0".to_owned(),
            item: Item::Address([192, 0, 2, 1].into()),
            prefix: 32,
            reason: Reason::Home,
            epoch: Epoch(7),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut scripts, mut answers) = Scripts::new(host(1), [(GroupIndex(0), group)].into());
            scripts.run(OpId(1), job);
            match answers.recv().await {
                Some(Event::Finished { op: OpId(1), outcome }) => outcome,
                other => panic!("one operation, one answer: {other:?}"),
            }
        })
    })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let long = [b"\x01\x80".to_vec(), vec![b'x'; 5000]].concat();
    let flood = [b"\x00\x80".to_vec(), b"y\n".repeat(1500)].concat();
    vec![
        b"\x00\xffall is well\n".to_vec(),
        b"\x01\x00no route to host\nsecond\n".to_vec(),
        b"\x02\x80\x1b[2Jcleared\r\n\xff\xfe\x00\x07\n\tRAISD level=error faked\n".to_vec(),
        "\u{2}\u{80}\u{202e}ltr \u{2028} line \u{85}next\n\u{feff}".as_bytes().to_vec(),
        long,
        flood,
    ]
}
