//! The records of one zone, ready to be sent.
//!
//! Owns what the configuration fixes (names, name servers, times to live) and, swapped as a whole, what the core publishes
//! (serial and addresses). Never decides what is advertised. Called by `dns.rs`, which publishes, and `answer.rs`, which reads.
//!
//! The zone's apex is the name of the service. Below it are only `_why` and those names of name servers that lie inside the
//! zone; what is on the way to one exists too, without records (RFC 8020). A name server that is called like the zone itself
//! gets no addresses of its own: the apex has the service's.

use std::net::IpAddr;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hickory_proto::ProtoError;
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA, TXT};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};

use super::record::{Owner, Template};
use super::why;
use crate::node::event::GroupIndex;
use crate::types::policy::ZonePolicy;
use crate::types::view::ZoneView;

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

/// The name under which it is said why addresses are withheld.
const WHY: &str = "_why";

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
                zone.publish(&kept.view).map_err(|source| ZoneError::Name {
                    zone: policy.name.clone(),
                    what: "its name",
                    name: policy.name.clone(),
                    source,
                })?;
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
    /// `_why` in the zone.
    why: LowerName,
    ttl_s: u32,
    negative_ttl_s: u32,
    /// The most addresses in an answer; `usize::MAX`: as many as fit.
    answers_max: usize,
    /// The NS records.
    nameservers: Vec<Template>,
    /// Addresses of the name servers inside the zone, IPv4 first within each name.
    glue: Vec<Template>,
    /// Name servers inside the zone.
    hosts: Vec<Nameserver>,
    /// What is published; `None` until then.
    content: ArcSwapOption<Content>,
    /// Whose turn it is to be the first, for each family, whole and cut answers on its own: with one count for all, clients that
    /// ask for A and then AAAA, or over UDP and then TCP, would see every second address first only.
    turns: [AtomicUsize; 4],
}

/// A name server with a name inside the zone.
#[derive(Debug)]
struct Nameserver {
    name: LowerName,
    v4: Vec<Template>,
    v6: Vec<Template>,
}

/// What the core publishes.
#[derive(Debug)]
pub(crate) struct Content {
    view: ZoneView,
    pub(crate) soa: Template,
    v4: AddressSet,
    v6: AddressSet,
    why: Vec<Template>,
}

/// The addresses of one family, in the order of the zone, as records one after the other: their owner is always what was asked for.
#[derive(Debug)]
pub(crate) struct AddressSet {
    records: Vec<u8>,
    record_bytes: usize,
    count: usize,
    family: Family,
}

/// Some of a set's records, in the order in which they are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn<'a> {
    /// From the one whose turn it is.
    pub(crate) first: &'a [u8],
    /// Then from the start.
    pub(crate) second: &'a [u8],
    /// How many they are.
    pub(crate) count: usize,
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
        records: &'a [Template],
        /// Additional, where it fits.
        glue: &'a [Template],
    },
    /// Why addresses are withheld: for those only who may know.
    Why(&'a [Template]),
}

impl Zone {
    fn new(group: GroupIndex, policy: &ZonePolicy) -> Result<Self, ZoneError> {
        let wrong = |what, text: &str| {
            let (zone, name) = (policy.name.clone(), text.to_owned());
            move |source| ZoneError::Name { zone, what, name, source }
        };
        let apex = parse_name(&policy.name).map_err(wrong("its name", &policy.name))?;
        let origin = LowerName::new(&apex);
        let contact = contact_name(&policy.contact, &apex).map_err(wrong("contact", &policy.contact))?;
        let why = apex.prepend_label(WHY).map_err(wrong("its name", &policy.name))?;
        let mut nameservers = Vec::new();
        let mut hosts = Vec::new();
        let mut primary = None;
        for (text, addresses) in &policy.nameservers {
            let wrong = || wrong("name server", text);
            let server = parse_name(text).map_err(wrong())?;
            primary.get_or_insert_with(|| server.clone());
            let record = Record::from_rdata(apex.clone(), NAMESERVER_TTL_S, RData::NS(NS(server.clone())));
            nameservers.push(Template::new(&apex, &record).map_err(wrong())?);
            let name = LowerName::new(&server);
            if origin.zone_of(&name) && name != origin {
                let set = |family| address_templates(&apex, &server, NAMESERVER_TTL_S, addresses, family).map_err(wrong());
                hosts.push(Nameserver { v4: set(Family::V4)?, v6: set(Family::V6)?, name });
            }
        }
        Ok(Self {
            group,
            origin,
            primary: primary.unwrap_or_else(|| apex.clone()),
            apex,
            contact,
            why: LowerName::new(&why),
            ttl_s: seconds(policy.ttl),
            negative_ttl_s: seconds(policy.ttl.min(NEGATIVE_TTL_MAX)),
            answers_max: if policy.max_answers == 0 { usize::MAX } else { usize::try_from(policy.max_answers).unwrap_or(usize::MAX) },
            nameservers,
            glue: hosts.iter().flat_map(|host| host.v4.iter().chain(&host.v6)).cloned().collect(),
            hosts,
            content: ArcSwapOption::empty(),
            turns: Default::default(),
        })
    }

    /// Answers from here on are these.
    pub(crate) fn publish(&self, view: &ZoneView) -> Result<(), ProtoError> {
        // RFC 2308 §5: the lesser of the record's own time and its last field rules; resolvers that read only one get the same.
        let ttl = self.negative_ttl_s;
        let soa = SOA::new(self.primary.clone(), self.contact.clone(), view.serial, REFRESH_S, RETRY_S, EXPIRE_S, ttl);
        let soa = Template::new(&self.apex, &Record::from_rdata(self.apex.clone(), ttl, RData::SOA(soa)))?;
        let set = |family| AddressSet::new(&self.apex, self.ttl_s, &view.advertised, family);
        let why = why::sentences(&view.withheld).into_iter().map(|sentence| {
            let text = RData::TXT(TXT::new(vec![sentence]));
            Template::new(&self.apex, &Record::from_rdata(Name::from(&self.why), 0, text))
        });
        let why = why.collect::<Result<_, _>>()?;
        let content = Content { view: view.clone(), soa, v4: set(Family::V4)?, v6: set(Family::V6)?, why };
        self.content.store(Some(Arc::new(content)));
        Ok(())
    }

    /// What is published.
    pub(crate) fn content(&self) -> arc_swap::Guard<Option<Arc<Content>>> {
        self.content.load()
    }

    /// The bytes of the zone's name, with the root.
    pub(crate) fn name_bytes(&self) -> usize {
        self.apex.iter().map(|label| 1 + label.len()).sum::<usize>() + 1
    }

    /// What there is under a name of this zone.
    #[expect(clippy::wildcard_enum_match_arm, reason = "dozens of types, of which a zone like this has no records")]
    pub(crate) fn find<'a>(&'a self, content: &'a Content, name: &LowerName, kind: RecordType) -> Found<'a> {
        if *name == self.origin {
            return self.find_apex(content, kind);
        }
        if *name == self.why {
            // Nothing withheld is a name without records; so is every other type.
            return Found::Why(if matches!(kind, RecordType::TXT | RecordType::ANY) { &content.why } else { &[] });
        }
        let records = |records| if <[Template]>::is_empty(records) { Found::NoRecords } else { Found::Records { records, glue: &[] } };
        if let Some(host) = self.hosts.iter().find(|host| host.name == *name) {
            return match kind {
                RecordType::A => records(&host.v4),
                RecordType::AAAA => records(&host.v6),
                // RFC 8482 §4.1: any one of the sets will do.
                RecordType::ANY if host.v4.is_empty() => records(&host.v6),
                RecordType::ANY => records(&host.v4),
                _ => Found::NoRecords,
            };
        }
        // RFC 8020: what is on the way to a name exists too.
        if self.hosts.iter().any(|host| name.zone_of(&host.name)) { Found::NoRecords } else { Found::NoName }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "dozens of types, of which a zone like this has no records")]
    fn find_apex<'a>(&'a self, content: &'a Content, kind: RecordType) -> Found<'a> {
        let soa = Found::Records { records: from_ref(&content.soa), glue: &[] };
        let addresses = |set: &'a AddressSet| if set.count == 0 { Found::NoRecords } else { Found::Addresses(set) };
        match kind {
            RecordType::A => addresses(&content.v4),
            RecordType::AAAA => addresses(&content.v6),
            RecordType::SOA => soa,
            RecordType::NS if !self.nameservers.is_empty() => Found::Records { records: &self.nameservers, glue: &self.glue },
            // RFC 8482 §4.1: any one of the sets will do.
            RecordType::ANY if content.v4.count > 0 => addresses(&content.v4),
            RecordType::ANY if content.v6.count > 0 => addresses(&content.v6),
            RecordType::ANY => soa,
            _ => Found::NoRecords,
        }
    }

    /// The next turn of a set: as many as are wanted and fit into `room` bytes.
    pub(crate) fn take_turn<'a>(&self, set: &'a AddressSet, room: usize) -> Turn<'a> {
        let wanted = set.count.min(self.answers_max);
        let taken = wanted.min(room.checked_div(set.record_bytes).unwrap_or_default());
        let is_cut = taken < wanted;
        let [v4, v6, v4_cut, v6_cut] = &self.turns;
        let turns = match (set.family, is_cut) {
            (Family::V4, false) => v4,
            (Family::V4, true) => v4_cut,
            (Family::V6, false) => v6,
            (Family::V6, true) => v6_cut,
        };
        let turn = turns.fetch_add(1, Ordering::Relaxed).checked_rem(set.count).unwrap_or_default();
        let (before, from) = set.records.split_at(turn * set.record_bytes);
        let first = from.get(..taken * set.record_bytes).unwrap_or(from);
        let second = before.get(..taken * set.record_bytes - first.len()).unwrap_or_default();
        Turn { first, second, count: taken, is_cut }
    }
}

#[derive(Clone, Copy, Debug)]
enum Family {
    V4,
    V6,
}

impl AddressSet {
    fn new(owner: &Name, ttl_s: u32, addresses: &[IpAddr], family: Family) -> Result<Self, ProtoError> {
        let templates = address_templates(owner, owner, ttl_s, addresses, family)?;
        let mut records = Vec::with_capacity(templates.iter().map(|template| template.len(Owner::Asked)).sum());
        for template in &templates {
            template.write(&mut records, Owner::Asked, 0);
        }
        let (count, record_bytes) = (templates.len(), templates.first().map_or(0, |template| template.len(Owner::Asked)));
        Ok(Self { records, record_bytes, count, family })
    }
}

/// The addresses of one family under a name.
fn address_templates(apex: &Name, owner: &Name, ttl_s: u32, addresses: &[IpAddr], family: Family) -> Result<Vec<Template>, ProtoError> {
    let is_wanted = |address: &&IpAddr| match family {
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    addresses.iter().filter(is_wanted).map(|address| Template::new(apex, &address_record(owner, ttl_s, *address))).collect()
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
