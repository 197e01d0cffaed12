//! What survives a restart, on disk.
