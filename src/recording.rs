//! What happened to a node, as bytes, and the same core over it: a recording.
//!
//! ```text
//!   segment   prefix, then packed: opening (a start, or the whole node as it was), entries ...    one file of a ring
//!   entry     Happened (time, events), Decided (every action, in order), Sent (numbers of datagrams)
//!   frame     length, checksum, bytes (postcard)
//! ```
//!
//! The node is arithmetic, so its opening and its events are all of it: [`replay::Replay`] runs them again and holds each
//! list of actions against the one that was taken. Every segment begins with an opening, so a ring may forget its oldest
//! ones. [`merge::Merge`] makes one story of the recordings of several hosts.
//!
//! Never touches a file, a clock or a thread: `process/recorder.rs` writes, `operator/recordings.rs` reads. What stands in a
//! recording may come from anywhere: whatever the bytes are, reading them neither panics nor takes more memory than a
//! multiple of their length.

pub mod frame;
pub mod merge;
pub mod packing;
pub mod pen;
pub mod replay;
pub mod segment;

pub use self::frame::{Decision, EncodeError, Opening, Origin, Sent, Wall};
