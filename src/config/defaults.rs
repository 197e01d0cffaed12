//! `raisd check --defaults`: a configuration file with every key, its default and its meaning.

use super::ahead::Ahead;
use super::schema::{Key, Preset, ROOT, SECTIONS, Scope, Section};

const INTRODUCTION: &str = "\
# raisd.toml: every key with its default and meaning.
#
# A line that starts with # and a letter, like \"#failback = ...\", is a default, or an example where it says so; the others
# have to be set. (G) marks the group-wide keys: the leader's value rules, so keep them the same on every host.
# Durations are a whole number with ms, s, m, h, d or y.
";

/// The tables that a configuration cannot do without.
const NEEDED: [&str; 2] = ["[host]", "[[group]]"];

/// A configuration file with every key: those needed as examples, the others commented out with their defaults.
#[must_use]
pub fn defaults() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in SECTIONS {
        write_section(&mut text, section);
    }
    text
}

fn write_section(text: &mut String, section: &Section) {
    let is_needed = NEEDED.contains(&section.header);
    if section.header != ROOT.header {
        text.push_str(&format!("\n# {}\n", section.meaning));
        text.push_str(&format!("{}{}\n", if is_needed { "" } else { "#" }, section.header));
    }
    for key in section.keys {
        write_key(text, key, is_needed);
    }
}

fn write_key(text: &mut String, key: &Key, is_in_needed_table: bool) {
    let (comment, value, note) = match key.preset {
        // A table has a section of its own; that of a later version is not shown.
        Preset::Table => return,
        Preset::Ahead(Ahead { off: "", .. }) => return,
        Preset::Ahead(Ahead { off, .. }) => (true, off, format!(" Another value has no effect in raisd {}.", env!("CARGO_PKG_VERSION"))),
        Preset::Needed { example } => (!is_in_needed_table, example, String::from(" Needed.")),
        Preset::Unset { example, otherwise } => (true, example, format!(" An example; default: {otherwise}.")),
        Preset::Value(value) => (true, value, String::new()),
    };
    let scope = match key.scope {
        Scope::Group => " (G)",
        Scope::Host => "",
    };
    text.push_str(&format!("\n# {}{note}{scope}\n# {}\n", key.meaning, capitalized(key.form)));
    text.push_str(&format!("{}{} = {value}\n", if comment { "#" } else { "" }, key.name));
}

fn capitalized(form: &str) -> String {
    let mut letters = form.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}
