//! https against a server of our own, with certificates of a CA that `openssl` makes.

use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Runs `openssl`, which must succeed, in a directory.
fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(directory).output().expect("openssl (install it)");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A CA of this name: `NAME.pem` and `NAME.key`.
fn make_ca(directory: &Path, name: &str) {
    openssl(
        directory,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        ),
    );
}

/// A server's certificate that the CA has signed.
fn make_certificate(directory: &Path, name: &str, ca: &str, alternatives: &str, days: i32) {
    openssl(
        directory,
        &format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"),
    );
    fs::write(directory.join("extensions"), format!("subjectAltName={alternatives}\n")).unwrap();
    openssl(
        directory,
        &format!("x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days {days} -extfile extensions -out {name}.pem"),
    );
}

fn server_config(directory: &Path, name: &str) -> Arc<ServerConfig> {
    let path = |extension: &str| directory.join(format!("{name}.{extension}"));
    let certificates = CertificateDer::pem_file_iter(path("pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(path("key")).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(certificates, key).unwrap())
}

/// What a server does with a connection; `None`: it accepts and says nothing.
type Face = Arc<Mutex<Option<(Arc<ServerConfig>, &'static str)>>>;

/// What it was asked: the name in SNI, and the request.
type Asked = Arc<Mutex<(Option<String>, String)>>;

async fn serve_tls(listener: TcpListener, face: Face, asked: Asked) {
    let mut silent = Vec::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shown = face.lock().unwrap().clone();
        let Some((config, answer)) = shown else {
            silent.push(stream);
            continue;
        };
        // A client that does not like the certificate breaks off.
        let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { continue };
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|length| length > 0) {}
        *asked.lock().unwrap() = (name, String::from_utf8(request).unwrap());
        let _cut = stream.write_all(answer.as_bytes()).await;
        let _cut = stream.shutdown().await;
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nready: 1";

#[tokio::test]
async fn an_https_test_checks_the_certificate_as_a_client_would() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    for ca in ["ca", "stranger"] {
        make_ca(place, ca);
    }
    make_certificate(place, "good", "ca", "DNS:www.example.com,IP:127.0.0.1", 1);
    make_certificate(place, "forged", "stranger", "DNS:www.example.com", 1);
    make_certificate(place, "misnamed", "ca", "DNS:mail.example.com", 1);
    make_certificate(place, "expired", "ca", "DNS:www.example.com", 0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let face = Face::new(Mutex::new(Some((server_config(place, "good"), OK))));
    let asked = Asked::default();
    let _server = tokio::spawn(serve_tls(listener, Arc::clone(&face), Arc::clone(&asked)));
    let show = |name: &str, answer| *face.lock().unwrap() = Some((server_config(place, name), answer));

    let url = format!("https://{address}/health");
    let named = HttpTest {
        host: Some("www.example.com".to_owned()),
        body: Some("ready".to_owned()),
        status: vec![200, 204],
        ca_file: Some(place.join("ca.pem")),
        ..http_test(&url)
    };
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Http(named.clone()), Duration::from_secs(2))], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    {
        let asked = asked.lock().unwrap();
        assert_eq!(asked.0.as_deref(), Some("www.example.com"), "SNI follows the Host header");
        assert!(asked.1.starts_with("GET /health HTTP/1.1\r\n") && asked.1.contains("host: www.example.com\r\n"), "{}", asked.1);
    }

    for (certificate, expected) in [
        ("forged", format!("its certificate is signed by none of those in {}", place.join("ca.pem").display())),
        ("misnamed", "certificate not valid for name \"www.example.com\"".to_owned()),
        ("expired", "certificate expired".to_owned()),
        ("ca", "its certificate cannot be a server's: CaUsedAsEndEntity (a self-signed one of `openssl req -x509` is".to_owned()),
    ] {
        show(certificate, OK);
        let why = fails_again(&mut results).await;
        assert!(why.starts_with(&url) && why.contains(&expected), "{certificate}: {why}");
        show("good", OK);
        passes_again(&mut results).await;
    }

    show("good", "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(fails_again(&mut results).await, format!("{url} answered 301 Moved Permanently"));
    show("good", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nread");
    let why = fails_text(&mut results, "does not contain").await;
    assert_eq!(why, format!("{url} answered 200 OK, but the body, 4 bytes, does not contain \"ready\""));
    *face.lock().unwrap() = None;
    let why = fails_text(&mut results, "within").await;
    assert_eq!(why, format!("{url} did not answer within 2s"));
    show("good", OK);
    passes_again(&mut results).await;

    // By its address: the certificate names it, and SNI knows no addresses.
    let by_address = HttpTest { host: None, ..named.clone() };
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Http(by_address), AMPLE)], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    assert_eq!(asked.lock().unwrap().0, None);
    let other_name = HttpTest { server_name: Some("mail.example.com".to_owned()), ..named };
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Http(other_name), AMPLE)], Vec::new());
    let why = failure(&mut results).await;
    assert!(why.contains("not valid for name \"mail.example.com\""), "{why}");
}

#[tokio::test]
async fn a_ca_file_that_changes_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    for ca in ["ca", "stranger"] {
        make_ca(place, ca);
    }
    make_certificate(place, "good", "ca", "IP:127.0.0.1", 1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let face = Face::new(Mutex::new(Some((server_config(place, "good"), OK))));
    let _server = tokio::spawn(serve_tls(listener, face, Asked::default()));
    let trusted = place.join("trusted.pem");
    let test = HttpTest { ca_file: Some(trusted.clone()), ..http_test(&url) };
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Http(test), AMPLE)], Vec::new());
    let why = failure(&mut results).await;
    assert!(why.contains("trusted.pem could not be read: No such file"), "{why}");
    fs::write(&trusted, "no certificate\n").unwrap();
    let why = fails_text(&mut results, "PEM").await;
    assert!(why.ends_with("trusted.pem could not be read: it holds no certificate in PEM"), "{why}");
    fs::copy(place.join("stranger.pem"), &trusted).unwrap();
    fails_text(&mut results, "signed by none of those").await;
    fs::copy(place.join("ca.pem"), &trusted).unwrap();
    passes_again(&mut results).await;
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _cut = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let directory = tempfile::tempdir().unwrap();
    make_ca(directory.path(), "ca");
    let test = HttpTest { ca_file: Some(directory.path().join("ca.pem")), ..http_test(&format!("https://{address}/")) };
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Http(test), AMPLE)], Vec::new());
    let why = failure(&mut results).await;
    assert!(why.contains("TLS failed: received corrupt message of type InvalidContentType"), "{why}");
}
