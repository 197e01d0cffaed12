//! Bytes and messages: layout, sealing, replay window, packing into datagrams.

pub mod seal;
