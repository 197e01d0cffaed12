//! What a report must not hold, and how it is struck out.
//!
//! Owns the keys of this host's groups while a report is made; shows none of them. Called by `report.rs` with every part.

use crate::config::Config;
use crate::types::host::KeyId;
use crate::wire::seal::{Key, Protection};

/// A key has 64 hexadecimal digits; nothing else that raisd writes has so many in a row.
const DIGITS: usize = 64;

/// Stands where something was struck out.
const STRUCK: &str = "***";

/// Words in the name of a key of the configuration whose value is a secret. The name of a file that holds one is none.
const WORDS: [&str; 6] = ["secret", "password", "passwd", "token", "community", "credential"];

/// The keys that are known here.
#[derive(Default)]
pub(super) struct Secrets {
    keys: Vec<(KeyId, [u8; 32])>,
}

impl Secrets {
    /// Those of a configuration.
    pub(super) fn of(config: &Config) -> Self {
        let keys = |protection: &Protection| -> Vec<Key> {
            match protection {
                Protection::Keys(keys) | Protection::Transition(keys) => keys.clone(),
                Protection::Insecure => Vec::new(),
            }
        };
        Self { keys: config.protection.iter().flat_map(keys).map(|key| (key.id, key.secret)).collect() }
    }

    /// Which secret bytes hold, if any: a key as it is, or as many hexadecimal digits in a row as a key has.
    pub(super) fn found_in(&self, bytes: &[u8]) -> Option<String> {
        let is_whole = |key: &&(KeyId, [u8; 32])| bytes.windows(key.1.len()).any(|window| window == key.1);
        if let Some((id, _)) = self.keys.iter().find(is_whole) {
            return Some(format!("key {}", id.0));
        }
        let mut row = 0;
        for byte in bytes {
            row = if byte.is_ascii_hexdigit() { row + 1 } else { 0 };
            if row >= DIGITS {
                return Some(format!("{DIGITS} hexadecimal digits in a row, as a key has"));
            }
        }
        None
    }
}

/// A text without keys, without passwords and queries in URLs, and without values of keys that are named for a secret.
pub(super) fn struck_out(text: &str) -> String {
    let mut struck = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match value_at(line) {
            Some(at) => {
                struck.push_str(&line[..at]);
                struck.push_str(&format!(" \"{STRUCK}\""));
                struck.push_str(if line.ends_with('\n') { "\n" } else { "" });
            }
            None => struck.push_str(&without_urls(&without_digits(line))),
        }
    }
    struck
}

/// Behind the equals sign, if the line gives a secret.
fn value_at(line: &str) -> Option<usize> {
    let (name, _) = line.split_once('=')?;
    let word = name.trim_matches([' ', '\t', '#', '"', '\'']).to_ascii_lowercase();
    // A sentence of a log is no key of a configuration.
    let is_name = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    (is_name && !word.ends_with("_file") && WORDS.iter().any(|secret| word.contains(secret))).then_some(name.len() + 1)
}

fn without_digits(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut row = String::new();
    let end = |row: &mut String, kept: &mut String| {
        kept.push_str(if row.len() >= DIGITS { STRUCK } else { row });
        row.clear();
    };
    for character in line.chars() {
        if character.is_ascii_hexdigit() {
            row.push(character);
        } else {
            end(&mut row, &mut kept);
            kept.push(character);
        }
    }
    end(&mut row, &mut kept);
    kept
}

/// `https://user:password@host/path?query`: without who and what.
fn without_urls(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        kept.push_str(before);
        kept.push_str("://");
        let end = after.find(|character: char| character.is_whitespace() || "\"'<>".contains(character)).unwrap_or(after.len());
        let (url, behind) = after.split_at(end);
        let (place, query) = url.split_once('?').map_or((url, None), |(place, query)| (place, Some(query)));
        let authority_end = place.find('/').unwrap_or(place.len());
        let (authority, path) = place.split_at(authority_end);
        match authority.rsplit_once('@') {
            Some((_, host)) => kept.push_str(&format!("{STRUCK}@{host}")),
            None => kept.push_str(authority),
        }
        kept.push_str(path);
        if query.is_some() {
            kept.push_str(&format!("?{STRUCK}"));
        }
        rest = behind;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_struck_out_wherever_they_stand() {
        let key = "0123456789abcdef".repeat(4);
        let text = format!("a script printed {key}!\nsecret = \"{key}\"\nshort = \"{}\"\n", &key[..40]);
        assert_eq!(struck_out(&text), format!("a script printed ***!\nsecret = \"***\"\nshort = \"{}\"\n", &key[..40]));
    }

    #[test]
    fn values_that_are_named_for_a_secret_are_struck_out_and_files_of_them_are_not() {
        let text = "api_token = \"abc\" # of the cloud\nkey_file = \"/etc/raisd/www.key\"\ncredentials_file = \"/etc/c\"\nthe password = is not in a log line\n";
        let struck =
            "api_token = \"***\"\nkey_file = \"/etc/raisd/www.key\"\ncredentials_file = \"/etc/c\"\nthe password = is not in a log line\n";
        assert_eq!(struck_out(text), struck);
    }

    #[test]
    fn urls_keep_their_place_only() {
        assert_eq!(
            struck_out("url = \"https://me:pw@10.0.0.1:8443/health?token=abc\" and http://web1/ok"),
            "url = \"https://***@10.0.0.1:8443/health?***\" and http://web1/ok"
        );
    }

    #[test]
    fn a_key_is_found_among_bytes() {
        let secrets = Secrets { keys: vec![(KeyId(7), [9; 32])] };
        let mut bytes = vec![1, 2, 3];
        assert_eq!(secrets.found_in(&bytes), None);
        bytes.extend([9; 32]);
        assert_eq!(secrets.found_in(&bytes).as_deref(), Some("key 7"));
        assert!(secrets.found_in("ab".repeat(32).as_bytes()).is_some());
        assert_eq!(secrets.found_in("ab".repeat(31).as_bytes()), None);
    }
}
