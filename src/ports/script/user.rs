//! The user that a program is to run as.
//!
//! Looks a name up and says what has to change for it. Lookups may block (directory services): call from a blocking thread.
//! Called by `child.rs` only.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getgrouplist};

/// What running as a user takes.
#[derive(Debug)]
pub(crate) struct RunAs {
    /// Its name.
    pub(crate) name: String,
    /// Its home directory.
    pub(crate) home: PathBuf,
    /// What the child must change.
    pub(crate) change: Change,
}

/// What the child must change to be that user.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Nothing: the daemon runs as that user already.
    Nothing,
    /// User, group and supplementary groups.
    To {
        /// The user.
        user: Uid,
        /// Its first group.
        group: Gid,
        /// All its groups.
        groups: Vec<Gid>,
    },
}

/// Why a program cannot run as a user. The configuration is at fault; nothing was run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    /// The name is in no user database.
    #[error("there is no user {name:?} on this host: create it or correct `user`")]
    Unknown {
        /// As configured.
        name: String,
    },
    /// The user database did not answer.
    #[error("user {name:?} could not be looked up: {cause}")]
    Lookup {
        /// As configured.
        name: String,
        /// The answer.
        cause: nix::Error,
    },
    /// Only root may become somebody else.
    #[error(
        "it is to run as user {name:?}, but raisd runs with user id {own} and only root can change users: run raisd as root or remove `user`"
    )]
    NotRoot {
        /// As configured.
        name: String,
        /// Of the daemon.
        own: Uid,
    },
}

impl RunAs {
    /// Looks `name` up.
    pub(crate) fn look_up(name: &str) -> Result<Self, UserError> {
        let failed = |cause| UserError::Lookup { name: name.to_owned(), cause };
        let unknown = || UserError::Unknown { name: name.to_owned() };
        let user = User::from_name(name).map_err(failed)?.ok_or_else(unknown)?;
        let own = Uid::effective();
        if user.uid == own {
            return Ok(Self { name: user.name, home: user.dir, change: Change::Nothing });
        }
        if !own.is_root() {
            return Err(UserError::NotRoot { name: name.to_owned(), own });
        }
        let name_c = CString::new(name).map_err(|_| unknown())?;
        let groups = getgrouplist(&name_c, user.gid).map_err(failed)?;
        Ok(Self { name: user.name, home: user.dir, change: Change::To { user: user.uid, group: user.gid, groups } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_is_named() {
        let error = RunAs::look_up("raisd-no-such-user").unwrap_err();
        assert!(error.to_string().contains("\"raisd-no-such-user\""), "{error}");
    }

    #[test]
    fn the_daemons_own_user_changes_nothing() {
        let own = User::from_uid(Uid::effective()).unwrap().unwrap();
        assert_eq!(RunAs::look_up(&own.name).unwrap().change, Change::Nothing);
    }

    #[test]
    fn another_user_takes_root() {
        let found = RunAs::look_up("nobody");
        if Uid::effective().is_root() {
            let Change::To { user, group, groups } = found.unwrap().change else { panic!("nobody is not root") };
            assert!(!user.is_root() && groups.contains(&group));
        } else {
            assert!(matches!(found, Err(UserError::NotRoot { .. })));
        }
    }
}
