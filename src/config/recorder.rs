//! `[recorder]`: the flight recorder.

use super::fault::{Faults, Reported};
use super::reader::{Reader, accepted};
use super::scalar;

/// Half a day and more of three hosts at the default heartbeat.
const SIZE: u64 = 64 * 1024 * 1024;

/// Less has no room for the state of a host with some hundred addresses.
const SIZE_MIN: u64 = 1024 * 1024;

/// What the recordings may take on disk, in bytes; 0: nothing is recorded.
pub(super) fn read(recorder: Option<Reader<'_>>, faults: &mut Faults) -> Result<u64, Reported> {
    let Some(recorder) = recorder else { return Ok(SIZE) };
    let Some(text) = recorder.text("size", faults)? else { return Ok(SIZE) };
    let sane = |text: &str| {
        let size = scalar::size(text).filter(|size| *size == 0 || *size >= SIZE_MIN);
        size.map(drop).ok_or_else(|| {
            String::from("a whole number with KiB, MiB or GiB, at least \"1MiB\", like \"64MiB\", or \"0\" to record nothing")
        })
    };
    let text = accepted("size", text, sane, faults)?;
    Ok(scalar::size(text.value).unwrap_or(SIZE))
}
