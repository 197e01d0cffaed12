//! The frame of a message: the header of what came in, and the bytes of what goes out.
//!
//! Owns the layout of RFC 1035 §4.1 and the limit of an answer's size. Decides nothing about names and records. Called by
//! `answer.rs` only.

use hickory_proto::op::ResponseCode;

use super::edns::Opt;
use super::record::{Owner, Template};

pub(crate) const HEADER_BYTES: usize = 12;

/// The shortest question: root name, type, class.
const QUESTION_BYTES_MIN: usize = 5;

/// What follows the name in a question: type, class.
const QUESTION_TAIL_BYTES: usize = 4;

/// The shortest record: root name, type, class, time to live, length.
const RECORD_BYTES_MIN: usize = 11;

/// RFC 1035 §4.1.1: the bit of the first byte of flags that makes a message an answer.
const ANSWER: u8 = 0x80;
/// The operation.
const OPERATION: u8 = 0x78;
/// The answer has the authority of the zone.
const AUTHORITATIVE: u8 = 0x04;
/// Something did not fit.
const TRUNCATED: u8 = 0x02;
/// Comes back as it was.
const RECURSION_DESIRED: u8 = 0x01;
/// Of the second byte of flags: comes back as it was.
const CHECKING_DISABLED: u8 = 0x10;

/// The header of a message, read before anything is allocated for the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    id: [u8; 2],
    flags: [u8; 2],
    counts: [u16; 4],
}

impl Envelope {
    /// `None` for what is never answered: pieces, and answers, which could go back and forth for ever.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let [id0, id1, flags0, flags1, q0, q1, a0, a1, n0, n1, x0, x1] = *message.first_chunk::<HEADER_BYTES>()?;
        let counts = [[q0, q1], [a0, a1], [n0, n1], [x0, x1]].map(u16::from_be_bytes);
        (flags0 & ANSWER == 0).then_some(Self { id: [id0, id1], flags: [flags0, flags1], counts })
    }

    pub(crate) fn is_query(self) -> bool {
        let [flags, _] = self.flags;
        flags & OPERATION == 0
    }

    /// Whether the message can hold what its header promises: the decoder makes room by the header's word.
    pub(crate) fn is_plausible(self, length: usize) -> bool {
        let [questions, others @ ..] = self.counts.map(usize::from);
        let needed = questions * QUESTION_BYTES_MIN + others.iter().sum::<usize>() * RECORD_BYTES_MIN;
        // RFC 9619: a query has exactly one question; RFC 7873 §5.4: or none, if it asks for a cookie.
        needed <= length.saturating_sub(HEADER_BYTES) && (questions <= 1 || !self.is_query())
    }

    /// An answer without question, for what cannot be read: NOTIMP or FORMERR. Never longer than what it answers.
    pub(crate) fn write_bare(self, answer: &mut Vec<u8>) {
        let code = if self.is_query() { ResponseCode::FormErr } else { ResponseCode::NotImp };
        answer.clear();
        answer.extend_from_slice(&self.header(Marks::default(), code));
        answer.resize(HEADER_BYTES, 0);
    }

    fn header(self, marks: Marks, code: ResponseCode) -> [u8; 4] {
        let ([id0, id1], [flags0, flags1]) = (self.id, self.flags);
        let aa = if marks.authoritative { AUTHORITATIVE } else { 0 };
        let tc = if marks.truncated { TRUNCATED } else { 0 };
        [id0, id1, ANSWER | (flags0 & (OPERATION | RECURSION_DESIRED)) | aa | tc, (flags1 & CHECKING_DISABLED) | code.low()]
    }
}

/// How long the name at the start of a question is, with the root; `None` if it is not spelt out there in full.
pub(crate) fn spelt_name_length(question: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let label @ 1..=63 = usize::from(*question.get(at)?) {
        at += 1 + label;
    }
    let length = at + 1;
    (question.get(at) == Some(&0) && question.len() == length + QUESTION_TAIL_BYTES).then_some(length)
}

/// What the header says of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
}

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

/// There is no room for the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

/// An answer that is being put together in a buffer, which it never makes longer than its limit.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    envelope: Envelope,
    answer: &'a mut Vec<u8>,
    opt: Option<Opt<'a>>,
    /// Records end here: the OPT record comes after them.
    end: usize,
    /// Where the zone's name stands.
    apex_at: u16,
    counts: [u16; 4],
}

impl<'a> Writer<'a> {
    /// Starts with header and question. `limit`: at least what both and the OPT record take, which 512 bytes are.
    pub(crate) fn start(answer: &'a mut Vec<u8>, envelope: Envelope, question: &[u8], limit: usize, opt: Option<Opt<'a>>) -> Self {
        answer.clear();
        answer.resize(HEADER_BYTES, 0);
        answer.extend_from_slice(question);
        let end = limit.saturating_sub(opt.as_ref().map_or(0, Opt::len));
        let [questions, ..] = envelope.counts;
        Self { envelope, answer, opt, end, apex_at: 0, counts: [questions, 0, 0, 0] }
    }

    /// The zone's name takes the last `length` of the `name_length` bytes of the question's name.
    pub(crate) fn set_apex(&mut self, name_length: usize, length: usize) {
        // A question starts after the header and has at most 259 bytes.
        self.apex_at = u16::try_from(HEADER_BYTES + name_length.saturating_sub(length)).unwrap_or_default();
    }

    /// Bytes left for records.
    pub(crate) fn room(&self) -> usize {
        self.end.saturating_sub(self.answer.len())
    }

    pub(crate) fn push(&mut self, section: Section, record: &Template) -> Result<(), Full> {
        // An answer has the name that was asked for: no zone has aliases.
        let owner = if section == Section::Answer { Owner::Asked } else { Owner::Spelt };
        if record.len(owner) > self.room() {
            return Err(Full);
        }
        record.write(self.answer, owner, self.apex_at);
        self.count(section, 1);
        Ok(())
    }

    /// Appends `count` records whose owner is the name asked for, laid out already. They must fit.
    pub(crate) fn push_run(&mut self, section: Section, records: [&[u8]; 2], count: usize) {
        let [first, second] = records;
        debug_assert!(first.len() + second.len() <= self.room(), "the caller asks for room first");
        self.answer.extend_from_slice(first);
        self.answer.extend_from_slice(second);
        self.count(section, count);
    }

    /// Completes the answer.
    pub(crate) fn finish(mut self, code: ResponseCode, marks: Marks) {
        if let Some(opt) = &self.opt {
            opt.write(self.answer, code);
            self.count(Section::Additional, 1);
        }
        let counts = self.counts.map(u16::to_be_bytes);
        let header = self.envelope.header(marks, code);
        for (byte, value) in self.answer.iter_mut().zip(header.iter().chain(counts.iter().flatten())) {
            *byte = *value;
        }
    }

    fn count(&mut self, section: Section, by: usize) {
        let [_, answer, authority, additional] = &mut self.counts;
        let count = match section {
            Section::Answer => answer,
            Section::Authority => authority,
            Section::Additional => additional,
        };
        // A record has at least eleven bytes, a message at most 65,535.
        *count = count.saturating_add(u16::try_from(by).unwrap_or(u16::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_spelt_out_has_no_length() {
        for (question, length) in [
            (&b"\x00\x00\x01\x00\x01"[..], Some(1)),
            (b"\x03www\x01a\x00\x00\x01\x00\x01", Some(7)),
            (b"\x03www\xc0\x0c\x00\x01\x00\x01", None),
            (b"\xc0\x0c\x00\x01\x00\x01", None),
            (b"\x40www\x00\x00\x01\x00\x01", None),
            (b"\x03www\x00\x00\x01\x00", None),
            (b"\x03ww", None),
            (b"", None),
        ] {
            assert_eq!(spelt_name_length(question), length, "{question:?}");
        }
    }

    #[test]
    fn an_envelope_promises_no_more_than_its_message_holds() {
        let envelope = |flags: u8, counts: [u8; 4]| {
            let [q, a, n, x] = counts;
            Envelope::read(&[1, 2, flags, 0, 0, q, 0, a, 0, n, 0, x]).unwrap()
        };
        assert!(envelope(0, [1, 0, 0, 0]).is_plausible(17));
        assert!(!envelope(0, [1, 0, 0, 0]).is_plausible(16));
        assert!(envelope(0, [1, 0, 0, 1]).is_plausible(28) && !envelope(0, [1, 0, 0, 1]).is_plausible(27));
        assert!(!envelope(0, [2, 0, 0, 0]).is_plausible(512) && envelope(0x78, [2, 0, 0, 0]).is_plausible(512));
        assert!(envelope(0, [0, 0, 0, 1]).is_plausible(23));
        assert!(Envelope::read(&[0, 0, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0]).is_none(), "an answer");
        assert!(Envelope::read(&[0; 11]).is_none(), "a piece");
    }
}
