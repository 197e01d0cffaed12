//! Announcements: gratuitous ARP and unsolicited neighbour advertisements, through pnet.
