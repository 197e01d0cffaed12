//! Whether a value is what a JSON Schema of `docs` says, for tests.
//!
//! The check knows exactly the keywords that the schemas use and stops at any other, so that none is passed over.
#![allow(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use raisd::operator::words::read_duration;
use serde_json::{Map, Value, json};

/// Checks values against the schema and remembers which properties it met.
pub(crate) struct Check {
    pub(crate) schema: Value,
    pub(crate) met: BTreeSet<String>,
}

impl Check {
    /// Against this schema.
    pub(crate) fn of(schema: &str) -> Self {
        Self { schema: serde_json::from_str(schema).unwrap(), met: BTreeSet::new() }
    }

    pub(crate) fn check(&mut self, value: &Value) -> Result<(), String> {
        let root = self.schema.clone();
        self.value(value, &root, "")
    }

    /// Every property of the schema is demanded, and a value that was checked has said it.
    #[allow(dead_code, reason = "not every test program that checks values looks at the schema itself")]
    pub(crate) fn assert_complete(&self) {
        let mut count = 0;
        for (name, definition) in self.schema["$defs"].as_object().unwrap() {
            let Some(properties) = definition.get("properties") else { continue };
            let rules = definition.as_object().unwrap();
            let keys: BTreeSet<&str> = properties.as_object().unwrap().keys().map(String::as_str).collect();
            let required: BTreeSet<&str> = rules["required"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
            assert_eq!(keys, required, "{name}");
            for key in keys {
                assert!(self.met.contains(&property(rules, key)), "no value says {key} of {name}");
                count += 1;
            }
        }
        assert_eq!(self.met.len(), count);
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
