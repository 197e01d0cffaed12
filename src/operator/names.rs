//! How hosts are called: by name where that says which one, else by id.

use std::collections::BTreeMap;

use super::words::printable;
use crate::types::host::HostId;
use crate::types::view::GroupView;

/// The names of a group's hosts.
pub(crate) struct Names(BTreeMap<HostId, String>);

impl Names {
    pub(crate) fn of(group: &GroupView) -> Self {
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for host in &group.hosts {
            *uses.entry(host.name.as_str()).or_default() += 1;
        }
        let unique = group.hosts.iter().filter(|host| !host.name.is_empty() && uses.get(host.name.as_str()) == Some(&1));
        Self(unique.map(|host| (host.id, printable(&host.name).into_owned())).collect())
    }

    pub(crate) fn one(&self, host: HostId) -> String {
        self.0.get(&host).cloned().unwrap_or_else(|| host.to_string())
    }

    pub(crate) fn all<'h>(&self, hosts: impl IntoIterator<Item = &'h HostId>) -> Vec<String> {
        hosts.into_iter().map(|host| self.one(*host)).collect()
    }
}
