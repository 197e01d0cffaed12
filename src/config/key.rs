//! Key files: reading them, and making keys for `raisctl keygen`.
//!
//! Owns the form of the file. Never puts a secret, or a line that may hold one, into a message. Randomness is the
//! operating system's, through aws-lc-rs.

use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use nix::fcntl::{Flock, FlockArg};

use super::environment::{Environment, FileFacts};
use super::fault::{ConfigErrors, Exposure, Faults, Place, Problem, Reported};
use super::reader::{Placed, Reader};
use super::schema::{KEY, KEY_FILE};
use super::tree::{self, Content, Table, directory_of};
use crate::wire::seal::{Key, KeyId, KeyUse};

/// More than a rotation ever has at once; each is tried by its id only, so the number costs nothing.
const KEYS_MAX: usize = 16;

/// Others may not read it, and only the owner may write it.
const MODE_FORBIDDEN: u32 = 0o037;

/// Whether one of the keys has to be for sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sending {
    Needed,
    /// The group is on its way to keys: until one is for sending, what is sent is for hosts without keys.
    Optional,
}

/// Reads the key file that the configuration names.
pub(super) fn read(path: Placed<&str>, sending: Sending, environment: &Environment, faults: &mut Faults) -> Result<Vec<Key>, Reported> {
    let whole = directory_of(faults.file(path.place)).join(path.value);
    let shown = whole.display();
    let file = environment.read(&whole).map_err(|error| {
        let problem = Problem::at(path.place, format!("cannot read the key file {shown}: {error}")).expects("a key file");
        let help = format!("make one with: umask 077; raisctl keygen > {shown}; every host of the group needs the same");
        faults.error(problem.help(help))
    })?;
    parse(&whole, file, Some(path.place), sending, faults)
}

/// Checks mode and content; `named_at`: where the configuration names the file.
fn parse(path: &Path, file: FileFacts, named_at: Option<Place>, sending: Sending, faults: &mut Faults) -> Result<Vec<Key>, Reported> {
    let shown = path.display().to_string();
    let mut secrecy = Ok(());
    if file.mode & MODE_FORBIDDEN != 0 {
        let message = format!("the key file {shown} has mode {:04o}: others than its owner can get at it", file.mode);
        let problem = match named_at {
            Some(place) => Problem::at(place, message),
            None => Problem::nowhere(message),
        };
        secrecy = Err(faults.error(problem.expects("mode 0600").help(format!("chmod 600 {shown}"))));
    }
    let text = tree::text_of(&shown, file.content, Exposure::Secret, faults)?;
    let root = tree::parse(shown, &text, Exposure::Secret, faults)?;
    let keys = keys(&root, sending, faults)?;
    secrecy.map(|()| keys)
}

fn keys(root: &Table, sending: Sending, faults: &mut Faults) -> Result<Vec<Key>, Reported> {
    let reader = Reader::open(&KEY_FILE, root, faults);
    let Some(value) = reader.value("key") else {
        return Err(faults.error(Problem::at(reader.place, "the file holds no key").expects("at least one table [[key]]")));
    };
    let tables: Option<Vec<&Table>> = match &value.content {
        Content::List(values) => values.iter().map(as_table).collect(),
        Content::Boolean(_) | Content::Datetime | Content::Float | Content::Integer(_) | Content::Table(_) | Content::Text(_) => None,
    };
    let Some(tables) = tables.filter(|tables| (1..=KEYS_MAX).contains(&tables.len())) else {
        let problem = Problem::at(value.place, "the file holds no keys, or too many");
        return Err(faults.error(problem.expects(format!("1 to {KEYS_MAX} tables [[key]]"))));
    };
    let mut ids: Vec<KeyId> = Vec::new();
    let keys: Vec<Result<Key, Reported>> = tables
        .into_iter()
        .map(|table| {
            let reader = Reader::open(&KEY, table, faults);
            let key = key(&reader, faults)?;
            if ids.contains(&key.id) {
                let place = reader.place_of("id").unwrap_or(reader.place);
                return Err(faults.error(Problem::at(place, format!("two keys have the id {}", key.id.0)).expects("each its own")));
            }
            ids.push(key.id);
            Ok(key)
        })
        .collect();
    let keys: Vec<Key> = keys.into_iter().collect::<Result<_, _>>()?;
    if sending == Sending::Needed && keys.iter().all(|key| key.usage == KeyUse::Receive) {
        let problem = Problem::at(value.place, "no key is for sending").expects("use = \"send\" in one of them");
        let help = "to bring keys into a group that has none, set insecure = true beside key_file until every host has them";
        return Err(faults.error(problem.help(help)));
    }
    Ok(keys)
}

fn as_table(value: &tree::Value) -> Option<&Table> {
    match &value.content {
        Content::Table(table) => Some(table),
        Content::Boolean(_) | Content::Datetime | Content::Float | Content::Integer(_) | Content::List(_) | Content::Text(_) => None,
    }
}

fn key(reader: &Reader<'_>, faults: &mut Faults) -> Result<Key, Reported> {
    let id = reader.needed("id", faults).and_then(|_| reader.integer("id", 0, 0..=u32::MAX, faults));
    let usage = reader.choice("use", KeyUse::Send, &[("send", KeyUse::Send), ("receive", KeyUse::Receive)], faults);
    let secret = reader.needed_text("secret", faults).and_then(|text| {
        let problem = match secret(text.value) {
            None => Problem::at(text.place, "secret is not 64 hexadecimal digits"),
            Some(secret) if secret.iter().all(|byte| secret.first() == Some(byte)) => Problem::at(text.place, "secret is not random"),
            Some(secret) => return Ok(secret),
        };
        Err(faults.error(problem.expects("256 random bits as 64 hexadecimal digits").help("raisctl keygen makes one")))
    });
    Ok(Key { id: KeyId(id?), usage: usage?, secret: secret? })
}

/// 64 hexadecimal digits.
fn secret(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = [0; 32];
    for (index, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(secret)
}

/// Why no key could be made. Nothing was changed, unless the message says so.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system gave no random bits.
    #[error("the operating system gives no random bits")]
    Random,
    /// The file that the key should be added to is no key file.
    #[error("{0}")]
    File(ConfigErrors),
    /// The file already holds as many keys as it may.
    #[error("{path} holds {KEYS_MAX} keys, the most there may be: take out those that no host uses any more")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read or written.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A key with a random secret and an id that is not among `taken`.
///
/// The id is random too: keys that two hosts made on their own, where one should have been copied, are then told apart
/// as "unknown key" instead of "forged".
///
/// # Errors
/// [`KeyError::Random`].
pub fn generate_key(usage: KeyUse, taken: &[KeyId]) -> Result<Key, KeyError> {
    let random = SystemRandom::new();
    let mut secret = [0; 32];
    random.fill(&mut secret).map_err(|_| KeyError::Random)?;
    loop {
        let mut id = [0; 4];
        random.fill(&mut id).map_err(|_| KeyError::Random)?;
        let id = KeyId(u32::from_ne_bytes(id));
        if id.0 != 0 && !taken.contains(&id) {
            return Ok(Key { id, usage, secret });
        }
    }
}

/// The text of a key file with one key, for `raisctl keygen`. It is a secret.
///
/// # Errors
/// [`KeyError::Random`].
pub fn key_file_text(usage: KeyUse) -> Result<String, KeyError> {
    Ok(file_text(&generate_key(usage, &[])?))
}

fn file_text(key: &Key) -> String {
    format!(
        "# Keys of a raisd group: the same file on every host of the group, chmod 600.\n\
         # The first key with use = \"send\" seals what a host sends; every key here opens what it receives.\n{}",
        key_text(key)
    )
}

fn key_text(key: &Key) -> String {
    let secret: String = key.secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let usage = match key.usage {
        KeyUse::Send => "send",
        KeyUse::Receive => "receive",
    };
    format!("\n[[key]]\nid = {}\nuse = \"{usage}\"\nsecret = \"{secret}\"\n", key.id.0)
}

/// Adds a key to a file, for `raisctl keygen --append FILE`; returns its id.
///
/// The key only receives: once every host has it, `use` is set to `send` on it and to `receive` on the old one, host by
/// host, without a gap. A file that is not there is made, with mode 0600 and a key that sends.
///
/// # Errors
/// [`KeyError`]; the file is as it was.
pub fn append_key(path: &Path) -> Result<KeyId, KeyError> {
    let failed = |operation: &'static str| move |source: io::Error| KeyError::Io { operation, path: path.to_owned(), source };
    let file = match OpenOptions::new().read(true).append(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return create_key_file(path),
        Err(error) => return Err(failed("open")(error)),
    };
    // Two operators at once would otherwise not see each other's id.
    let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed("lock")(errno.into()))?;
    let facts = Environment::System.read(path).map_err(failed("read"))?;
    let ends_in_line = facts.content.is_empty() || facts.content.ends_with(b"\n");
    let mut faults = Faults::default();
    let keys = match parse(path, facts, None, Sending::Optional, &mut faults) {
        Ok(keys) if !faults.has_errors() => keys,
        Ok(_) | Err(_) => return Err(KeyError::File(ConfigErrors::of(faults.into_faults()))),
    };
    if keys.len() >= KEYS_MAX {
        return Err(KeyError::Full { path: path.to_owned() });
    }
    let taken: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
    let key = generate_key(KeyUse::Receive, &taken)?;
    let text = format!("{}{}", if ends_in_line { "" } else { "\n" }, key_text(&key));
    let length = file.seek(SeekFrom::End(0)).map_err(failed("measure"))?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // Half a key would make the whole file unreadable.
        file.set_len(length).map_err(failed("restore"))?;
        return Err(failed("write")(error));
    }
    Ok(key.id)
}

fn create_key_file(path: &Path) -> Result<KeyId, KeyError> {
    let failed = |operation: &'static str| move |source: io::Error| KeyError::Io { operation, path: path.to_owned(), source };
    let key = generate_key(KeyUse::Send, &[])?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed("create"))?;
    if let Err(error) = file.write_all(file_text(&key).as_bytes()).and_then(|()| file.sync_all()) {
        std::fs::remove_file(path).map_err(failed("remove"))?;
        return Err(failed("write")(error));
    }
    Ok(key.id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parsed(text: &str, mode: u32) -> Result<Vec<Key>, String> {
        let mut faults = Faults::default();
        let result = parse(Path::new("/a.key"), FileFacts { content: text.as_bytes().to_vec(), mode }, None, Sending::Needed, &mut faults);
        result.map_err(|_| ConfigErrors::of(faults.into_faults()).to_string())
    }

    #[test]
    fn what_is_generated_can_be_read() {
        let text = key_file_text(KeyUse::Send).unwrap();
        let keys = parsed(&text, 0o600).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys.first().map(|key| key.usage), Some(KeyUse::Send));
        assert_ne!(text, key_file_text(KeyUse::Send).unwrap());
    }

    #[test]
    fn a_key_is_added_for_receiving_and_the_first_goes_on_sending() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("www.key");
        let first = append_key(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = append_key(&path).unwrap();
        let keys = parsed(&std::fs::read_to_string(&path).unwrap(), 0o600).unwrap();
        let told: Vec<_> = keys.iter().map(|key| (key.id, key.usage)).collect();
        assert_eq!(told, [(first, KeyUse::Send), (second, KeyUse::Receive)]);
    }

    #[test]
    fn a_file_that_does_not_end_in_a_line_is_continued_on_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("www.key");
        append_key(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.trim_end()).unwrap();
        append_key(&path).unwrap();
        assert_eq!(parsed(&std::fs::read_to_string(&path).unwrap(), 0o600).map(|keys| keys.len()), Ok(2));
    }

    #[test]
    fn nothing_is_added_to_what_is_no_key_file_or_is_open_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("www.key");
        std::fs::write(&path, "[host]\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = append_key(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && error.contains("[[key]]"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[host]\n");
    }

    #[test]
    fn no_more_keys_are_added_than_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("www.key");
        for _ in 0..KEYS_MAX {
            append_key(&path).unwrap();
        }
        assert!(matches!(append_key(&path), Err(KeyError::Full { .. })));
        assert!(parsed(&std::fs::read_to_string(&path).unwrap(), 0o600).is_ok());
    }

    #[test]
    fn no_message_holds_a_secret() {
        let secret = "0123456789abcdef".repeat(4);
        for text in [
            format!("[[key]]\nid = 1\nuse = \"send\"\nsecret = \"{secret}x\"\n"),
            format!("[[key]]\nid = 1\nuse = \"{secret}\"\nsecret = 5\n"),
            format!("[[key]]\nid = 1\nsecret = {secret}\n"),
            format!("[[key]]\nid = 1\nx{secret} = 1\n"),
            format!("{secret}\n"),
            format!("[[key]]\nid = 1\nsecret = \"{secret}\n"),
        ] {
            let message = parsed(&text, 0o644).unwrap_err();
            assert!(!message.contains("0123456789abcdef"), "{message}");
        }
    }

    #[test]
    fn a_group_may_read_what_only_the_owner_may_write() {
        let text = key_file_text(KeyUse::Send).unwrap();
        assert!(parsed(&text, 0o640).is_ok());
        for mode in [0o604, 0o660, 0o644, 0o601] {
            assert!(parsed(&text, mode).unwrap_err().contains("chmod 600 /a.key"), "{mode:o}");
        }
    }
}
