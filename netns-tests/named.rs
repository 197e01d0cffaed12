//! BIND in a host's namespace: the zone above a pool's, a resolver, or a name server to be compared with.
//!
//! Owns the process, its configuration and its directory; ends it when dropped. Debian's `named` (bind9).

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use raisd::demo::lab;
use raisd::demo::namespace::Namespace;

use crate::judge::dig::dig;
use crate::judge::{poll_until, within};
use crate::story::{Failure, Outcome, Stage};

/// Far above what a start takes on a busy machine.
const START: Duration = Duration::from_secs(20);

/// The files of one server, before it runs.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
    log: PathBuf,
}

impl Files {
    /// An empty directory.
    pub(crate) fn new(stage: &Stage, name: &str) -> Outcome<Self> {
        let directory = stage.private().join(name);
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, log: stage.logs().join(format!("{name}.log")) })
    }

    /// Writes a file and says where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Starts it with `options` and `zones` (in the words of named.conf) and waits until it answers for `name`, the name of an SOA
    /// record; `name` alone if it is to find something out only when it is asked.
    pub(crate) fn start(&self, namespace: &Namespace, address: IpAddr, options: &str, zones: &str, name: Option<&str>) -> Outcome<Named> {
        let config = format!(
            "options {{\n  directory \"{directory}\";\n  listen-on {{ {address}; }};\n  listen-on-v6 {{ none; }};\n  pid-file none;\n  \
             session-keyfile none;\n  lock-file none;\n  dnssec-validation no;\n  {options}\n}};\ncontrols {{ }};\n{zones}\n",
            directory = self.directory.display(),
        );
        let path = self.write("named.conf", &config)?;
        let log = File::create(&self.log)?;
        let mut command = lab::command(program());
        command.arg("-g").args(["-n", "1"]).arg("-c").arg(path);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let spawned = namespace.spawn(&mut command);
        let child =
            spawned.map_err(|error| Failure::broken(format!("cannot run named ({error}); install it with: apt-get install bind9")))?;
        let mut named = Named { child };
        let asked = name.unwrap_or("version.bind.");
        let class = if name.is_some() { [].as_slice() } else { &["-c", "CH"] };
        let answers = poll_until(within(START), || {
            if let Some(status) = named.child.try_wait()? {
                return Err(Failure::broken(format!("named ended with {status}; see {}", self.log.display())));
            }
            let answer = dig(namespace, address, asked, if name.is_some() { "SOA" } else { "TXT" }, class)?;
            Ok(answer.filter(|answer| name.is_none() || !answer.records.is_empty()).map(drop))
        })?;
        answers.ok_or_else(|| Failure::broken(format!("named does not answer for {asked}; see {}", self.log.display())))?;
        Ok(named)
    }
}

/// A running BIND.
#[derive(Debug)]
pub(crate) struct Named {
    child: Child,
}

impl Drop for Named {
    fn drop(&mut self) {
        // A child that cannot be killed has ended.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// It stands where the path of an ordinary user may not lead.
fn program() -> &'static Path {
    let known = ["/usr/sbin/named", "/usr/local/sbin/named"].map(Path::new);
    known.into_iter().find(|path| path.exists()).unwrap_or(Path::new("named"))
}
