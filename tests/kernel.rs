//! The ports against the kernel: real addresses, real multicast, real frames, in network namespaces of their own.
//!
//! `main` puts the process into a user namespace before any thread exists, so that the tests need no privilege, and each test makes itself
//! a network namespace, so that none sees another. The judge is `ip`, the kernel's tables and captured frames, never the port itself.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: a failed step is a failed test")]

#[path = "kernel/announce.rs"]
mod announce;
#[path = "kernel/events.rs"]
mod events;
#[path = "kernel/multicast.rs"]
mod multicast;
#[path = "kernel/namespace.rs"]
mod namespace;
#[path = "kernel/netlink.rs"]
mod netlink;
#[path = "kernel/port.rs"]
mod port;
#[path = "kernel/probes.rs"]
mod probes;
#[path = "kernel/unicast.rs"]
mod unicast;

use libtest_mimic::{Arguments, Trial};

fn main() {
    namespace::enter_user_namespace();
    let mut arguments = Arguments::from_args();
    // The kernel has one routing lock for all namespaces: side by side, the tests would measure each other.
    arguments.test_threads.get_or_insert(1);
    let tests: Vec<Trial> = [netlink::tests(), events::tests(), multicast::tests(), unicast::tests(), announce::tests(), probes::tests()]
        .into_iter()
        .flatten()
        .collect();
    libtest_mimic::run(&arguments, tests).exit();
}
