//! See docs/architecture.md.
pub mod frames;
pub mod lab;
pub mod log;
pub mod namespace;
pub mod probes;
pub mod topology;
