//! `raisctl key status`: which host has which keys of a group, whether every host can read the newest, and the next step
//! of bringing one in.
//!
//! Owns no state and no secret: hosts say ids. The newest key is told from the order of the files: keys are appended, so
//! one that stands before another in any host's file is older.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::names::Names;
use super::terminal::{Terminal, Tone};
use super::words::{list, printable};
use crate::types::host::{HostId, HostKeys, KeyId};
use crate::types::view::{GroupView, HostView, View};

/// So many hosts are named in a sentence.
const NAMED_MAX: usize = 8;

/// The keys of the groups.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyStatus {
    /// Version of this form: 1.
    pub version: u32,
    /// In the order of the configuration.
    pub groups: Vec<GroupKeys>,
}

/// The keys of one group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupKeys {
    /// The group's name.
    pub name: String,
    /// The newest keys: one, unless hosts were given different ones. 0: no key, the group's name only.
    pub newest: Vec<KeyId>,
    /// Where bringing in the newest key stands.
    pub step: Step,
    /// The hosts that cannot read the newest, or of whom it is not known.
    pub missing: Vec<HostId>,
    /// All hosts known, ordered by id.
    pub hosts: Vec<HostKeyStatus>,
}

/// How far the newest key has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Not every host can read it.
    Spreading,
    /// Every host can read it, not every host sends with it.
    Readable,
    /// Every host sends with it, some host still reads older ones.
    Sending,
    /// Every host sends with it, and reads no other.
    Alone,
}

/// The keys of one host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostKeyStatus {
    /// Its id.
    pub id: HostId,
    /// For people.
    pub name: String,
    /// Not heard for `timeout`.
    pub silent: bool,
    /// Its keys; `null`: not known.
    pub keys: Option<HostKeys>,
}

impl KeyStatus {
    /// What a daemon's view says of keys.
    #[must_use]
    pub fn of(view: &View) -> Self {
        Self { version: view.version, groups: view.groups.iter().map(GroupKeys::of).collect() }
    }

    /// Whether every host of every group can read the newest key.
    #[must_use]
    pub fn is_read_by_all(&self) -> bool {
        self.groups.iter().all(|group| group.step != Step::Spreading)
    }

    /// The same for programs, indented.
    ///
    /// # Errors
    ///
    /// None that is known: every part of it has a form in JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The status for people, with the next step.
    #[must_use]
    pub fn render(&self, view: &View, terminal: Terminal) -> String {
        let mut text = String::new();
        for (keys, group) in self.groups.iter().zip(&view.groups) {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&keys.render(&Names::of(group), terminal));
        }
        text
    }
}

impl GroupKeys {
    fn of(group: &GroupView) -> Self {
        let known: Vec<&HostKeys> = group.hosts.iter().filter_map(|host| host.keys.as_ref()).collect();
        let newest = newest(&known);
        let reads = |host: &HostView| host.keys.as_ref().is_some_and(|keys| newest.iter().all(|key| keys.opens.contains(key)));
        let missing: Vec<HostId> = group.hosts.iter().filter(|host| !reads(host)).map(|host| host.id).collect();
        let step = if !missing.is_empty() {
            Step::Spreading
        } else if known.iter().any(|keys| newest != [keys.sends].into()) {
            Step::Readable
        } else if known.iter().any(|keys| keys.opens.iter().any(|key| !newest.contains(key))) {
            Step::Sending
        } else {
            Step::Alone
        };
        let hosts = group.hosts.iter().map(|host| HostKeyStatus {
            id: host.id,
            name: host.name.clone(),
            silent: host.silent,
            keys: host.keys.clone(),
        });
        Self { name: group.name.clone(), newest: newest.into_iter().collect(), step, missing, hosts: hosts.collect() }
    }

    fn render(&self, names: &Names, terminal: Terminal) -> String {
        let (tone, state, next) = self.sentence(names);
        let mut text = format!("{}: {}", printable(&self.name), terminal.paint(tone, &state));
        if let Some(next) = next {
            text.push_str(&format!("; next: {next}"));
        }
        text.push_str("\n\n");
        let mut table = terminal.table_of(&["HOST", "NAME", "SENDS WITH", "READS"]);
        for host in &self.hosts {
            let tone = if self.missing.contains(&host.id) { Tone::Bad } else { Tone::Plain };
            let (sends, reads) = match &host.keys {
                Some(keys) => (word(keys.sends), keys.opens.iter().copied().map(word).collect::<Vec<_>>().join(", ")),
                None if host.silent => ("not known, silent".to_owned(), "not known".to_owned()),
                None => ("not known".to_owned(), "not known".to_owned()),
            };
            let name = terminal.cell(Tone::Plain, &host.name);
            table.add_row([terminal.cell(Tone::Plain, host.id.to_string()), name, terminal.cell(tone, sends), terminal.cell(tone, reads)]);
        }
        text.push_str(&terminal.lines(&table));
        text
    }

    /// Where it stands, and what to do next.
    fn sentence(&self, names: &Names) -> (Tone, String, Option<String>) {
        let newest = self.newest.iter().copied().map(word).collect::<Vec<_>>().join(" and ");
        match self.step {
            Step::Spreading => {
                let (known, unknown): (Vec<&HostKeyStatus>, Vec<&HostKeyStatus>) =
                    self.hosts.iter().filter(|host| self.missing.contains(&host.id)).partition(|host| host.keys.is_some());
                let named = |hosts: &[&HostKeyStatus]| list(&names.all(hosts.iter().map(|host| &host.id)), NAMED_MAX);
                let (mut states, mut steps) = (Vec::new(), Vec::new());
                if !known.is_empty() {
                    states.push(format!("{newest} cannot be read by {}", named(&known)));
                    steps.push("the newest key file and `raisctl reload` there".to_owned());
                }
                if !unknown.is_empty() {
                    states.push(format!("which keys {} has is not known", named(&unknown)));
                    steps.push(format!("wait until {} is heard, or `raisctl forget` it on every host", named(&unknown)));
                }
                (Tone::Bad, states.join("; "), Some(steps.join("; ")))
            }
            Step::Readable => {
                let next = "use = \"send\" on it, use = \"receive\" on every other key, and `raisctl reload`, host by host";
                (Tone::Doubtful, format!("every host can read {newest}"), Some(next.to_owned()))
            }
            Step::Sending => {
                let state = format!("every host sends with {newest}");
                (Tone::Doubtful, state, Some(self.retirement()))
            }
            Step::Alone if self.newest == [KeyId::INSECURE] => {
                let state = "no host has a key: anyone who reaches the control networks can command the group";
                (Tone::Doubtful, state.to_owned(), Some("raisctl keygen --receive, and key_file beside insecure = true".to_owned()))
            }
            Step::Alone => (Tone::Good, format!("every host sends with {newest} and reads no other"), None),
        }
    }

    /// How what is not needed any more goes.
    fn retirement(&self) -> String {
        let read: BTreeSet<KeyId> = self.hosts.iter().filter_map(|host| host.keys.as_ref()).flat_map(|keys| keys.opens.clone()).collect();
        let old: Vec<KeyId> = read.into_iter().filter(|key| !self.newest.contains(key)).collect();
        let in_files: Vec<String> = old.iter().copied().filter(|key| *key != KeyId::INSECURE).map(word).collect();
        let mut steps = Vec::new();
        if old.contains(&KeyId::INSECURE) {
            steps.push("remove insecure = true".to_owned());
        }
        if !in_files.is_empty() {
            steps.push(format!("take {} out of the key file", list(&in_files, NAMED_MAX)));
        }
        format!("{}, and `raisctl reload`, host by host", steps.join(", "))
    }
}

/// What a key is called: keys are known by their ids.
fn word(key: KeyId) -> String {
    if key == KeyId::INSECURE { "no key".to_owned() } else { format!("key {}", key.0) }
}

/// The last keys of the files, without those that another file has an appended key behind.
fn newest(known: &[&HostKeys]) -> BTreeSet<KeyId> {
    let last: BTreeSet<KeyId> = known.iter().filter_map(|keys| keys.opens.last()).copied().collect();
    let older: BTreeSet<KeyId> =
        known.iter().flat_map(|keys| keys.opens.split_last().map(|(_, older)| older).unwrap_or_default()).copied().collect();
    let newest: BTreeSet<KeyId> = last.difference(&older).copied().collect();
    // Files in contradicting orders: all of them have to be readable.
    if newest.is_empty() { last } else { newest }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample, in which the first host and four others have the keys that are given; with `None` it is not known.
    fn view(keys: &[Option<(u32, &[u32])>]) -> View {
        let mut view: View = serde_json::from_str(include_str!("../../tests/samples/status.json")).unwrap();
        view.groups[0].hosts.truncate(keys.len());
        for (host, keys) in view.groups[0].hosts.iter_mut().zip(keys) {
            host.keys = keys.map(|(sends, opens)| HostKeys { sends: KeyId(sends), opens: opens.iter().copied().map(KeyId).collect() });
        }
        view
    }

    fn said(keys: &[Option<(u32, &[u32])>]) -> (Step, String) {
        let view = view(keys);
        let status = KeyStatus::of(&view);
        let text = status.render(&view, Terminal::Pipe);
        (status.groups[0].step, text.lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn whoever_is_asked_sees_the_key_that_only_another_host_has() {
        for keys in [[Some((5, [5].as_slice())), Some((5, &[5, 17]))], [Some((5, &[5, 17])), Some((5, &[5]))]] {
            let (step, text) = said(&keys);
            assert_eq!(step, Step::Spreading);
            assert!(text.contains("key 17 cannot be read by web"), "{text}");
        }
    }

    #[test]
    fn each_step_of_a_rotation_names_the_next() {
        let (step, text) = said(&[Some((5, &[5, 17])), Some((17, &[5, 17]))]);
        assert_eq!(step, Step::Readable);
        assert!(text.starts_with("www: every host can read key 17; next: use = \"send\" on it"), "{text}");
        let (step, text) = said(&[Some((17, &[5, 17])), Some((17, &[17]))]);
        assert_eq!(step, Step::Sending);
        assert!(text.ends_with("next: take key 5 out of the key file, and `raisctl reload`, host by host"), "{text}");
        let (step, text) = said(&[Some((17, &[17])), Some((17, &[17]))]);
        assert_eq!(step, Step::Alone);
        assert_eq!(text, "www: every host sends with key 17 and reads no other");
    }

    #[test]
    fn keys_are_brought_into_a_group_without() {
        let (step, text) = said(&[Some((0, &[0])), Some((0, &[0]))]);
        assert_eq!(step, Step::Alone);
        assert!(text.contains("no host has a key") && text.contains("keygen --receive"), "{text}");
        let (step, text) = said(&[Some((0, &[0])), Some((0, &[0, 17]))]);
        assert_eq!(step, Step::Spreading);
        assert!(text.contains("key 17 cannot be read by web1"), "{text}");
        assert_eq!(said(&[Some((0, &[0, 17])), Some((17, &[0, 17]))]).0, Step::Readable);
        let (step, text) = said(&[Some((17, &[0, 17])), Some((17, &[17]))]);
        assert_eq!(step, Step::Sending);
        assert!(text.contains("next: remove insecure = true, and `raisctl reload`"), "{text}");
    }

    #[test]
    fn two_keys_that_were_made_at_once_have_both_to_be_read() {
        let (step, text) = said(&[Some((5, &[5, 17])), Some((5, &[5, 18]))]);
        assert_eq!(step, Step::Spreading);
        assert!(text.contains("key 17 and key 18 cannot be read by web1, web2"), "{text}");
        assert_eq!(said(&[Some((5, &[5, 17])), Some((5, &[17, 5]))]).0, Step::Readable);
    }

    #[test]
    fn a_host_whose_keys_are_not_known_is_not_taken_for_ready() {
        let (step, text) = said(&[Some((17, &[17])), None]);
        assert_eq!(step, Step::Spreading);
        assert!(text.contains("which keys web2 has is not known") && text.contains("forget"), "{text}");
    }
}
