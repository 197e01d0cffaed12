//! The socket file of the API: taken, replaced if its daemon is dead, removed at the end.
//!
//! Owns the file and nothing else. Never touches a file that is not a socket, nor the socket of a living daemon.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::ApiError;

/// The owner and the group of the file may connect; connecting needs the right to write.
const MODE: u32 = 0o660;

/// Connections that the kernel keeps waiting while [`super::CONNECTIONS_MAX`] are served.
const BACKLOG: i32 = 128;

/// A socket file that this process made. Dropping it removes the file, unless another one stands in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Makes the socket at `path` and listens, without blocking.
    pub(super) fn claim(path: &Path) -> Result<(Self, UnixListener), ApiError> {
        let failed = |operation| move |source| ApiError::Socket { operation, path: path.to_owned(), source };
        let address = SockAddr::unix(path).map_err(failed("use as a socket path (at most 107 bytes)"))?;
        make_directory(path).map_err(failed("make the directory of"))?;
        remove_stale(path, &address)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("make a socket for"))?;
        socket.set_nonblocking(true).map_err(failed("prepare the socket for"))?;
        socket.bind(&address).map_err(failed("bind"))?;
        // From here on the file is removed if anything fails. Nobody can connect before `listen`, so nobody meets a
        // socket with the mode that the umask left.
        let metadata = fs::symlink_metadata(path).map_err(failed("look at"))?;
        let file = Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed("set the mode of"))?;
        socket.listen(BACKLOG).map_err(failed("listen on"))?;
        Ok((file, UnixListener::from(socket)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let removed = match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => fs::remove_file(&self.path),
            // Another daemon's socket, or already gone: not ours to remove.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!("cannot remove the socket {}: {error}; the next start replaces it", self.path.display());
        }
    }
}

/// `/run` is empty after a boot; systemd makes `/run/raisd`, a start by hand finds none.
fn make_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.exists() => fs::create_dir(parent),
        Some(_) | None => Ok(()),
    }
}

fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), ApiError> {
    let failed = |operation| move |source| ApiError::Socket { operation, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ApiError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("make a socket to test"))?;
    // Not blocking: the backlog of a daemon that hangs may be full, and it is alive all the same.
    probe.set_nonblocking(true).map_err(failed("prepare a socket to test"))?;
    match probe.connect(address) {
        Ok(()) => return Err(ApiError::Living { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(ApiError::Living { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("test whether a daemon answers on")(error)),
    }
    tracing::info!("replacing {}: the daemon that made it is gone", path.display());
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove the stale")(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
