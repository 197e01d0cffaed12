//! TLS to a web server whose certificate is checked: signature, name and dates.
//!
//! Owns the certificates that are trusted, read again whenever their file has changed. Never trusts what it cannot check, and
//! resumes no session: each probe sees the certificate that a client would see. Called by `http.rs`.

use std::error::Error as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::blocking::{Blocking, read_text};

/// Where systems keep the certificates that they trust, most common first: Debian and Alpine, Fedora and Red Hat, older ones of
/// these, SUSE, others.
const SYSTEM_FILES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The most that is read of a file of certificates; those of a system have a quarter of a mebibyte.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Who is trusted, and as whom the server must show itself.
pub(crate) struct Tls {
    name: ServerName<'static>,
    file: Option<PathBuf>,
    trust: Option<Trust>,
    reading: Blocking<Result<Trust, String>>,
}

/// The certificates of a file.
#[derive(Clone)]
struct Trust {
    path: PathBuf,
    stamp: Stamp,
    config: Arc<ClientConfig>,
}

/// Changes whenever a file is written or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Tls {
    /// `name`: a DNS name, which is also sent (SNI), or an address. `file`: in PEM; `None`: what the system trusts.
    pub(crate) fn new(name: &str, file: Option<PathBuf>) -> Result<Self, String> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is neither a DNS name nor an address"))?;
        Ok(Self { name, file, trust: None, reading: Blocking::default() })
    }

    /// Shakes hands over `stream`. Cancelled, it closes the connection.
    pub(crate) async fn connect(&mut self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let (file, before) = (self.file.clone(), self.trust.take());
        let trust = self.reading.run(move || Trust::read(file, before)).await.and_then(|read| read)?;
        let connector = TlsConnector::from(Arc::clone(&trust.config));
        let path = trust.path.clone();
        self.trust = Some(trust);
        connector.connect(self.name.clone(), stream).await.map_err(|error| describe(&error, &path))
    }
}

impl Trust {
    /// As it was `before` if the file is the same.
    fn read(file: Option<PathBuf>, before: Option<Self>) -> Result<Self, String> {
        let path = match file {
            Some(path) => path,
            None => {
                let found = SYSTEM_FILES.iter().map(Path::new).find(|path| path.exists());
                found
                    .ok_or_else(|| format!("none of {} is there: install ca-certificates or set ca_file", SYSTEM_FILES.join(", ")))?
                    .to_owned()
            }
        };
        let unreadable = |why: String| format!("the certificates in {} could not be read: {why}", path.display());
        let metadata = fs::metadata(&path).map_err(|error| unreadable(error.to_string()))?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        let stamp = Stamp { device: metadata.dev(), inode: metadata.ino(), length: metadata.size(), modified };
        if let Some(before) = before.filter(|before| before.path == path && before.stamp == stamp) {
            return Ok(before);
        }
        let text = read_text(&path, FILE_BYTES_MAX).map_err(unreadable)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            // A system's file holds some that no longer meet the standards: the others still count.
            let (_added, _ignored) = roots.add_parsable_certificates([certificate]);
        }
        if roots.is_empty() {
            return Err(unreadable("it holds no certificate in PEM".to_owned()));
        }
        let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions();
        let builder = versions.map_err(|error| format!("TLS is not available: {error}"))?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self { path, stamp, config: Arc::new(config) })
    }
}

/// What went wrong, in words that say what to do where the library's do not.
fn describe(error: &io::Error, path: &Path) -> String {
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            format!("its certificate is signed by none of those in {}", path.display())
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            let why = other.source().map_or_else(|| other.to_string(), ToString::to_string);
            let help = if why == "CaUsedAsEndEntity" { " (a self-signed one of `openssl req -x509` is: sign another with it)" } else { "" };
            format!("its certificate cannot be a server's: {why}{help}")
        }
        Some(error) => format!("TLS failed: {error}"),
        None => format!("TLS failed: {error}"),
    }
}
