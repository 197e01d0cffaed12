//! The lab: a process that runs inside user, mount, network, PID, IPC and host-name namespaces of its own.
//!
//! Owns the way in. The program calls [`enter`] before it has a second thread. Outside, `enter` becomes the *launcher*: it makes
//! the namespaces, starts this program again as process 1 inside them (*init*), and waits. Init mounts what is private, starts
//! the program a third time (*inside*), reaps orphans, and ends with it. When any of the three dies of whatever cause, the
//! kernel ends everything in the PID namespace, and with the processes go the interfaces and the files on the private tmpfs.
//!
//! Never touches the machine outside: no interface, file, or process of it is changed. Called by the demo and the netns tests,
//! as root or as an ordinary user.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getegid, geteuid, getpid, getppid};

/// Says which of the three a start of this program is; absent: the launcher.
const STAGE: &str = "RAISD_LAB_STAGE";
const STAGE_INIT: &str = "init";
const STAGE_INSIDE: &str = "inside";

/// Where the private tmpfs is mounted: it exists on every Linux, and nobody builds programs there.
const ROOT: &str = "/run";

/// Why there is no lab. The machine's settings are at fault, or [`LabError::Step`] names the step that is.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The kernel or the container forbids user namespaces.
    #[error("this machine does not let {who} make a user namespace ({cause}); {remedy}")]
    Forbidden {
        /// Root or an ordinary user.
        who: &'static str,
        /// What the kernel said.
        cause: Errno,
        /// What to do.
        remedy: String,
    },
    /// Some step on the way in failed.
    #[error("making a private lab: cannot {step}: {cause}")]
    Step {
        /// The step.
        step: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
}

fn failed<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> LabError {
    move |cause| LabError::Step { step, cause: cause.into() }
}

/// On which side of the wall the caller is.
#[derive(Debug)]
pub enum Entered {
    /// Inside: go on.
    Inside(Lab),
    /// Outside, and what ran inside has ended: end with this code.
    Outside(ExitCode),
}

/// A private place for files, which vanishes with the process.
#[derive(Debug)]
pub struct Lab {
    root: PathBuf,
}

impl Lab {
    /// Makes a directory of the lab and returns its path.
    ///
    /// # Errors
    /// What the file system says.
    pub fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// Enters the lab. Call it before the process has a second thread.
///
/// # Errors
/// [`LabError`]; nothing is left behind.
pub fn enter() -> Result<Entered, LabError> {
    let stage = std::env::var_os(STAGE).unwrap_or_default();
    // The variable alone is not believed: a user may have it in the environment.
    if stage == STAGE_INIT && getpid().as_raw() == 1 {
        return init().map(Entered::Outside);
    }
    if stage == STAGE_INSIDE && getppid().as_raw() == 1 {
        return Ok(Entered::Inside(Lab { root: PathBuf::from(ROOT) }));
    }
    launch().map(Entered::Outside)
}

/// A command without the lab's own variable, for programs that are started inside.
#[must_use]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove(STAGE);
    command
}

/// The launcher: makes the namespaces, starts init, waits. Ends what is inside when it is told to end itself.
fn launch() -> Result<ExitCode, LabError> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        signals.add(signal);
    }
    // Blocked, so that `wait` takes them one by one. Init starts with the same mask and opens it.
    signals.thread_block().map_err(failed("block signals"))?;
    separate()?;
    let mut init = again(STAGE_INIT, Stdio::piped()).map_err(failed("start this program inside"))?;
    let status = loop {
        let signal = signals.wait().map_err(failed("wait for signals"))?;
        if let Some(status) = init.try_wait().map_err(failed("wait for what runs inside"))? {
            break status;
        }
        if signal != Signal::SIGCHLD {
            // Process 1 ends, and the kernel ends all the others before `wait` returns.
            init.kill().map_err(failed("end what runs inside"))?;
            init.wait().map_err(failed("wait for what runs inside"))?;
            return Ok(by_signal(signal as i32));
        }
    };
    Ok(code_of(status))
}

/// Moves this process (and, for PID, its children) into namespaces of its own.
fn separate() -> Result<(), LabError> {
    let (uid, gid) = (geteuid(), getegid());
    let inner =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    // A program that cannot be read, or that carries file capabilities, may not write its own maps otherwise.
    prctl::set_dumpable(true).map_err(failed("make this process dumpable"))?;
    match unshare(CloneFlags::CLONE_NEWUSER) {
        Ok(()) => {
            fs::write("/proc/self/setgroups", "deny").map_err(failed("write /proc/self/setgroups")).or_else(forbidden)?;
            fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(failed("write /proc/self/uid_map")).or_else(forbidden)?;
            fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(failed("write /proc/self/gid_map")).or_else(forbidden)?;
            unshare(inner).map_err(failed("make network, mount and PID namespaces")).or_else(forbidden)
        }
        // Root needs no user namespace; containers often allow root the others only.
        Err(_) if uid.is_root() => unshare(inner).map_err(failed("make network, mount and PID namespaces")).or_else(forbidden),
        Err(cause) => forbidden(LabError::Step { step: "make a user namespace", cause: cause.into() }),
    }
}

/// Turns a refusal into the error that names the remedy; other failures stay what they are.
fn forbidden(error: LabError) -> Result<(), LabError> {
    let LabError::Step { cause, .. } = &error else { return Err(error) };
    let errno = cause.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    // ENOSPC: a limit of /proc/sys/user is zero or reached. The others: sysctl, AppArmor, seccomp.
    if !matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS) {
        return Err(error);
    }
    let who = if geteuid().is_root() { "root" } else { "ordinary users" };
    Err(LabError::Forbidden { who, cause: errno, remedy: remedy(Path::new("/proc/sys")) })
}

/// The setting that is in the way, as the command that changes it.
fn remedy(sysctls: &Path) -> String {
    // (setting, the value that forbids, the value that allows)
    const SETTINGS: [(&str, &str, &str); 5] = [
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user.max_user_namespaces", "0", "15000"),
        ("user.max_net_namespaces", "0", "15000"),
        ("user.max_pid_namespaces", "0", "15000"),
    ];
    for (setting, forbids, allows) in SETTINGS {
        let value = fs::read_to_string(sysctls.join(setting.replace('.', "/")));
        if value.is_ok_and(|value| value.trim() == forbids) {
            return format!("allow it with: sudo sysctl -w {setting}={allows}");
        }
    }
    "run it as root, or outside of the container or chroot (docker run --privileged)".to_owned()
}

/// Starts this program again with the same arguments.
fn again(stage: &str, stdin: Stdio) -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("raisd"));
    Command::new("/proc/self/exe").arg0(name).args(arguments).env(STAGE, stage).stdin(stdin).spawn()
}

/// Process 1: private mounts, then the program, whose end is its own.
fn init() -> Result<ExitCode, LabError> {
    SigSet::empty().thread_set_mask().map_err(failed("unblock signals"))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("ask to die with the launcher"))?;
    if launcher_is_gone().map_err(failed("look for the launcher"))? {
        return Ok(ExitCode::FAILURE);
    }
    mount_private()?;
    let inside = again(STAGE_INSIDE, Stdio::null()).map_err(failed("start this program inside"))?;
    loop {
        let (pid, code) = match waitpid(None, None).map_err(failed("wait for children"))? {
            WaitStatus::Exited(pid, code) => (pid, exit_code(code)),
            WaitStatus::Signaled(pid, signal, _) => (pid, by_signal(signal as i32)),
            WaitStatus::Stopped(..)
            | WaitStatus::PtraceEvent(..)
            | WaitStatus::PtraceSyscall(_)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive => continue,
        };
        if u32::try_from(pid.as_raw()) == Ok(inside.id()) {
            return Ok(code);
        }
    }
}

/// Whether the launcher died before the kernel was asked to report it: its end of the pipe is closed then.
fn launcher_is_gone() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO)?;
    let [fd] = fds;
    Ok(fd.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}

fn mount_private() -> Result<(), LabError> {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).map_err(failed("keep mounts to ourselves"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), ROOT, Some("tmpfs"), flags, Some("mode=755")).map_err(failed("mount a tmpfs on /run"))?;
    // Containers hide parts of /proc and then refuse another. The one that is there does: /proc/self is right in both.
    match mount(Some("proc"), "/proc", Some("proc"), flags | MsFlags::MS_NOEXEC, NONE) {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(cause) => Err(LabError::Step { step: "mount /proc", cause: cause.into() }),
    }
}

fn code_of(status: ExitStatus) -> ExitCode {
    match (status.code(), status.signal()) {
        (Some(code), _) => exit_code(code),
        (None, Some(signal)) => by_signal(signal),
        (None, None) => ExitCode::FAILURE,
    }
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// As shells do: 128 and the number of the signal.
fn by_signal(signal: i32) -> ExitCode {
    exit_code(signal.saturating_add(128))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysctls(settings: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (setting, value) in settings {
            let path = directory.path().join(setting.replace('.', "/"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        directory
    }

    #[test]
    fn the_remedy_names_the_setting_that_forbids() {
        for (setting, forbids, command) in [
            ("kernel.unprivileged_userns_clone", "0\n", "sysctl -w kernel.unprivileged_userns_clone=1"),
            ("kernel.apparmor_restrict_unprivileged_userns", "1\n", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
            ("user.max_user_namespaces", "0\n", "sysctl -w user.max_user_namespaces=15000"),
        ] {
            let directory = sysctls(&[(setting, forbids)]);
            assert!(remedy(directory.path()).contains(command), "{setting}");
        }
    }

    #[test]
    fn the_remedy_is_another_place_where_no_setting_forbids() {
        let directory = sysctls(&[("kernel.unprivileged_userns_clone", "1\n"), ("user.max_user_namespaces", "15000\n")]);
        assert!(remedy(directory.path()).contains("outside of the container"));
    }

    #[test]
    fn only_refusals_become_forbidden() {
        let refused = LabError::Step { step: "try", cause: io::Error::from_raw_os_error(libc::EPERM) };
        assert!(matches!(forbidden(refused), Err(LabError::Forbidden { .. })));
        let broken = LabError::Step { step: "try", cause: io::Error::from_raw_os_error(libc::EIO) };
        assert!(matches!(forbidden(broken), Err(LabError::Step { .. })));
    }
}
