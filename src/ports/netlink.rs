//! The kernel's addresses and interfaces, through rtnetlink.
