//! Sentences with gaps: what a line of a story may say, and what stands in its gaps.
//!
//! Owns the matching and the words for numbers, durations, addresses. Knows nothing of pools.

use std::net::IpAddr;
use std::time::Duration;

/// A sentence whose gaps are written `{}`, and what it does to a `T`.
pub(crate) struct Form<T> {
    pub(crate) sentence: &'static str,
    pub(crate) does: fn(&mut T, &[&str]) -> Result<(), String>,
}

/// Does what a line says.
pub(crate) fn obey<T>(forms: &[Form<T>], subject: &mut T, line: &str) -> Result<(), String> {
    let found = forms.iter().find_map(|form| Some((form, gaps(form.sentence, line)?)));
    let Some((form, gaps)) = found else {
        let sentences: Vec<String> = forms.iter().map(|form| format!("    {}", form.sentence)).collect();
        return Err(format!("{line:?} is none of the sentences that can stand here:\n{}", sentences.join("\n")));
    };
    (form.does)(subject, &gaps).map_err(|why| format!("{line:?}, read as {:?}: {why}", form.sentence))
}

/// What stands in the gaps of a sentence, if the line is one of this form. A gap ends where the words after it begin.
fn gaps<'a>(sentence: &str, line: &'a str) -> Option<Vec<&'a str>> {
    let mut words = sentence.split("{}");
    let mut rest = line.strip_prefix(words.next()?)?;
    let mut gaps = Vec::new();
    let mut words = words.peekable();
    while let Some(next) = words.next() {
        let end = if words.peek().is_none() && next.is_empty() {
            rest.len()
        } else if words.peek().is_none() {
            rest.len().checked_sub(next.len()).filter(|end| rest.is_char_boundary(*end) && rest.ends_with(next))?
        } else {
            rest.find(next)?
        };
        let (gap, after) = rest.split_at(end);
        if gap.is_empty() {
            return None;
        }
        gaps.push(gap);
        rest = &after[next.len()..];
    }
    rest.is_empty().then_some(gaps)
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is no duration; write 250ms, 3s, 1500us or 2h");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "h" => Ok(Duration::from_secs(3600 * number)),
        _ => Err(expected()),
    }
}

pub(crate) fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is no number that fits here"))
}

pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no IP address"))
}

/// A list with commas; `nothing` is an empty one.
pub(crate) fn list<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    if text == "nothing" || text == "nobody" {
        return Ok(Vec::new());
    }
    text.split(", ").map(read).collect()
}

#[test]
fn a_gap_ends_where_the_next_words_begin() {
    assert_eq!(gaps("cut {} -> {} on network {}", "cut web1 -> web2 on network 0"), Some(vec!["web1", "web2", "0"]));
    assert_eq!(gaps("{} starts", "web1 starts"), Some(vec!["web1"]));
    assert_eq!(gaps("{} starts", "web1 starts again"), None);
    assert_eq!(gaps("heal", "heal"), Some(vec![]));
    assert_eq!(gaps("after {}", "after "), None);
}
