//! The form of `status --json` against its published JSON Schema, both ways: what a [`View`] says is what the schema
//! allows and demands, and the schema names nothing that no view says.
//!
//! The check knows exactly the keywords that the schema uses and stops at any other, so that none is passed over.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use raisd::operator::words::read_duration;
use raisd::types::view::View;
use serde_json::{Map, Value, json};

const SCHEMA: &str = include_str!("../docs/status.schema.json");
const SAMPLE: &str = include_str!("samples/status.json");

/// Checks values against the schema and remembers which properties it met.
struct Check {
    schema: Value,
    met: BTreeSet<String>,
}

impl Check {
    fn new() -> Self {
        Self { schema: serde_json::from_str(SCHEMA).unwrap(), met: BTreeSet::new() }
    }

    fn check(&mut self, value: &Value) -> Result<(), String> {
        let root = self.schema.clone();
        self.value(value, &root, "")
    }

    /// `place` is where in the whole value. A keyword says nothing of values of another type than its own.
    fn value(&mut self, value: &Value, schema: &Value, place: &str) -> Result<(), String> {
        let rules = schema.as_object().unwrap();
        for (keyword, rule) in rules {
            self.rule(keyword, rule, rules, value, place)?;
        }
        Ok(())
    }

    fn rule(&mut self, keyword: &str, rule: &Value, rules: &Map<String, Value>, value: &Value, place: &str) -> Result<(), String> {
        let holds = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{place}: {value} {what} {rule}")) };
        match keyword {
            "$schema" | "$id" | "$defs" | "title" | "description" => Ok(()),
            "$ref" => {
                let target = self.schema.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap().clone();
                self.value(value, &target, place)
            }
            "type" => {
                let kinds = rule.as_array().map_or_else(|| std::slice::from_ref(rule), Vec::as_slice);
                holds(kinds.iter().any(|kind| is_kind(value, kind.as_str().unwrap())), "is no")
            }
            "const" => holds(value == rule, "is not"),
            "enum" => holds(rule.as_array().unwrap().contains(value), "is none of"),
            "anyOf" => holds(rule.as_array().unwrap().iter().any(|one| self.value(value, one, place).is_ok()), "is none of"),
            "minimum" => holds(value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()), "is below"),
            "maximum" => holds(value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()), "is above"),
            "format" => holds(has_format(value, rule.as_str().unwrap()), "is no"),
            "pattern" => {
                assert_eq!(rule, "^(never|[0-9]+(ms|s|m|h|d|y))$", "the one pattern that this check knows");
                holds(value.as_str().is_none_or(|text| text == "never" || read_duration(text).is_ok()), "does not match")
            }
            "items" => {
                value.as_array().into_iter().flatten().enumerate().try_for_each(|(n, one)| self.value(one, rule, &format!("{place}/{n}")))
            }
            "required" => {
                let Some(object) = value.as_object() else { return Ok(()) };
                let missing = rule.as_array().unwrap().iter().find(|key| !object.contains_key(key.as_str().unwrap()));
                missing.map_or(Ok(()), |key| Err(format!("{place}: {key} is missing")))
            }
            "properties" => {
                for (key, one) in rule.as_object().unwrap() {
                    if let Some(member) = value.get(key) {
                        self.met.insert(property(rules, key));
                        self.value(member, one, &format!("{place}/{key}"))?;
                    }
                }
                Ok(())
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                let others = value.as_object().into_iter().flatten().filter(|(key, _)| known.is_none_or(|known| !known.contains_key(*key)));
                for (key, member) in others {
                    if rule == &json!(false) {
                        return Err(format!("{place}: {key:?} is not in the schema"));
                    }
                    self.value(member, rule, &format!("{place}/{key}"))?;
                }
                Ok(())
            }
            other => panic!("the schema uses {other:?}, which this check does not know"),
        }
    }
}

/// A property by its definition's own list of keys, which is different for each.
fn property(rules: &Map<String, Value>, key: &str) -> String {
    format!("{key} of {}", rules["required"])
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("the schema uses type {other:?}, which this check does not know"),
    }
}

fn has_format(value: &Value, format: &str) -> bool {
    let Some(text) = value.as_str() else { return true };
    match format {
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        other => panic!("the schema uses format {other:?}, which this check does not know"),
    }
}

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
    Check::new().check(&sample()).unwrap();
}

#[test]
fn every_property_of_the_schema_is_demanded_and_is_said_by_a_view() {
    let mut check = Check::new();
    check.check(&sample()).unwrap();
    let mut count = 0;
    for (name, definition) in check.schema["$defs"].as_object().unwrap() {
        let Some(properties) = definition.get("properties") else { continue };
        let rules = definition.as_object().unwrap();
        let keys: BTreeSet<&str> = properties.as_object().unwrap().keys().map(String::as_str).collect();
        let required: BTreeSet<&str> = rules["required"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
        assert_eq!(keys, required, "{name}");
        for key in keys {
            assert!(check.met.contains(&property(rules, key)), "no view says {key} of {name}");
            count += 1;
        }
    }
    assert_eq!(check.met.len(), count);
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
        assert!(Check::new().check(&value).is_err(), "{what}");
    }
}
