//! A unit of systemd that is active, asked for over D-Bus.
//!
//! Owns a connection to the system bus, made when it is first needed and again after an error. Reads only; never starts a unit.
//! Called by `probe.rs`.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::net::UnixStream;
use zbus::connection::Builder;
use zbus::message::Message;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::TestProbe;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What systemd answers for a unit that it has no reason to keep in memory, be it stopped or not there at all.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// A test that asks systemd.
pub(crate) struct SystemdProbe {
    unit: String,
    bus: PathBuf,
    connection: Option<Connection>,
}

impl SystemdProbe {
    pub(crate) fn new(unit: String, bus: PathBuf) -> Self {
        Self { unit, bus, connection: None }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let unreachable = |error: &dyn std::fmt::Display| format!("the bus at {} cannot be reached: {error}", self.bus.display());
        let stream = UnixStream::connect(&self.bus).await.and_then(UnixStream::into_std).map_err(|error| unreachable(&error))?;
        Builder::unix_stream(stream).build().await.map_err(|error| unreachable(&error))
    }

    async fn ask(&self, connection: &Connection) -> Result<(), Failure> {
        let unit = &self.unit;
        let found = connection.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "GetUnit", &(unit.as_str(),)).await;
        let path: OwnedObjectPath = match found {
            Ok(reply) => body(&reply)?,
            Err(zbus::Error::MethodError(name, ..)) if name.as_str() == NO_SUCH_UNIT => {
                return Err(Failure::Inactive { why: format!("unit {unit} is not active: systemd has not loaded it") });
            }
            Err(error) => return Err(error.into()),
        };
        let state = property(connection, &path, "ActiveState").await?;
        // A unit that is reloading its configuration goes on serving.
        if ["active", "reloading", "refreshing"].contains(&state.as_str()) {
            return Ok(());
        }
        let detail = property(connection, &path, "SubState").await?;
        Err(Failure::Inactive { why: format!("unit {unit} is {state} ({detail})") })
    }
}

/// Why a unit is not known to be active.
enum Failure {
    /// systemd says so.
    Inactive { why: String },
    /// systemd did not say.
    Unknown { why: String },
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        Self::Unknown { why: format!("systemd could not be asked: {error}") }
    }
}

async fn property(connection: &Connection, path: &OwnedObjectPath, name: &str) -> Result<String, Failure> {
    let reply = connection.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "Get", &(UNIT, name)).await?;
    let value: OwnedVariant = body(&reply)?;
    Ok(String::try_from(value)?)
}

fn body<T: for<'b> serde::Deserialize<'b> + zbus::Type>(reply: &Message) -> Result<T, Failure> {
    Ok(reply.body().deserialize()?)
}

#[async_trait]
impl TestProbe for SystemdProbe {
    async fn probe(&mut self) -> Result<(), String> {
        // Cancelled, it closes the connection: one that is not answered may never be again.
        let connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            Some(_) | None => self.connect().await?,
        };
        match self.ask(&connection).await {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(Failure::Inactive { why }) => {
                self.connection = Some(connection);
                Err(why)
            }
            Err(Failure::Unknown { why }) => Err(why),
        }
    }

    fn overdue(&self) -> String {
        format!("systemd did not say whether {} is active", self.unit)
    }
}
