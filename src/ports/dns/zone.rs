//! The records of one zone, ready to be sent.
//!
//! Owns what the configuration fixes (names, name servers, times to live) and, swapped as a whole, what the core publishes
//! (serial and addresses). Never decides what is advertised. Called by `dns.rs`, which publishes, and `answer.rs`, which reads.
//!
//! The zone's apex is the name of the service. Below it are only those names of name servers that lie inside the zone; what
//! is on the way to one exists too, without records (RFC 8020). A name server that is called like the zone itself gets no
//! addresses of its own: the apex has the service's.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hickory_proto::ProtoError;
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;

use crate::node::event::GroupIndex;
use crate::types::policy::ZonePolicy;

/// "There is no address" may be remembered for so long at most: a zone that was empty for a moment is back as soon.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(5);

/// Names and addresses of name servers hardly ever change; an hour is the least that parents usually hand out for them.
const NAMESERVER_TTL_S: u32 = 3600;

/// For secondaries that miss a NOTIFY: ask each minute, since an address in here lives for seconds.
const REFRESH_S: i32 = 60;

/// For secondaries whose question was not answered.
const RETRY_S: i32 = 15;

/// Secondaries go on for a week without any of the pool, as RIPE-203 recommends at least.
const EXPIRE_S: i32 = 604_800;

/// Bytes of a compressed owner name.
const POINTER_BYTES: usize = 2;

/// Why a zone cannot be served. The configuration is at fault.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// A name is none.
    #[error("zone {zone:?}: {what} {name:?} is not a domain name: {source}")]
    Name {
        /// The zone.
        zone: String,
        /// What the name is for.
        what: &'static str,
        /// As configured.
        name: String,
        /// Why not.
        source: ProtoError,
    },
    /// Two groups have the same zone.
    #[error("zone {zone:?} belongs to two groups: give each its own name")]
    Twice {
        /// The zone.
        zone: String,
    },
}

/// All zones, those with longer names first: a zone inside another is found before it.
#[derive(Debug)]
pub(crate) struct Zones(Vec<Zone>);

impl Zones {
    /// From the configuration. What `before` has published under the same name stays published.
    pub(crate) fn new(policies: &[(GroupIndex, ZonePolicy)], before: Option<&Self>) -> Result<Self, ZoneError> {
        let mut zones: Vec<Zone> = Vec::with_capacity(policies.len());
        for (group, policy) in policies {
            let zone = Zone::new(*group, policy)?;
            if zones.iter().any(|other| other.origin == zone.origin) {
                return Err(ZoneError::Twice { zone: policy.name.clone() });
            }
            let kept =
                before.and_then(|before| before.0.iter().find(|old| old.origin == zone.origin)).and_then(|old| old.content.load_full());
            if let Some(kept) = kept {
                zone.publish(kept.serial, &kept.addresses);
            }
            zones.push(zone);
        }
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.origin.num_labels()));
        Ok(Self(zones))
    }

    /// The zone that `name` lies in.
    pub(crate) fn holding(&self, name: &LowerName) -> Option<&Zone> {
        self.0.iter().find(|zone| zone.origin.zone_of(name))
    }

    /// The zone of a group.
    pub(crate) fn of_group(&self, group: GroupIndex) -> Option<&Zone> {
        self.0.iter().find(|zone| zone.group == group)
    }
}

/// One zone.
#[derive(Debug)]
pub(crate) struct Zone {
    group: GroupIndex,
    origin: LowerName,
    apex: Name,
    primary: Name,
    contact: Name,
    ttl_s: u32,
    negative_ttl_s: u32,
    /// The most addresses in an answer; `usize::MAX`: as many as fit.
    answers_max: usize,
    nameservers: Vec<Record>,
    /// Addresses of the name servers inside the zone, IPv4 first within each name.
    glue: Vec<Record>,
    /// What is published; `None` until then.
    content: ArcSwapOption<Content>,
    /// Whose turn it is to be the first, for each family, whole and cut answers on its own: with one count for all, clients that
    /// ask for A and then AAAA, or over UDP and then TCP, would see every second address first only.
    turns: [AtomicUsize; 4],
}

/// What the core publishes.
#[derive(Debug)]
pub(crate) struct Content {
    serial: u32,
    addresses: Vec<IpAddr>,
    pub(crate) soa: Record,
    v4: AddressSet,
    v6: AddressSet,
}

/// The addresses of one family, in the order of the zone.
#[derive(Debug)]
pub(crate) struct AddressSet {
    records: Vec<Record>,
    first_bytes: usize,
    next_bytes: usize,
    family: Family,
}

/// Some of a set's records, in the order in which they are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn<'a> {
    /// From the one whose turn it is.
    pub(crate) first: &'a [Record],
    /// Then from the start.
    pub(crate) second: &'a [Record],
    /// Whether room was short for some of them.
    pub(crate) is_cut: bool,
}

/// What a zone has under a name and type.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// The service's addresses.
    Addresses(&'a AddressSet),
    /// The name does not exist.
    NoName,
    /// The name exists, without records of this type.
    NoRecords,
    /// These records, which never change their order.
    Records {
        /// Answer.
        records: Vec<&'a Record>,
        /// Additional, where it fits.
        glue: &'a [Record],
    },
}

impl Zone {
    fn new(group: GroupIndex, policy: &ZonePolicy) -> Result<Self, ZoneError> {
        let name = |what, text: &str| {
            parse_name(text).map_err(|source| ZoneError::Name { zone: policy.name.clone(), what, name: text.to_owned(), source })
        };
        let apex = name("its name", &policy.name)?;
        let origin = LowerName::new(&apex);
        let contact = contact_name(&policy.contact, &apex).map_err(|source| ZoneError::Name {
            zone: policy.name.clone(),
            what: "contact",
            name: policy.contact.clone(),
            source,
        })?;
        let mut nameservers = Vec::new();
        let mut glue = Vec::new();
        let mut primary = None;
        for (server, addresses) in &policy.nameservers {
            let server = name("name server", server)?;
            primary.get_or_insert_with(|| server.clone());
            nameservers.push(Record::from_rdata(apex.clone(), NAMESERVER_TTL_S, RData::NS(NS(server.clone()))));
            let lower = LowerName::new(&server);
            if origin.zone_of(&lower) && lower != origin {
                let mut addresses = addresses.clone();
                addresses.sort_unstable();
                glue.extend(addresses.into_iter().map(|address| address_record(&server, NAMESERVER_TTL_S, address)));
            }
        }
        Ok(Self {
            group,
            origin,
            primary: primary.unwrap_or_else(|| apex.clone()),
            apex,
            contact,
            ttl_s: seconds(policy.ttl),
            negative_ttl_s: seconds(policy.ttl.min(NEGATIVE_TTL_MAX)),
            answers_max: if policy.max_answers == 0 { usize::MAX } else { usize::try_from(policy.max_answers).unwrap_or(usize::MAX) },
            nameservers,
            glue,
            content: ArcSwapOption::empty(),
            turns: Default::default(),
        })
    }

    /// Answers from here on are these.
    pub(crate) fn publish(&self, serial: u32, addresses: &[IpAddr]) {
        // RFC 2308 §5: the lesser of the record's own time and its last field rules; resolvers that read only one get the same.
        let ttl = self.negative_ttl_s;
        let soa = SOA::new(self.primary.clone(), self.contact.clone(), serial, REFRESH_S, RETRY_S, EXPIRE_S, ttl);
        let soa = Record::from_rdata(self.apex.clone(), ttl, RData::SOA(soa));
        let set = |family| AddressSet::new(&self.apex, self.ttl_s, addresses, family);
        let content = Content { serial, addresses: addresses.to_vec(), soa, v4: set(Family::V4), v6: set(Family::V6) };
        self.content.store(Some(Arc::new(content)));
    }

    /// What is published.
    pub(crate) fn content(&self) -> arc_swap::Guard<Option<Arc<Content>>> {
        self.content.load()
    }

    /// What there is under a name of this zone.
    pub(crate) fn find<'a>(&'a self, content: &'a Content, name: &LowerName, kind: RecordType) -> Found<'a> {
        if *name == self.origin {
            return self.find_apex(content, kind);
        }
        let mut exists = false;
        let mut records = Vec::new();
        for server in &self.nameservers {
            let RData::NS(NS(target)) = &server.data else { continue };
            let target = LowerName::new(target);
            exists |= self.origin.zone_of(&target) && name.zone_of(&target);
        }
        for record in &self.glue {
            if LowerName::new(&record.name) == *name && (record.record_type() == kind || kind == RecordType::ANY) {
                records.push(record);
            }
        }
        if kind == RecordType::ANY {
            // RFC 8482 §4.1: any one of the sets will do.
            let first = records.first().map(|record| record.record_type());
            records.retain(|record| Some(record.record_type()) == first);
        }
        match (exists, records.is_empty()) {
            (_, false) => Found::Records { records, glue: &[] },
            (true, true) => Found::NoRecords,
            (false, true) => Found::NoName,
        }
    }

    fn find_apex<'a>(&'a self, content: &'a Content, kind: RecordType) -> Found<'a> {
        let soa = || Found::Records { records: vec![&content.soa], glue: &[] };
        if kind == RecordType::A && !content.v4.records.is_empty() {
            Found::Addresses(&content.v4)
        } else if kind == RecordType::AAAA && !content.v6.records.is_empty() {
            Found::Addresses(&content.v6)
        } else if kind == RecordType::SOA {
            soa()
        } else if kind == RecordType::NS && !self.nameservers.is_empty() {
            Found::Records { records: self.nameservers.iter().collect(), glue: &self.glue }
        } else if kind == RecordType::ANY {
            // RFC 8482 §4.1: any one of the sets will do.
            match (content.v4.records.is_empty(), content.v6.records.is_empty()) {
                (false, _) => Found::Addresses(&content.v4),
                (true, false) => Found::Addresses(&content.v6),
                (true, true) => soa(),
            }
        } else {
            Found::NoRecords
        }
    }

    /// The next turn of a set: as many as are wanted and fit into `room` bytes.
    pub(crate) fn take_turn<'a>(&self, set: &'a AddressSet, room: usize) -> Turn<'a> {
        let count = set.records.len();
        let wanted = count.min(self.answers_max);
        let fitting = match room.checked_sub(set.first_bytes) {
            Some(rest) => 1 + rest / set.next_bytes.max(1),
            None => 0,
        };
        let taken = wanted.min(fitting);
        let is_cut = taken < wanted;
        let [v4, v6, v4_cut, v6_cut] = &self.turns;
        let turns = match (set.family, is_cut) {
            (Family::V4, false) => v4,
            (Family::V4, true) => v4_cut,
            (Family::V6, false) => v6,
            (Family::V6, true) => v6_cut,
        };
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        let (before, from) = set.records.split_at(turn.checked_rem(count).unwrap_or_default());
        let first = from.get(..taken).unwrap_or(from);
        let second = before.get(..taken - first.len()).unwrap_or_default();
        Turn { first, second, is_cut }
    }
}

#[derive(Clone, Copy, Debug)]
enum Family {
    V4,
    V6,
}

impl AddressSet {
    fn new(owner: &Name, ttl_s: u32, addresses: &[IpAddr], family: Family) -> Self {
        let is_wanted = |address: &&IpAddr| match family {
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let records: Vec<_> = addresses.iter().filter(is_wanted).map(|address| address_record(owner, ttl_s, *address)).collect();
        let length = |bytes: Result<Vec<u8>, ProtoError>| bytes.map_or(0, |bytes| bytes.len());
        // The encoder writes the owner's name out once and then points at it.
        let first_bytes = records.first().map_or(0, |record| length(record.to_bytes()));
        let next_bytes = (first_bytes + POINTER_BYTES).saturating_sub(length(owner.to_bytes()));
        Self { records, first_bytes, next_bytes, family }
    }
}

fn address_record(owner: &Name, ttl_s: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(owner.clone(), ttl_s, data)
}

/// An absolute name in lower case, whether or not a dot ends the text.
fn parse_name(text: &str) -> Result<Name, ProtoError> {
    let mut name = Name::from_ascii(text)?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

/// RFC 1035 §8: a mail address as a name; dots before the `@` belong to the first label. Nothing stands for `hostmaster` (RFC 2142 §7).
fn contact_name(contact: &str, apex: &Name) -> Result<Name, ProtoError> {
    if contact.is_empty() {
        return apex.prepend_label("hostmaster");
    }
    match contact.rsplit_once('@') {
        Some((local, domain)) => parse_name(domain)?.prepend_label(local.as_bytes()),
        None => parse_name(contact),
    }
}

/// Whole seconds, rounded up, so that no time but none becomes zero; RFC 2181 §8 ends at 31 bits.
fn seconds(time: Duration) -> u32 {
    let whole = time.as_millis().div_ceil(1000);
    u32::try_from(whole).unwrap_or(u32::MAX).min(u32::MAX >> 1)
}
