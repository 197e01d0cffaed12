//! The forms of `events --json` and `explain --json` against their published JSON Schemas, and the closed lists of their
//! words against the types and `docs/reference.md`: a word that is added fails here until it is published.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::collections::BTreeSet;

use raisd::types::explanation::{Explanation, NextWord, RuleWord};
use raisd::types::item::Reason;
use raisd::types::recorded::{Kind, Recorded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::form::Check;

#[path = "status_schema/form.rs"]
mod form;

const EVENTS: &str = include_str!("../docs/events.schema.json");
const EXPLAIN: &str = include_str!("../docs/explain.schema.json");
const REFERENCE: &str = include_str!("../docs/reference.md");

const EVENT: &str = include_str!("samples/event.json");
const ADDRESS: &str = include_str!("samples/explain-address.json");
const HOST: &str = include_str!("samples/explain-host.json");

/// As the daemon writes it, which is what the sample says.
fn written<T: DeserializeOwned + Serialize>(sample: &str) -> Value {
    let value: T = serde_json::from_str(sample).unwrap();
    let value = serde_json::to_value(value).unwrap();
    assert_eq!(value, serde_json::from_str::<Value>(sample).unwrap());
    value
}

/// Every word of an enum: of an unknown one serde names them all.
fn words<T: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_value::<T>(json!("?")) else { panic!("? is no word") };
    error.to_string().split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

/// The first column of the table after a mark of the reference.
fn documented(mark: &str) -> BTreeSet<String> {
    let (_, table) = REFERENCE.split_once(mark).unwrap();
    let table = table.split("<!-- end -->").next().unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(str::to_owned).collect()
}

fn published(schema: &str, pointer: &str) -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let words = schema.pointer(pointer).unwrap().as_array().unwrap();
    words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn samples_are_as_the_schemas_say_and_every_property_is_demanded_and_said() {
    let mut events = Check::of(EVENTS);
    events.check(&written::<Recorded>(EVENT)).unwrap();
    let mut explain = Check::of(EXPLAIN);
    for sample in [ADDRESS, HOST] {
        explain.check(&written::<Explanation>(sample)).unwrap();
    }
    for check in [events, explain] {
        check.assert_complete();
    }
}

#[test]
fn closed_lists_of_words_are_published_and_documented() {
    for (words, schema, pointer, mark) in [
        (words::<Kind>(), EVENTS, "/$defs/event/properties/kind/enum", "<!-- kinds -->"),
        (words::<Reason>(), EVENTS, "/$defs/event/properties/reason/enum", "\n## Reasons\n"),
        (words::<RuleWord>(), EXPLAIN, "/$defs/place/properties/rule/enum", "<!-- rules -->"),
        (words::<NextWord>(), EXPLAIN, "/$defs/next/properties/what/enum", "<!-- next -->"),
    ] {
        assert_eq!(published(schema, pointer), words, "{pointer}");
        // The table of reasons ends with its section.
        let documented: BTreeSet<String> = documented(mark.split_inclusive("-->").next().unwrap_or(mark));
        assert!(documented.is_superset(&words), "{mark}: {:?} are not in docs/reference.md", words.difference(&documented));
        if mark.starts_with("<!--") {
            assert_eq!(documented, words, "{mark}");
        }
    }
}

#[test]
fn what_a_key_says_cannot_change_unnoticed() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 5] = [
        ("a key is gone", |v| drop(v.as_object_mut().unwrap().remove("reason"))),
        ("another version", |v| v["version"] = json!(2)),
        ("an unknown kind", |v| v["kind"] = json!("exploded")),
        ("an unknown reason", |v| v["reason"] = json!("because")),
        ("a number as text", |v| v["epoch"] = json!("3")),
    ];
    for (what, change) in changes {
        let mut value = written::<Recorded>(EVENT);
        change(&mut value);
        assert!(Check::of(EVENTS).check(&value).is_err(), "{what}");
    }
    let changes: [(&str, Change); 3] = [
        ("a rule of no list", |v| v["groups"][0]["address"]["rule"] = json!("luck")),
        ("an age in words", |v| v["groups"][0]["address"]["evidence"][0]["age_ms"] = json!("young")),
        ("a key is gone", |v| drop(v["groups"][0]["address"].as_object_mut().unwrap().remove("what_if"))),
    ];
    for (what, change) in changes {
        let mut value = written::<Explanation>(ADDRESS);
        change(&mut value);
        assert!(Check::of(EXPLAIN).check(&value).is_err(), "{what}");
    }
}
