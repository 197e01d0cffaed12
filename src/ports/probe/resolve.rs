//! `HOST:PORT` to addresses, with at most one lookup under way.
//!
//! A lookup blocks a thread until the system's resolver gives up, which takes longer than a probe's timeout. Called by `tcp.rs`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::blocking::Blocking;

/// Finds the addresses of one `HOST:PORT`.
#[derive(Debug)]
pub(crate) struct Resolver {
    name: String,
    /// The address itself, where the host is one.
    address: Option<SocketAddr>,
    lookup: Blocking<io::Result<Vec<SocketAddr>>>,
}

impl Resolver {
    /// For `HOST:PORT` or `[ADDRESS]:PORT`.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let has_port = name.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !has_port {
            return Err(format!("{name:?} is not of the form HOST:PORT"));
        }
        Ok(Self { name: name.to_owned(), address: name.parse().ok(), lookup: Blocking::default() })
    }

    /// As given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its addresses, at least one. Cancelled, it leaves the lookup to the next call.
    pub(crate) async fn addresses(&mut self) -> Result<Vec<SocketAddr>, String> {
        if let Some(address) = self.address {
            return Ok(vec![address]);
        }
        let name = self.name.clone();
        let found = self.lookup.run(move || name.to_socket_addrs().map(Iterator::collect)).await;
        match found {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(format!("{} has no address", self.name)),
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(format!("{} could not be looked up: {error}", self.name)),
            Err(error) => Err(format!("{} could not be looked up: {error}", self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_takes_no_lookup() {
        let mut resolver = Resolver::new("[::1]:80").unwrap();
        assert_eq!(resolver.addresses().await, Ok(vec!["[::1]:80".parse().unwrap()]));
    }

    #[tokio::test]
    async fn a_name_is_looked_up() {
        let mut resolver = Resolver::new("localhost:80").unwrap();
        let addresses = resolver.addresses().await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()), "{addresses:?}");
    }

    #[test]
    fn a_port_is_needed() {
        for name in ["localhost", ":80", "localhost:http", "localhost:65536", ""] {
            assert!(Resolver::new(name).is_err(), "{name}");
        }
    }
}
