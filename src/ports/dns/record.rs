//! Records as they stand in an answer, laid out once when the zone changes and copied from then on.
//!
//! Owns the bytes of a record. Every name that lies in the zone ends in a pointer to the zone's name inside the question
//! (RFC 1035 §4.1.4), so that no answer spells the zone out a second time; where that is differs from question to question
//! and is filled in by [`Template::write`]. Decides nothing. Called by `zone.rs`, which makes them, and `message.rs`, which
//! copies them.

use hickory_proto::ProtoError;
use hickory_proto::rr::rdata::{NS, SOA};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::BinEncodable;

/// RFC 1035 §4.1.4: a length byte with these bits is the start of a pointer.
const POINTER: u16 = 0xc000;

/// Where the name that is asked for stands in every message: after the header.
const QUESTION_AT: u16 = 12;

/// How the owner's name of a record is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// As a pointer to the question, which has the same name.
    Asked,
    /// As far as it does not end like the zone's name.
    Spelt,
}

/// A record, but for the pointers to the zone's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// How many of them are the owner's name.
    owner: usize,
    /// Where in `bytes` a pointer stands, in ascending order.
    pointers: Vec<usize>,
}

impl Template {
    /// Lays out a record of the zone with the name `apex`. Names must be in lower case.
    pub(crate) fn new(apex: &Name, record: &Record) -> Result<Self, ProtoError> {
        let mut layout = Layout { apex, template: Self { bytes: Vec::with_capacity(64), owner: 0, pointers: Vec::new() } };
        layout.name(&record.name);
        layout.template.owner = layout.template.bytes.len();
        layout.u16(record.record_type().into());
        layout.u16(record.dns_class.into());
        layout.template.bytes.extend_from_slice(&record.ttl.to_be_bytes());
        let length_at = layout.template.bytes.len();
        layout.u16(0);
        layout.data(&record.data)?;
        let data = u16::try_from(layout.template.bytes.len() - length_at - 2).map_err(|_| ProtoError::from("record data is too long"))?;
        if let Some(length) = layout.template.bytes.get_mut(length_at..length_at + 2) {
            length.copy_from_slice(&data.to_be_bytes());
        }
        Ok(layout.template)
    }

    /// How many bytes [`Self::write`] appends.
    pub(crate) fn len(&self, owner: Owner) -> usize {
        match owner {
            Owner::Asked => 2 + self.bytes.len() - self.owner,
            Owner::Spelt => self.bytes.len(),
        }
    }

    /// Appends the record to an answer in whose question the zone's name stands at `apex_at`.
    pub(crate) fn write(&self, answer: &mut Vec<u8>, owner: Owner, apex_at: u16) {
        let from = match owner {
            Owner::Asked => {
                answer.extend_from_slice(&(POINTER | QUESTION_AT).to_be_bytes());
                self.owner
            }
            Owner::Spelt => 0,
        };
        let start = answer.len();
        answer.extend_from_slice(self.bytes.get(from..).unwrap_or_default());
        for at in self.pointers.iter().filter_map(|at| at.checked_sub(from)) {
            if let Some(pointer) = answer.get_mut(start + at..start + at + 2) {
                pointer.copy_from_slice(&(POINTER | apex_at).to_be_bytes());
            }
        }
    }
}

struct Layout<'a> {
    apex: &'a Name,
    template: Template,
}

impl Layout<'_> {
    fn u16(&mut self, value: u16) {
        self.template.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn name(&mut self, name: &Name) {
        let in_zone = self.apex.zone_of(name);
        let spelt = name.iter().count() - if in_zone { self.apex.iter().count() } else { 0 };
        for label in name.iter().take(spelt) {
            // RFC 1035 §2.3.4: a label has at most 63 bytes, which `Name` makes sure of.
            self.template.bytes.push(u8::try_from(label.len()).unwrap_or_default());
            self.template.bytes.extend_from_slice(label);
        }
        if in_zone {
            self.template.pointers.push(self.template.bytes.len());
            self.u16(POINTER);
        } else {
            self.template.bytes.push(0);
        }
    }

    /// RFC 3597 §4: names are compressed in the types of RFC 1035 only.
    fn data(&mut self, data: &RData) -> Result<(), ProtoError> {
        if let RData::NS(NS(name)) = data {
            self.name(name);
        } else if let RData::SOA(SOA { mname, rname, serial, refresh, retry, expire, minimum, .. }) = data {
            self.name(mname);
            self.name(rname);
            let numbers = [serial.to_be_bytes(), refresh.to_be_bytes(), retry.to_be_bytes(), expire.to_be_bytes(), minimum.to_be_bytes()];
            self.template.bytes.extend(numbers.iter().flatten());
        } else {
            self.template.bytes.extend(data.to_bytes()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::rr::rdata::{A, TXT};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn written(owner: &str, data: RData) -> Vec<u8> {
        let template = Template::new(&name("pool.example."), &Record::from_rdata(name(owner), 5, data)).unwrap();
        let mut answer = vec![0xff; 3];
        template.write(&mut answer, Owner::Spelt, 16);
        assert_eq!(answer.len(), 3 + template.len(Owner::Spelt));
        answer.split_off(3)
    }

    #[test]
    fn the_zones_name_is_a_pointer_and_nothing_else() {
        let expected = [0xc0, 16, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 1];
        assert_eq!(written("pool.example.", RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))), expected);
    }

    #[test]
    fn what_stands_before_the_zones_name_is_spelt_out() {
        let expected = [b"\x04_why\xc0\x10".as_slice(), &[0, 16, 0, 1, 0, 0, 0, 5, 0, 3, 2, b'h', b'i']].concat();
        assert_eq!(written("_why.pool.example.", RData::TXT(TXT::new(vec!["hi".to_owned()]))), expected);
    }

    #[test]
    fn names_in_the_data_are_pointers_where_they_lie_in_the_zone() {
        let inside = written("pool.example.", RData::NS(NS(name("ns1.pool.example."))));
        assert_eq!(inside[10..], *b"\x00\x06\x03ns1\xc0\x10");
        let outside = written("pool.example.", RData::NS(NS(name("ns.other."))));
        assert_eq!(outside[10..], *b"\x00\x0a\x02ns\x05other\x00");
        let soa = SOA::new(name("ns1.pool.example."), name("me.other."), 7, 1, 2, 3, 4);
        let soa = written("pool.example.", RData::SOA(soa));
        assert_eq!(soa[10..28], *b"\x00\x24\x03ns1\xc0\x10\x02me\x05other\x00");
        assert_eq!(soa[28..], [0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]);
    }

    #[test]
    fn a_name_that_was_asked_for_is_a_pointer_to_the_question() {
        let record = Record::from_rdata(name("n1.pool.example."), 5, RData::NS(NS(name("n2.pool.example."))));
        let template = Template::new(&name("pool.example."), &record).unwrap();
        let mut answer = Vec::new();
        template.write(&mut answer, Owner::Asked, 15);
        assert_eq!(answer, *b"\xc0\x0c\x00\x02\x00\x01\x00\x00\x00\x05\x00\x05\x02n2\xc0\x0f");
        assert_eq!(answer.len(), template.len(Owner::Asked));
    }

    #[test]
    fn in_the_root_zone_names_point_at_the_end_of_the_question() {
        let template = Template::new(&Name::root(), &Record::from_rdata(Name::root(), 5, RData::NS(NS(name("ns.other."))))).unwrap();
        let mut answer = Vec::new();
        template.write(&mut answer, Owner::Spelt, 12);
        assert_eq!(answer, *b"\xc0\x0c\x00\x02\x00\x01\x00\x00\x00\x05\x00\x0b\x02ns\x05other\xc0\x0c");
    }
}
