//! What systemd is told: ready, alive, stopping. The loop itself feeds the watchdog, so a loop that hangs is noticed.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::types::time::Time;

/// The service manager's view of this daemon.
pub(super) struct Watchdog {
    /// Half of what systemd waits for; `None` without a watchdog.
    interval: Option<Duration>,
    fed: Option<Time>,
}

impl Watchdog {
    /// Says that the daemon runs.
    pub(super) fn start() -> Self {
        notify(&[NotifyState::Ready]);
        Self { interval: sd_notify::watchdog_enabled().map(|timeout| timeout / 2), fed: None }
    }

    /// Says that the loop turns.
    pub(super) fn feed(&mut self, now: Time) {
        let Some(interval) = self.interval else { return };
        if self.fed.is_none_or(|fed| now.since(fed) >= interval) {
            self.fed = Some(now);
            notify(&[NotifyState::Watchdog]);
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        notify(&[NotifyState::Stopping]);
    }
}

/// Without a service manager there is nobody to tell, which is no fault.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
