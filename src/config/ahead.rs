//! Keys of the contract whose mechanism this version has not: their values are checked, so that a file that is right stays right.
//!
//! A value that asks for such a mechanism gets a warning that says what happens instead. One that asks for a safety that nothing else
//! gives is an error: who writes `partition = "majority"` must not run without it. Called by `reader` for each such key; reads
//! nothing for the daemon.

use std::time::Duration;

use super::fault::{Faults, Problem, Reported};
use super::reader::{Placed, absolute, accepted, address, all, check_choice, duration, shown, text, texts, wrong_kind};
use super::scalar;
use super::schema::Section;
use super::tree::{Content, Entry, Value};

/// A key without its mechanism.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    pub(super) form: Form,
    /// The value that does without the mechanism, as in TOML; empty: to leave the key out.
    pub(super) off: &'static str,
    /// Values, as in TOML, that are errors.
    pub(super) refused: &'static [&'static str],
    /// What happens without the mechanism.
    pub(super) instead: &'static str,
}

/// What a value has to look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Array of addresses.
    Addresses,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// At least so long, or this word if it is not empty.
    Duration(Duration, &'static str),
    /// Address and port; this one if none is given.
    Endpoint(u16),
    /// Array of such.
    Endpoints(u16),
    Flag,
    /// An absolute path.
    Path,
    /// Array of tables with an endpoint under `server` and a path under `key_file`.
    Servers,
    Table(&'static Section),
    Tables(&'static Section),
    Text,
    /// Array of words.
    Words,
}

/// Checks a key's value. The keys of a table that is itself without mechanism have no warnings of their own.
pub(super) fn check(key: &'static str, ahead: &Ahead, entry: &Entry, is_within: bool, faults: &mut Faults) {
    if check_form(key, ahead.form, &entry.value, faults).is_err() {
        return;
    }
    let value = shown(&entry.value.content);
    let (what, place, expected) = match ahead.form {
        Form::Table(section) | Form::Tables(section) => (section.header.to_owned(), entry.place, String::from("no such table")),
        Form::Addresses
        | Form::Choice(_)
        | Form::Duration(..)
        | Form::Endpoint(_)
        | Form::Endpoints(_)
        | Form::Flag
        | Form::Path
        | Form::Servers
        | Form::Text
        | Form::Words => {
            let expected = if ahead.off.is_empty() { format!("no {key}") } else { format!("{key} = {}", ahead.off) };
            (format!("{key} = {value}"), entry.value.place, expected)
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    if ahead.refused.contains(&value.as_str()) {
        let problem = Problem::at(place, format!("{what} is not available in raisd {version}"));
        faults.error(problem.expects(expected).help(ahead.instead));
    } else if value != ahead.off && !is_within {
        let problem = Problem::at(place, format!("{what} has no effect in raisd {version}"));
        faults.warning(problem.expects(expected).help(ahead.instead));
    }
}

fn check_form(key: &str, form: Form, value: &Value, faults: &mut Faults) -> Result<(), Reported> {
    match form {
        Form::Addresses => each(key, value, faults, |text, faults| address(key, text, faults).map(drop)),
        Form::Choice(words) => check_choice(key, text(key, value, faults)?, words, faults),
        Form::Duration(least, word) => {
            let text = text(key, value, faults)?;
            if !word.is_empty() && text.value == word {
                return Ok(());
            }
            let or = if word.is_empty() { String::new() } else { format!(" or {word:?}") };
            duration(key, text, &(least..=scalar::DURATION_MAX), &or, faults).map(drop)
        }
        Form::Endpoint(port) => endpoint(key, port, text(key, value, faults)?, faults),
        Form::Endpoints(port) => each(key, value, faults, |text, faults| endpoint(key, port, text, faults)),
        Form::Flag => match value.content {
            Content::Boolean(_) => Ok(()),
            Content::Datetime | Content::Float | Content::Integer(_) | Content::List(_) | Content::Table(_) | Content::Text(_) => {
                Err(wrong_kind(key, value, "true or false", faults))
            }
        },
        Form::Path => accepted(key, text(key, value, faults)?, absolute, faults).map(drop),
        Form::Servers => servers(key, value, faults),
        Form::Table(section) => check_table(key, section, value, faults),
        Form::Tables(section) => {
            let Content::List(values) = &value.content else {
                return Err(wrong_kind(key, value, &format!("{} in double brackets", section.header), faults));
            };
            all(values.iter().map(|value| check_table(key, section, value, faults)).collect()).map(drop)
        }
        Form::Text => text(key, value, faults).map(drop),
        Form::Words => each(key, value, faults, |text, faults| accepted(key, text, scalar::word, faults).map(drop)),
    }
}

/// Checks every text of an array.
fn each(
    key: &str,
    value: &Value,
    faults: &mut Faults,
    check: impl Fn(Placed<&str>, &mut Faults) -> Result<(), Reported>,
) -> Result<(), Reported> {
    let texts = texts(key, value, faults)?;
    all(texts.into_iter().map(|text| check(text, faults)).collect()).map(drop)
}

fn endpoint(key: &str, port: u16, text: Placed<&str>, faults: &mut Faults) -> Result<(), Reported> {
    match scalar::endpoint(text.value, port) {
        Some(endpoint) if endpoint.port() != 0 => Ok(()),
        Some(_) | None => {
            let problem = Problem::at(text.place, format!("{key} cannot be {:?}", text.value));
            Err(faults.error(problem.expects(format!("an address, with or without a port, like \"10.0.0.53:{port}\""))))
        }
    }
}

fn servers(key: &str, value: &Value, faults: &mut Faults) -> Result<(), Reported> {
    let Content::List(values) = &value.content else {
        return Err(wrong_kind(key, value, &format!("an array of {}", server_form("server")), faults));
    };
    all(values.iter().map(|value| check_server(key, "server", value, faults)).collect()).map(drop)
}

/// A name server with the key that goes with it, in an array whose other forms have a meaning; `instead`: what happens without it.
pub(super) fn server(
    key: &'static str,
    address: &'static str,
    value: &Value,
    instead: &'static str,
    faults: &mut Faults,
) -> Result<(), Reported> {
    check_server(key, address, value, faults)?;
    let problem = Problem::at(value.place, format!("{key} with a key_file has no effect in raisd {}", env!("CARGO_PKG_VERSION")));
    faults.warning(problem.expects("an address or a network, like \"10.0.0.53\"").help(instead));
    Ok(())
}

fn server_form(address: &str) -> String {
    format!("{{ {address} = \"10.0.0.53\", key_file = \"/etc/raisd/tsig.key\" }}")
}

fn check_server(key: &str, address: &str, value: &Value, faults: &mut Faults) -> Result<(), Reported> {
    let form = server_form(address);
    let Content::Table(table) = &value.content else { return Err(wrong_kind(&format!("an entry of {key}"), value, &form, faults)) };
    let checked = table.entries.iter().map(|entry| match entry.key.as_str() {
        name if name == address => endpoint(name, 53, text(name, &entry.value, faults)?, faults),
        "key_file" => accepted("key_file", text("key_file", &entry.value, faults)?, absolute, faults).map(drop),
        other => Err(faults.error(Problem::at(entry.place, format!("{key} has no key {other:?}")).expects(form.as_str()))),
    });
    all(checked.collect())?;
    match table.entry(address) {
        Some(_) => Ok(()),
        None => Err(faults.error(Problem::at(value.place, format!("{key} has no {address}")).expects(form))),
    }
}

fn check_table(key: &str, section: &'static Section, value: &Value, faults: &mut Faults) -> Result<(), Reported> {
    let Content::Table(table) = &value.content else {
        return Err(wrong_kind(key, value, &format!("a table, {}", section.header), faults));
    };
    super::reader::Reader::open(section, table, faults);
    Ok(())
}
