//! What a configuration needs to know of the machine: files, hostname, addresses of interfaces, users.
//!
//! Only reads. Called by the other files of `config`; tests and fuzzing use [`Environment::Fixed`], which touches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The largest file that is read. A configuration of 10,000 addresses has less than half a mebibyte.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where the facts come from.
#[derive(Clone, Debug)]
pub enum Environment {
    /// This machine.
    System,
    /// Given facts.
    Fixed(Facts),
}

/// Given facts about a machine.
#[derive(Clone, Default, Debug)]
pub struct Facts {
    /// Its hostname.
    pub hostname: String,
    /// Addresses of its interfaces, in the kernel's order.
    pub addresses: Vec<(String, IpAddr)>,
    /// Its users.
    pub users: BTreeSet<String>,
    /// Its files.
    pub files: BTreeMap<PathBuf, FileFacts>,
}

/// Content and mode of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileFacts {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// Whether a path can be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Program {
    Absent,
    Executable,
    NotExecutable,
    NotAFile,
}

/// Whether a user exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum UserLookup {
    Known,
    Unknown,
    /// The user database did not answer.
    Failed(String),
}

impl Environment {
    pub(super) fn hostname(&self) -> Result<String, String> {
        match self {
            Self::System => {
                let name = nix::unistd::gethostname().map_err(|errno| errno.to_string())?;
                name.into_string().map_err(|name| format!("{} is not UTF-8", name.display()))
            }
            Self::Fixed(facts) => Ok(facts.hostname.clone()),
        }
    }

    /// All addresses of an interface, in the kernel's order.
    pub(super) fn interface_addresses(&self, interface: &str) -> Vec<IpAddr> {
        let of_interface = |name: &str, address: IpAddr| (name == interface).then_some(address);
        match self {
            // A machine that cannot list its interfaces is treated like one whose interface has no address yet.
            Self::System => nix::ifaddrs::getifaddrs()
                .into_iter()
                .flatten()
                .filter_map(|entry| of_interface(&entry.interface_name, ip_address(entry.address?)?))
                .collect(),
            Self::Fixed(facts) => facts.addresses.iter().filter_map(|(name, address)| of_interface(name, *address)).collect(),
        }
    }

    pub(super) fn user(&self, name: &str) -> UserLookup {
        match self {
            Self::System => match nix::unistd::User::from_name(name) {
                Ok(Some(_)) => UserLookup::Known,
                Ok(None) => UserLookup::Unknown,
                Err(errno) => UserLookup::Failed(errno.to_string()),
            },
            Self::Fixed(facts) => {
                if facts.users.contains(name) {
                    UserLookup::Known
                } else {
                    UserLookup::Unknown
                }
            }
        }
    }

    pub(super) fn program(&self, path: &Path) -> Program {
        let mode = match self {
            Self::System => match std::fs::metadata(path) {
                Ok(metadata) if !metadata.is_file() => return Program::NotAFile,
                Ok(metadata) => metadata.permissions().mode(),
                Err(_) => return Program::Absent,
            },
            Self::Fixed(facts) => match facts.files.get(path) {
                Some(file) => file.mode,
                None => return Program::Absent,
            },
        };
        if mode & 0o111 == 0 { Program::NotExecutable } else { Program::Executable }
    }

    /// Reads a whole file of at most [`FILE_BYTES_MAX`] bytes.
    pub(super) fn read(&self, path: &Path) -> io::Result<FileFacts> {
        match self {
            Self::System => {
                let file = File::open(path)?;
                let metadata = file.metadata()?;
                if !metadata.is_file() {
                    return Err(io::Error::other("it is not a regular file"));
                }
                let mut content = Vec::new();
                file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
                if u64::try_from(content.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
                    return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
                }
                Ok(FileFacts { content, mode: metadata.permissions().mode() & 0o7777 })
            }
            Self::Fixed(facts) => match facts.files.get(path) {
                Some(file) => Ok(file.clone()),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
            },
        }
    }

    /// Names of the files in a directory, in order; a directory that is not there has none.
    pub(super) fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = match self {
            Self::System => {
                let entries = match std::fs::read_dir(directory) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                    Err(error) => return Err(error),
                };
                let mut names = Vec::new();
                for entry in entries {
                    names.extend(entry?.file_name().into_string());
                }
                names
            }
            Self::Fixed(facts) => {
                let here = facts.files.keys().filter(|path| path.parent() == Some(directory));
                here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect()
            }
        };
        names.sort();
        Ok(names)
    }
}

fn ip_address(address: nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(IpAddr::V4(v4.ip()));
    }
    address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_a_loopback_address_and_root() {
        assert!(!Environment::System.hostname().unwrap().is_empty());
        assert!(Environment::System.interface_addresses("lo").contains(&IpAddr::from([127, 0, 0, 1])));
        assert_eq!(Environment::System.user("root"), UserLookup::Known);
        assert_eq!(Environment::System.user("no such user"), UserLookup::Unknown);
    }

    #[test]
    fn a_directory_is_neither_read_nor_run() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Environment::System.read(directory.path()).is_err());
        assert_eq!(Environment::System.program(directory.path()), Program::NotAFile);
    }
}
