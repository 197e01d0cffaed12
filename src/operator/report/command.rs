//! Programs of this machine that are asked for a report: bounded in time and in what they print.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// A program that takes longer hangs.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The rest of a longer text is left out.
pub(super) const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What a program prints, or why there is nothing.
pub(super) async fn output(program: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let line = format!("{program} {}", arguments.join(" "));
    let run = async {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("`{line}` cannot be run: {error}"))?;
        let (mut printed, mut complaint) = (Vec::new(), Vec::new());
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            let (mut stdout, mut stderr) = (stdout.take(BYTES_MAX), stderr.take(4096));
            // Both at once: a program that complains at length must not wait for us.
            let read = tokio::join!(stdout.read_to_end(&mut printed), stderr.read_to_end(&mut complaint));
            read.0.and(read.1).map_err(|error| format!("what `{line}` prints cannot be read: {error}"))?;
        }
        let status = child.wait().await.map_err(|error| format!("`{line}` cannot be waited for: {error}"))?;
        if status.success() {
            return Ok(printed);
        }
        let complaint = String::from_utf8_lossy(&complaint);
        Err(format!("`{line}` ended with {status}: {}", complaint.lines().next().unwrap_or("without a word")))
    };
    match tokio::time::timeout(TIME_MAX, run).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("`{line}` took longer than {TIME_MAX:?}")),
    }
}
