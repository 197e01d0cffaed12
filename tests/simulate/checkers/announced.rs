//! An address is announced only by a host that has it on its interface.

use super::{Judgement, object};
use crate::seen::{Seen, What};

#[derive(Debug, Default)]
pub(crate) struct Announced;

impl Announced {
    pub(crate) fn see(&mut self, seen: &Seen) -> Judgement {
        match &seen.what {
            What::Announced { address, is_on: false } => {
                object("announced", format!("h{} announces {address}, which it does not have", seen.host))
            }
            _ => Ok(()),
        }
    }
}
