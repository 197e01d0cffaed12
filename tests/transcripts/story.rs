//! The text of a story: its head, its setup and its steps, with what the nodes did below each.
//!
//! ```text
//! One or more paragraphs: what the story shows, and which promise it keeps.
//!
//! setup:
//! host web1 prefers 192.0.2.1
//! spare web2
//!
//! story:
//! all start
//! after 6s
//! watch web1
//! web2 loses power
//! after 5s
//!     what web1 was told and did: written by the test, not by hand
//! ```
//!
//! Owns the layout. Lines that begin with blanks are what the test has written; blank lines mean nothing, and a line with `#` in
//! front is a remark.

use crate::phrases::obey;
use crate::setup_lines::{Hosts, SENTENCES};
use crate::stage::{STEPS, Stage};

const INDENT: &str = "    ";

/// Plays a story. The text with what has happened in place of what stood there; else what is wrong, with its line.
pub(crate) fn play(text: &str) -> Result<String, String> {
    let (head, rest) = split(text, 0, "setup:")?;
    if head.trim().is_empty() {
        return Err("line 1: a story begins with a paragraph that says what it shows".to_owned());
    }
    let setup_at = head.lines().count() + 1;
    let (setup, steps) = split(rest, setup_at, "story:")?;
    let mut hosts = Hosts::default();
    for (index, line) in setup.lines().enumerate().filter(|(_, line)| is_said(line)) {
        obey(SENTENCES, &mut hosts, line).map_err(|why| format!("line {}: {why}", setup_at + index + 1))?;
    }
    let mut written = format!("{head}setup:\n{setup}story:\n");
    let mut stage = Stage::new(hosts);
    let steps_at = setup_at + setup.lines().count() + 1;
    for (index, line) in steps.lines().enumerate() {
        if line.starts_with(' ') {
            continue;
        }
        written.push_str(line);
        written.push('\n');
        if !is_said(line) {
            continue;
        }
        obey(STEPS, &mut stage, line).map_err(|why| format!("line {}: {why}", steps_at + index + 1))?;
        for told in stage.told() {
            written.push_str(&format!("{INDENT}{told}\n"));
        }
    }
    Ok(written)
}

fn is_said(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
}

/// What stands before and after the line that begins a part.
fn split<'a>(text: &'a str, from: usize, line: &str) -> Result<(&'a str, &'a str), String> {
    let begin = if text.starts_with(&format!("{line}\n")) { Some(0) } else { text.find(&format!("\n{line}\n")).map(|at| at + 1) };
    let begin = begin.ok_or_else(|| format!("after line {from}: a line {line:?} is missing"))?;
    Ok((&text[..begin], &text[begin + line.len() + 1..]))
}
