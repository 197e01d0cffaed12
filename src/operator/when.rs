//! Times as people type and read them: one reader for `--at` and `--until`, one writer for everything that was recorded.
//!
//! Owns the forms. Called by both programs.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::words::read_duration;
use crate::recording::Wall;

/// The forms of a time, for whoever has to be told.
pub const FORMS: &str = "a time of day (23:50 or 23:50:07: the last time it was that), a date and time (2026-11-22 23:50, or as RFC 3339 with its offset), \
                         or how long ago (10m, 90s, 2h)";

/// The present, by this machine's clock.
#[must_use]
pub fn present() -> Wall {
    Wall(Timestamp::now().as_microsecond())
}

/// Reads a time by this machine's clock and zone.
///
/// # Errors
///
/// What is expected, for people.
pub fn read_time(text: &str) -> Result<Wall, String> {
    read(text, Timestamp::now(), &TimeZone::system())
}

fn read(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Wall, String> {
    let failed = || format!("{text:?} is not a time; expected {FORMS}");
    if let Ok(ago) = read_duration(text) {
        return Ok(before(now, ago));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Wall(at.as_microsecond()));
    }
    let local = |civil: DateTime| zone.to_timestamp(civil).map_err(|_| failed());
    // A date alone would be read as its midnight, which nobody means.
    if text.contains(':') && text.contains('-') {
        let civil: DateTime = text.parse().map_err(|_| failed())?;
        return Ok(Wall(local(civil)?.as_microsecond()));
    }
    let time: Time = Some(text).filter(|text| text.contains(':')).ok_or_else(failed)?.parse().map_err(|_| failed())?;
    let today = zone.to_datetime(now).date();
    let at = local(today.to_datetime(time))?;
    if at <= now {
        return Ok(Wall(at.as_microsecond()));
    }
    let yesterday = today.checked_sub(1.day()).map_err(|_| failed())?;
    Ok(Wall(local(yesterday.to_datetime(time))?.as_microsecond()))
}

fn before(now: Timestamp, ago: Duration) -> Wall {
    Wall(now.as_microsecond().saturating_sub(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX)))
}

/// `2026-11-22 23:50:07.123456` in this machine's zone.
#[must_use]
pub fn local(wall: Wall) -> String {
    shown(wall, &TimeZone::system())
}

fn shown(wall: Wall, zone: &TimeZone) -> String {
    match Timestamp::from_microsecond(wall.0) {
        Ok(at) => format!("{} {:.6}", zone.to_datetime(at).date(), zone.to_datetime(at).time()),
        // Beyond the year 9999: no clock that people read.
        Err(_) => "unknown".to_owned(),
    }
}

/// The same as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(wall: Wall) -> String {
    Timestamp::from_microsecond(wall.0).map_or_else(|_| "unknown".to_owned(), |at| format!("{at:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 03:10 in the morning, two hours east of Greenwich.
    fn read_at_night(text: &str) -> Result<String, String> {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now: Timestamp = "2026-11-22T01:10:00Z".parse().unwrap();
        read(text, now, &zone).map(|wall| shown(wall, &zone))
    }

    #[test]
    fn a_time_of_day_is_the_last_one() {
        assert_eq!(read_at_night("23:50").unwrap(), "2026-11-21 23:50:00.000000");
        assert_eq!(read_at_night("03:05:07").unwrap(), "2026-11-22 03:05:07.000000");
        assert_eq!(read_at_night("03:10").unwrap(), "2026-11-22 03:10:00.000000");
    }

    #[test]
    fn dates_are_local_unless_they_say_where() {
        assert_eq!(read_at_night("2026-11-21 22:00").unwrap(), "2026-11-21 22:00:00.000000");
        assert_eq!(read_at_night("2026-11-21T22:00:01.5").unwrap(), "2026-11-21 22:00:01.500000");
        assert_eq!(read_at_night("2026-11-21T22:00:00Z").unwrap(), "2026-11-22 00:00:00.000000");
        assert_eq!(read_at_night("2026-11-21T22:00:00+02:00").unwrap(), "2026-11-21 22:00:00.000000");
    }

    #[test]
    fn a_duration_is_so_long_ago() {
        assert_eq!(read_at_night("10m").unwrap(), "2026-11-22 03:00:00.000000");
        assert_eq!(read_at_night("500ms").unwrap(), "2026-11-22 03:09:59.500000");
    }

    #[test]
    fn what_is_no_time_is_told_the_forms() {
        for text in ["", "yesterday", "25:00", "2026-11-21", "10", "noon", "12.5s", "99999999999999999999h"] {
            let error = read_at_night(text).unwrap_err();
            assert!(error.contains("RFC 3339") && error.contains("10m"), "{text}: {error}");
        }
    }
}
