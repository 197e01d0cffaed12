//! Loopback: pings, an interface, its counters, connections. What needs other interfaces is in `tests/kernel/probes.rs`.

use super::*;

/// Samples until one fits.
async fn sample_that(results: &mut Receiver<Event>, is_it: impl Fn(LoadSample) -> bool) {
    while !sample_of(results).await.is_some_and(&is_it) {}
}

#[tokio::test]
async fn this_host_answers_its_own_pings() {
    for (address, source) in [("127.0.0.1", None), ("127.0.0.1", Some("127.0.0.77")), ("::1", None), ("::1", Some("::1"))] {
        let source = source.map(|source| source.parse().unwrap());
        let test = spec(TestKind::Ping { address: address.parse().unwrap(), source }, AMPLE);
        let (_probes, mut results) = Probes::start(vec![test], Vec::new());
        assert_eq!(result(&mut results).await, TestResult::Passed, "{address} from {source:?}");
    }
    let test = spec(TestKind::Ping { address: "127.0.0.1".parse().unwrap(), source: "192.0.2.77".parse().ok() }, AMPLE);
    let (_probes, mut results) = Probes::start(vec![test], Vec::new());
    let why = failure(&mut results).await;
    assert!(why.starts_with("source 192.0.2.77 cannot be used: Cannot assign requested address"), "{why}");
}

#[tokio::test]
async fn what_loopback_carries_is_a_load() {
    let kind = LoadKind::Network { interfaces: vec!["lo".to_owned()], capacity: Some(1_000_000) };
    let (_probes, mut results) = Probes::start(Vec::new(), vec![load_spec(kind)]);
    sample_that(&mut results, |sample| sample.capacity == 1_000_000).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let sending = async {
        // Nobody listens there: the counters count, and the kernel's complaint is not for us.
        loop {
            let _refused = socket.send_to(&[0; 1_000], "127.0.0.1:9").await;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = sending => {}
        () = sample_that(&mut results, |sample| sample.load > 1_000) => {}
    }
}

#[tokio::test]
async fn established_connections_to_the_ports_are_counted() {
    let listener = TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kind = LoadKind::Connections { ports: vec![port, other.local_addr().unwrap().port()], capacity: 10 };
    let (_probes, mut results) = Probes::start(Vec::new(), vec![load_spec(kind)]);
    let has = |load| move |sample| sample == LoadSample { load, capacity: 10 };
    sample_that(&mut results, has(0)).await;
    // IPv4 and IPv6 to a socket of both, and a second port.
    let v4 = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    sample_that(&mut results, has(1)).await;
    let v6 = tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
    sample_that(&mut results, has(2)).await;
    let second = tokio::net::TcpStream::connect(other.local_addr().unwrap()).await.unwrap();
    sample_that(&mut results, has(3)).await;
    drop((v4, v6, second));
    sample_that(&mut results, has(0)).await;
}

/// This machine's own, whatever they are; that they follow what happens is the kernel's business.
#[tokio::test]
async fn load_average_and_memory_of_this_machine_are_sensible() {
    let processors = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    for (capacity, expected) in [(None, processors * 100), (Some(8), 800)] {
        let kind = LoadKind::LoadAverage { average: LoadAveraged::FiveMinutes, capacity };
        let (_probes, mut results) = Probes::start(Vec::new(), vec![load_spec(kind)]);
        assert_eq!(sample_of(&mut results).await.unwrap().capacity, expected);
    }
    let (_probes, mut results) = Probes::start(Vec::new(), vec![load_spec(LoadKind::Memory)]);
    let sample = sample_of(&mut results).await.unwrap();
    assert!(sample.load > 0 && sample.load < sample.capacity, "{sample:?}");
}

#[tokio::test]
async fn pressure_is_read_or_its_absence_told() {
    let is_kept = fs::read_to_string("/proc/pressure/memory").is_ok();
    println!("this kernel keeps {} pressure stall information", if is_kept { "its" } else { "no" });
    let kind =
        LoadKind::Pressure { resource: Resource::Memory, stalled: Stalled::Some, average: PressureAveraged::TenSeconds, capacity: 40 };
    let (log, guard) = CapturedLog::start();
    let (_probes, mut results) = Probes::start(Vec::new(), vec![load_spec(kind)]);
    let sample = sample_of(&mut results).await;
    drop(guard);
    if is_kept {
        let sample = sample.unwrap();
        assert!(sample.load <= 10_000 && sample.capacity == 4_000, "{sample:?}");
    } else {
        assert_eq!(sample, None);
        assert!(log.text().contains("this kernel keeps no pressure stall information; boot it with psi=1"), "{}", log.text());
    }
}
