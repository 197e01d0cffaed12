//! nftables rules in a host's namespace: what a story breaks for its twin.

use raisd::demo::lab;
use raisd::demo::namespace::Namespace;

use crate::story::{Failure, Outcome};

/// Adds rules to one hook of a host, in the words of nft; they end with the namespace.
pub(crate) fn add(namespace: &Namespace, hook: &str, rules: &str) -> Outcome {
    let text = format!("table inet story_{hook} {{ chain rules {{ type filter hook {hook} priority raw; {rules}; }}; }}");
    let output = namespace
        .output(lab::command("nft").arg(&text))
        .map_err(|error| Failure::broken(format!("cannot run nft ({error}); install it with: apt-get install nftables")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::broken(format!("nft refuses {text}: {}", String::from_utf8_lossy(&output.stderr))))
}
