//! Which connections are open, on all addresses together, and which of them makes room for another.
//!
//! Owns the order in which they came; the connections themselves belong to `tcp.rs`. Never refuses a newcomer: who comes with a
//! question stays for milliseconds, who stays for longer can come again. Called by `tcp.rs` for each connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::task::AbortHandle;

/// Resolvers keep a connection for one question or few. Few enough files to leave the daemon its own.
pub(crate) const CONNECTIONS_MAX: usize = 128;

/// Of one client network (as `limit.rs` counts them): a quarter, so that no customer of a provider keeps out the others.
pub(crate) const NETWORK_CONNECTIONS_MAX: usize = CONNECTIONS_MAX / 4;

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// The oldest first; some may have ended.
    open: Mutex<VecDeque<Open>>,
}

#[derive(Debug)]
struct Open {
    network: u64,
    task: AbortHandle,
}

impl Connections {
    /// Takes a connection in. A network with too many loses its oldest; if there are too many in all, the network with the most
    /// loses its oldest.
    pub(crate) fn admit(&self, network: u64, task: AbortHandle) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|one| !one.task.is_finished());
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for one in open.iter() {
            *counts.entry(one.network).or_default() += 1;
        }
        let own = counts.get(&network).copied().unwrap_or_default();
        let crowded = if own >= NETWORK_CONNECTIONS_MAX {
            Some(network)
        } else if open.len() >= CONNECTIONS_MAX {
            counts.into_iter().max_by_key(|(_, count)| *count).map(|(network, _)| network)
        } else {
            None
        };
        if let Some(oldest) = open.iter().position(|one| Some(one.network) == crowded).and_then(|at| open.remove(at)) {
            oldest.task.abort();
        }
        open.push_back(Open { network, task });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that never end by themselves.
    async fn admit(connections: &Connections, network: u64, count: usize) -> Vec<AbortHandle> {
        let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(std::future::pending::<()>()).abort_handle()).collect();
        for task in &tasks {
            connections.admit(network, task.clone());
        }
        // Gives those that were told to end the time to do so.
        tokio::task::yield_now().await;
        tasks
    }

    fn ended(tasks: &[AbortHandle]) -> Vec<usize> {
        tasks.iter().enumerate().filter(|(_, task)| task.is_finished()).map(|(at, _)| at).collect()
    }

    #[tokio::test]
    async fn a_network_with_too_many_loses_its_oldest() {
        let connections = Connections::default();
        let other = admit(&connections, 2, 1).await;
        let tasks = admit(&connections, 1, NETWORK_CONNECTIONS_MAX + 2).await;
        assert_eq!(ended(&tasks), [0, 1]);
        assert_eq!(ended(&other), [0; 0]);
    }

    #[tokio::test]
    async fn a_newcomer_takes_the_place_of_the_busiest_networks_oldest() {
        let connections = Connections::default();
        let few = admit(&connections, 9, 1).await;
        let mut many = Vec::new();
        for network in 0..3 {
            many.push(admit(&connections, network, NETWORK_CONNECTIONS_MAX).await);
        }
        many.push(admit(&connections, 3, NETWORK_CONNECTIONS_MAX - 1).await);
        let newcomer = admit(&connections, 10, 1).await;
        assert_eq!(many.iter().map(|tasks| ended(tasks).len()).sum::<usize>(), 1);
        assert!(ended(&few).is_empty() && ended(&newcomer).is_empty() && ended(&many[3]).is_empty());
    }

    #[tokio::test]
    async fn what_has_ended_takes_no_place() {
        let connections = Connections::default();
        for _ in 0..5 {
            for task in admit(&connections, 1, NETWORK_CONNECTIONS_MAX).await {
                assert!(!task.is_finished());
                task.abort();
            }
            tokio::task::yield_now().await;
        }
    }
}
