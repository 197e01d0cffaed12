//! Bodies and source addresses, without TLS.

use super::*;

/// Serves one body to everybody, in pieces, and tells where each came from.
async fn serve_body(listener: TcpListener, pieces: Vec<Vec<u8>>, from: Sender<SocketAddr>) {
    loop {
        let (mut stream, peer) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|length| length > 0) {}
        let _unread = from.try_send(peer);
        let _cut = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        for piece in &pieces {
            // The probe closes as soon as it has found what it looks for.
            let _cut = stream.write_all(piece).await;
            let _cut = stream.flush().await;
        }
    }
}

async fn body_test(pieces: Vec<Vec<u8>>, text: &str) -> TestResult {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let test = HttpTest { body: Some(text.to_owned()), ..http_test(&format!("http://{}/", listener.local_addr().unwrap())) };
    let (from, _peers) = channel(1);
    let server = tokio::spawn(serve_body(listener, pieces, from));
    let (_probes, mut results) = Probes::start(vec![spec(TestKind::Http(test), AMPLE)], Vec::new());
    let result = result(&mut results).await;
    server.abort();
    result
}

#[tokio::test]
async fn a_text_is_found_wherever_the_pieces_of_a_body_are_cut() {
    let pieces = |text: &str| text.split('|').map(|piece| piece.as_bytes().to_vec()).collect::<Vec<_>>();
    for text in ["needle", "hay needle hay", "nee|dle", "n|e|e|d|l|e", "neenee|dle"] {
        assert_eq!(body_test(pieces(text), "needle").await, TestResult::Passed, "{text}");
    }
    for text in ["", "Needle", "need|el", "needl"] {
        assert!(matches!(body_test(pieces(text), "needle").await, TestResult::Failed { .. }), "{text}");
    }
}

#[tokio::test]
async fn of_a_body_only_the_beginning_is_searched() {
    let limit = 64 * 1024;
    let until = vec![b'x'; limit - 6];
    assert_eq!(body_test(vec![until.clone(), b"needle".to_vec()], "needle").await, TestResult::Passed);
    let TestResult::Failed { why } = body_test(vec![until, b"xneedle".to_vec()], "needle").await else { panic!("it should have failed") };
    assert!(why.ends_with("answered 200 OK, but the first 65536 bytes of the body do not contain \"needle\""), "{why}");
}

#[tokio::test]
async fn a_source_is_what_the_server_sees() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (from, mut peers) = channel(1);
    let _server = tokio::spawn(serve_body(listener, Vec::new(), from));
    let test = |source: &str| spec(TestKind::Http(HttpTest { source: source.parse().ok(), ..http_test(&url) }), AMPLE);
    let (_probes, mut results) = Probes::start(vec![test("127.0.0.77")], Vec::new());
    assert_eq!(result(&mut results).await, TestResult::Passed);
    assert_eq!(peers.recv().await.unwrap().ip().to_string(), "127.0.0.77");
    for (source, expected) in [
        ("192.0.2.77", "source 192.0.2.77 cannot be used: Cannot assign requested address"),
        ("::1", "has no address of the family of source ::1"),
    ] {
        let (_probes, mut results) = Probes::start(vec![test(source)], Vec::new());
        let why = failure(&mut results).await;
        assert!(why.contains(expected), "{why}");
    }
}
