//! The only file with `unsafe`: system calls that neither the standard library nor nix offers in a safe form.
//!
//! Owns no resource and keeps no state; called by the other ports.
#![expect(unsafe_code, reason = "the one place for it; each use says why it is sound")]

use std::os::unix::process::CommandExt;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

/// Makes `command` run as `user`, with exactly these groups. The caller must be root when it spawns.
///
/// `Command::uid` cannot do this: it drops all supplementary groups, and leaves nobody with the right to set them afterwards.
pub(crate) fn run_as(command: &mut std::process::Command, user: Uid, group: Gid, groups: Vec<Gid>) {
    let become_user = move || {
        setgroups(&groups)?;
        setgid(group)?;
        setuid(user)?;
        Ok(())
    };
    // SAFETY: between fork and exec only what is async-signal-safe may happen. The closure makes three system calls through
    // thin wrappers of libc, with a list that was allocated before the fork; it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(become_user);
    }
}
