//! The form of `status --json` against its published JSON Schema, both ways: what a [`View`] says is what the schema
//! allows and demands, and the schema names nothing that no view says.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use raisd::types::view::View;
use serde_json::{Value, json};

use self::form::Check;

#[path = "status_schema/form.rs"]
mod form;

const SCHEMA: &str = include_str!("../docs/status.schema.json");

const SAMPLE: &str = include_str!("samples/status.json");

/// As the daemon writes it.
fn sample() -> Value {
    let view: View = serde_json::from_str(SAMPLE).unwrap();
    serde_json::to_value(view).unwrap()
}

#[test]
fn the_sample_says_everything_that_a_view_says() {
    assert_eq!(sample(), serde_json::from_str::<Value>(SAMPLE).unwrap());
}

#[test]
fn a_view_is_as_the_schema_says() {
    Check::of(SCHEMA).check(&sample()).unwrap();
}

#[test]
fn every_property_of_the_schema_is_demanded_and_is_said_by_a_view() {
    let mut check = Check::of(SCHEMA);
    check.check(&sample()).unwrap();
    check.assert_complete();
}

#[test]
fn what_a_contract_key_says_cannot_change_unnoticed() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 9] = [
        ("a key is gone", |v| drop(v["groups"][0].as_object_mut().unwrap().remove("leader"))),
        ("a key is renamed", |v| v["groups"][0]["hosts"][0]["is_self"] = json!(true)),
        ("another version", |v| v["version"] = json!(2)),
        ("an unknown state", |v| v["groups"][0]["addresses"][0]["state"] = json!("Online")),
        ("a number as text", |v| v["groups"][0]["addresses"][0]["epoch"] = json!("3")),
        ("a negative age", |v| v["groups"][0]["hosts"][0]["age_ms"] = json!(-1)),
        ("an id that is no address", |v| v["groups"][0]["leader"] = json!("web1")),
        ("a duration in words", |v| v["groups"][0]["policy"]["failback"] = json!("soon")),
        ("an unexpected null", |v| v["host"]["name"] = Value::Null),
    ];
    for (what, change) in changes {
        let mut value = sample();
        change(&mut value);
        assert!(Check::of(SCHEMA).check(&value).is_err(), "{what}");
    }
}
