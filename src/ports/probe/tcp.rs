//! A connection to `HOST:PORT` that is accepted.
//!
//! Opens connections, for `http.rs` too, and says nothing over them. Called by `probe.rs` and `http.rs`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use tokio::net::{TcpSocket, TcpStream};

use super::TestProbe;
use super::resolve::Resolver;

/// Connects to the addresses of a name.
#[derive(Debug)]
pub(crate) struct Connector {
    resolver: Resolver,
    source: Option<IpAddr>,
}

impl Connector {
    /// For `HOST:PORT`; from `source` if one is given.
    pub(crate) fn new(address: &str, source: Option<IpAddr>) -> Result<Self, String> {
        Ok(Self { resolver: Resolver::new(address)?, source })
    }

    /// As given.
    pub(crate) fn name(&self) -> &str {
        self.resolver.name()
    }

    /// Tries the addresses of the name in turn, as a client would. Cancelled, it closes the connection.
    pub(crate) async fn connect(&mut self) -> Result<TcpStream, String> {
        let addresses = self.resolver.addresses().await?;
        let mut failures = Vec::new();
        for address in addresses {
            let tried = match self.source {
                None => TcpStream::connect(address).await,
                Some(source) if source.is_ipv4() != address.is_ipv4() => continue,
                Some(source) => connect_from(source, address).await?,
            };
            match tried {
                Ok(stream) => return Ok(stream),
                Err(error) => failures.push(format!("{address} did not accept a connection: {error}")),
            }
        }
        match self.source {
            Some(source) if failures.is_empty() => Err(format!("{} has no address of the family of source {source}", self.name())),
            Some(_) | None => Err(failures.join("; ")),
        }
    }
}

/// The outer error: the source is not one of ours.
async fn connect_from(source: IpAddr, address: SocketAddr) -> Result<io::Result<TcpStream>, String> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => return Ok(Err(error)),
    };
    socket.bind(SocketAddr::new(source, 0)).map_err(|error| format!("source {source} cannot be used: {error}"))?;
    Ok(socket.connect(address).await)
}

/// A test that connects.
pub(crate) struct TcpProbe(Connector);

impl TcpProbe {
    pub(crate) fn new(address: &str, source: Option<IpAddr>) -> Result<Self, String> {
        Connector::new(address, source).map(Self)
    }
}

#[async_trait]
impl TestProbe for TcpProbe {
    async fn probe(&mut self) -> Result<(), String> {
        self.0.connect().await.map(drop)
    }

    fn overdue(&self) -> String {
        format!("{} did not accept a connection", self.0.name())
    }
}
