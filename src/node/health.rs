//! Tests and loads of this host, shared by its groups: results in a row to passing or failing, and the greatest load.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::{LoadSample, TestResult};
use super::monitor::{Health, zone};
use crate::types::explanation::TestExplanation;
use crate::types::policy::TestPolicy;
use crate::types::time::Time;
use crate::types::view::TestView;

/// What counts of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Verdict {
    /// At start a host is not ok until `rise`.
    Unknown,
    Passing,
    Failing,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Test {
    policy: TestPolicy,
    verdict: Verdict,
    passes: u32,
    failures: u32,
    why: Option<String>,
}

impl Test {
    fn take(&mut self, result: TestResult) {
        match result {
            TestResult::Passed => {
                (self.passes, self.failures) = (self.passes.saturating_add(1), 0);
                self.why = None;
                if self.passes >= self.policy.rise {
                    self.verdict = Verdict::Passing;
                }
            }
            TestResult::Failed { why } => {
                (self.passes, self.failures) = (0, self.failures.saturating_add(1));
                // The words of the failure that counted stay while the test fails.
                if self.verdict != Verdict::Failing || self.why.is_none() {
                    self.why = Some(why);
                }
                if self.failures >= self.policy.fall {
                    self.verdict = Verdict::Failing;
                }
            }
        }
    }
}

/// All tests and loads of this host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Probed {
    tests: BTreeMap<String, Test>,
    loads: BTreeMap<String, LoadSample>,
    /// Since when each test counts as it does.
    since: BTreeMap<String, (Verdict, Time)>,
}

/// A load that could not be read counts as overloaded.
const UNREADABLE: LoadSample = LoadSample { load: 0, capacity: 0 };

/// A host without loads is idle.
const IDLE: LoadSample = LoadSample { load: 0, capacity: 1 };

impl Probed {
    pub(crate) fn new(policies: &[TestPolicy]) -> Self {
        let test = |policy: &TestPolicy| Test { policy: policy.clone(), verdict: Verdict::Unknown, passes: 0, failures: 0, why: None };
        Self {
            tests: policies.iter().map(|policy| (policy.name.clone(), test(policy))).collect(),
            loads: BTreeMap::new(),
            since: BTreeMap::new(),
        }
    }

    /// Takes up other tests. One that stays keeps its state, also if it probes something else from here on (`changed`): then
    /// only its results in a row start again. One that is added counts as passing until it has failed `fall` times in a row,
    /// since a host that serves must not give up what it has for want of a first result. Loads that no group names are forgotten.
    pub(crate) fn reconfigure(&mut self, policies: &[TestPolicy], changed: &BTreeSet<String>, loads: &BTreeSet<String>) {
        let mut before = std::mem::take(&mut self.tests);
        for policy in policies {
            let mut test = before.remove(&policy.name).unwrap_or_else(|| Test {
                policy: policy.clone(),
                verdict: Verdict::Passing,
                passes: 0,
                failures: 0,
                why: None,
            });
            if changed.contains(&policy.name) {
                (test.passes, test.failures) = (0, 0);
            }
            test.policy = policy.clone();
            self.tests.insert(policy.name.clone(), test);
        }
        self.loads.retain(|name, _| loads.contains(name));
    }

    /// Takes a result; one of a test that is not configured changes nothing.
    pub(crate) fn take_result(&mut self, name: &str, result: TestResult) {
        if let Some(test) = self.tests.get_mut(name) {
            test.take(result);
        }
    }

    /// Notes since when each test counts as it does.
    pub(crate) fn note_changes(&mut self, now: Time) {
        for (name, test) in &self.tests {
            if self.since.get(name).is_none_or(|(verdict, _)| *verdict != test.verdict) {
                self.since.insert(name.clone(), (test.verdict, now));
            }
        }
        self.since.retain(|name, _| self.tests.contains_key(name));
    }

    /// How these tests are, and for how long. What has no result yet counts as it does since `started`.
    pub(crate) fn explain(&self, now: Time, started: Time, names: &BTreeSet<String>) -> Vec<TestExplanation> {
        let explain = |(name, test): (&String, &Test)| {
            let since = self.since.get(name).map_or(started, |(_, since)| *since);
            TestExplanation {
                name: name.clone(),
                passing: match test.verdict {
                    Verdict::Passing => Some(true),
                    Verdict::Unknown => None,
                    Verdict::Failing => Some(false),
                },
                since_ms: u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX),
                failure: test.why.clone(),
            }
        };
        self.tests.iter().filter(|(name, _)| names.contains(*name)).map(explain).collect()
    }

    pub(crate) fn take_load(&mut self, name: String, sample: Option<LoadSample>) {
        self.loads.insert(name, sample.unwrap_or(UNREADABLE));
    }

    /// Whether these tests let a group serve: a failing one is named before one without a result.
    pub(crate) fn health(&self, names: &BTreeSet<String>) -> Health {
        let mut health = Health::Passing;
        for (name, test) in self.tests.iter().filter(|(name, _)| names.contains(*name)) {
            match test.verdict {
                Verdict::Passing => {}
                Verdict::Unknown => health = Health::Unknown { test: name.clone() },
                Verdict::Failing => {
                    return Health::Failing { test: name.clone(), why: test.why.clone().unwrap_or_else(|| "recovering".to_owned()) };
                }
            }
        }
        health
    }

    /// The load with the greatest utilization of these.
    pub(crate) fn load(&self, names: &BTreeSet<String>) -> LoadSample {
        let samples = names.iter().filter_map(|name| self.loads.get(name)).copied();
        samples.max_by_key(|sample| zone::utilization(sample.load, sample.capacity)).unwrap_or(IDLE)
    }

    pub(crate) fn view(&self) -> Vec<TestView> {
        let view = |(name, test): (&String, &Test)| TestView {
            name: name.clone(),
            passing: test.verdict == Verdict::Passing,
            streak: match test.verdict {
                Verdict::Passing => test.failures,
                Verdict::Unknown | Verdict::Failing => test.passes,
            },
            failure: test.why.clone(),
        };
        self.tests.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed() -> Probed {
        Probed::new(&[TestPolicy { name: "web".into(), rise: 2, fall: 3 }])
    }

    fn names() -> BTreeSet<String> {
        ["web".to_owned()].into()
    }

    fn failed() -> TestResult {
        TestResult::Failed { why: "refused".into() }
    }

    #[test]
    fn a_host_is_not_ok_until_its_tests_have_risen() {
        let mut probed = probed();
        assert_eq!(probed.health(&names()), Health::Unknown { test: "web".into() });
        probed.take_result("web", TestResult::Passed);
        assert_eq!(probed.health(&names()), Health::Unknown { test: "web".into() });
        probed.take_result("web", TestResult::Passed);
        assert_eq!(probed.health(&names()), Health::Passing);
    }

    #[test]
    fn a_test_fails_after_fall_in_a_row_and_recovers_after_rise_in_a_row() {
        let mut probed = probed();
        for result in [TestResult::Passed, TestResult::Passed, failed(), failed(), TestResult::Passed, failed(), failed()] {
            probed.take_result("web", result);
            assert!(!matches!(probed.health(&names()), Health::Failing { .. }));
        }
        probed.take_result("web", failed());
        assert_eq!(probed.health(&names()), Health::Failing { test: "web".into(), why: "refused".into() });
        probed.take_result("web", TestResult::Passed);
        assert!(matches!(probed.health(&names()), Health::Failing { .. }));
        probed.take_result("web", TestResult::Passed);
        assert_eq!(probed.health(&names()), Health::Passing);
    }

    #[test]
    fn a_test_that_stays_keeps_its_state_and_one_that_is_added_passes_until_it_has_fallen() {
        let mut probed = probed();
        for result in [failed(), failed(), failed(), TestResult::Passed] {
            probed.take_result("web", result);
        }
        let policies = ["new", "web"].map(|name| TestPolicy { name: name.into(), rise: 2, fall: 2 });
        probed.reconfigure(&policies, &["web".to_owned()].into(), &BTreeSet::new());
        assert!(matches!(probed.health(&names()), Health::Failing { .. }), "it goes on failing");
        probed.take_result("web", TestResult::Passed);
        assert!(matches!(probed.health(&names()), Health::Failing { .. }), "the pass of the former probe does not count");
        probed.take_result("web", TestResult::Passed);
        assert_eq!(probed.health(&names()), Health::Passing);

        let new = ["new".to_owned()].into();
        assert_eq!(probed.health(&new), Health::Passing);
        probed.take_result("new", failed());
        assert_eq!(probed.health(&new), Health::Passing);
        probed.take_result("new", failed());
        assert!(matches!(probed.health(&new), Health::Failing { .. }));
    }

    #[test]
    fn a_host_that_has_not_passed_a_test_since_its_start_does_not_pass_by_a_reload() {
        let mut probed = probed();
        probed.reconfigure(&[TestPolicy { name: "web".into(), rise: 1, fall: 1 }], &BTreeSet::new(), &BTreeSet::new());
        assert_eq!(probed.health(&names()), Health::Unknown { test: "web".into() });
    }

    #[test]
    fn of_several_loads_the_greatest_utilization_counts_and_an_unreadable_one_is_the_greatest() {
        let mut probed = probed();
        let both = ["cpu".to_owned(), "net".to_owned()].into();
        assert_eq!(probed.load(&both), IDLE);
        probed.take_load("cpu".into(), Some(LoadSample { load: 900, capacity: 1000 }));
        probed.take_load("net".into(), Some(LoadSample { load: 95, capacity: 100 }));
        assert_eq!(probed.load(&both), LoadSample { load: 95, capacity: 100 });
        probed.take_load("cpu".into(), None);
        assert_eq!(probed.load(&both), UNREADABLE);
    }
}
