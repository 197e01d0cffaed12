//! Small words for people: durations, counts, lists, and names that came over the network made fit for a terminal.
//!
//! Owns no state. Called by everything that shows or reads text of the command line.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

/// Units above a second, the greatest first, with their length in seconds.
const UNITS: [(&str, u64); 5] = [("y", 365 * 86_400), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// A duration in at most two units: `120ms`, `12s`, `3m 20s`, `2h 5m`, `3d 4h`, `1y 20d`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let mut words = Vec::new();
    let mut rest = seconds;
    // Two neighbouring units are enough: nobody needs the seconds of a day.
    for (unit, length) in UNITS.into_iter().skip_while(|(_, length)| seconds < *length).take(2) {
        if rest >= length {
            words.push(format!("{}{unit}", rest / length));
        }
        rest %= length;
    }
    words.join(" ")
}

/// The same of a number of milliseconds.
#[must_use]
pub fn millis(count: u64) -> String {
    duration(Duration::from_millis(count))
}

/// Reads a duration as the configuration writes it: a whole number and a unit, `ms`, `s`, `m`, `h`, `d` or `y`.
///
/// # Errors
///
/// What is expected, for people.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is not a duration; expected a whole number and ms, s, m, h, d or y, as in 250ms or 60s");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    if unit == "ms" {
        return Ok(Duration::from_millis(number));
    }
    let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    number.checked_mul(length).map(Duration::from_secs).ok_or_else(|| format!("{text:?} is longer than time is counted"))
}

/// `1 host`, `4 hosts`.
#[must_use]
pub fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// The members with commas; of more than `max` the first ones and how many are left out.
#[must_use]
pub fn list<T: Display>(members: &[T], max: usize) -> String {
    let shown: Vec<String> = members.iter().take(max).map(ToString::to_string).collect();
    match members.len().checked_sub(max) {
        Some(left_out) if left_out > 0 => format!("{} and {left_out} more", shown.join(", ")),
        Some(_) | None => shown.join(", "),
    }
}

/// Text of another host or program without what could steer a terminal.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        Cow::Owned(text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (200_000, "3m 20s"),
            (7_500_000, "2h 5m"),
            (86_400_000, "1d"),
            (86_459_000, "1d"),
            (31_536_000_000, "1y"),
            (33_264_000_000, "1y 20d"),
        ] {
            assert_eq!(millis(ms), text);
        }
    }

    #[test]
    fn durations_are_read_as_the_configuration_writes_them() {
        assert_eq!(read_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(read_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(read_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(read_duration("1y"), Ok(Duration::from_secs(31_536_000)));
        for text in ["", "60", "s", "-1s", "1.5s", "1 s", "1S", "99999999999999999999s", "18446744073709551615y"] {
            assert!(read_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn long_lists_say_how_much_they_leave_out() {
        assert_eq!(list(&["a", "b"], 2), "a, b");
        assert_eq!(list(&["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(list::<&str>(&[], 2), "");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(printable("web\u{1b}[31m\n"), "web\u{fffd}[31m\u{fffd}");
    }
}
