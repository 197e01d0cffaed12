//! Programs: a test that exits with 0, a load that prints `LOAD CAPACITY`.
//!
//! Owns nothing between probes; the run itself, with its bounded output and its end, is `script/child.rs`. Called by `probe.rs`.

use std::time::Duration;

use crate::node::event::LoadSample;
use crate::ports::script::child::{Ended, How, Program, describe};

/// A program that is run at each probe.
pub(crate) struct ProbeProgram(Program);

impl ProbeProgram {
    /// It is killed at once at its timeout, since the next probe may be due.
    pub(crate) fn new(command: &[String], limit: Duration) -> Result<Self, String> {
        let Some((path, arguments)) = command.split_first() else {
            return Err("`command` is empty: give a program and its arguments".to_owned());
        };
        let arguments = arguments.to_vec();
        Ok(Self(Program { path: path.into(), arguments, environment: Vec::new(), user: None, limit, grace: Duration::ZERO }))
    }

    pub(crate) async fn test(&self) -> Result<(), String> {
        self.run().await.map(drop)
    }

    pub(crate) async fn load(&self) -> Result<LoadSample, String> {
        let ended = self.run().await?;
        let printed = ended.first_stdout.unwrap_or_default();
        sample(&printed).ok_or_else(|| format!("{} printed {printed:?}, not two numbers `LOAD CAPACITY`", self.0.path.display()))
    }

    async fn run(&self) -> Result<Ended, String> {
        let Program { path, limit, .. } = &self.0;
        let path = path.display();
        // What a probe prints goes to the debug log: with a probe each second, a chatty one would drown the rest.
        let ended = self.0.clone().run(|_, line| tracing::debug!(program = %path, "{line}")).await;
        match &ended.how {
            How::Exited(status) if status.success() => Ok(ended),
            How::Exited(status) => Err(format!("{path} {}{}", describe(*status), ended.last_words())),
            How::TimedOut => Err(format!("{path} did not end within {limit:?} and was killed{}", ended.last_words())),
            How::NotStarted { why } => Err(why.clone()),
        }
    }
}

/// `LOAD CAPACITY`: two decimal numbers that fit 32 bits, and nothing else.
fn sample(line: &str) -> Option<LoadSample> {
    let mut words = line.split_ascii_whitespace();
    let (load, capacity) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(LoadSample { load, capacity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_two_numbers_is_no_sample() {
        assert_eq!(sample(" 300\t1000 "), Some(LoadSample { load: 300, capacity: 1000 }));
        assert_eq!(sample("0 0"), Some(LoadSample { load: 0, capacity: 0 }));
        for line in ["", "300", "300 1000 x", "-1 5", "1.5 2", "4294967296 1", "1 4294967296"] {
            assert_eq!(sample(line), None, "{line}");
        }
    }
}
