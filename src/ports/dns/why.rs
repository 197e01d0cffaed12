//! What `_why` in a zone says: for each preferred address that is not in the zone, a sentence.
//!
//! Owns the form and its limits; the sentences come from the core. Called by `zone.rs`.

use crate::types::view::WithheldView;

/// RFC 1035 §3.3.14: a string has a length of one byte.
const SENTENCE_BYTES_MAX: usize = 255;

/// As many records of 273 bytes as a message over TCP holds, less one.
const SENTENCES_MAX: usize = 235;

/// One sentence for each address; a last one tells how many there was no room for.
pub(crate) fn sentences(withheld: &[WithheldView]) -> Vec<String> {
    let sentence = |one: &WithheldView| match one.detail.as_str() {
        "" => format!("{} is withheld: {}", one.address, one.reason),
        detail => format!("{} is withheld: {}: {detail}", one.address, one.reason),
    };
    let mut sentences: Vec<String> = withheld.iter().take(SENTENCES_MAX).map(sentence).collect();
    if let Some(left @ 1..) = withheld.len().checked_sub(SENTENCES_MAX) {
        sentences.push(format!("{left} more addresses are withheld: raisctl zone lists all"));
    }
    for sentence in &mut sentences {
        sentence.truncate(sentence.floor_char_boundary(SENTENCE_BYTES_MAX));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withheld(number: u8, detail: &str) -> WithheldView {
        WithheldView { address: [192, 0, 2, number].into(), reason: "not ok".to_owned(), detail: detail.to_owned() }
    }

    #[test]
    fn each_address_has_a_sentence() {
        let expected = ["192.0.2.1 is withheld: not ok: a test of web1 fails", "192.0.2.2 is withheld: not ok"];
        assert_eq!(sentences(&[withheld(1, "a test of web1 fails"), withheld(2, "")]), expected);
        assert!(sentences(&[]).is_empty());
    }

    #[test]
    fn a_sentence_ends_where_a_string_does() {
        let long = sentences(&[withheld(1, &"ä".repeat(300))]);
        assert!((250..=255).contains(&long[0].len()), "{}", long[0].len());
    }

    #[test]
    fn thousands_of_addresses_fit_into_a_message() {
        let many = sentences(&vec![withheld(1, &"x".repeat(300)); 1000]);
        assert_eq!(many.len(), SENTENCES_MAX + 1);
        assert_eq!(many[SENTENCES_MAX], "765 more addresses are withheld: raisctl zone lists all");
        // Header, question and OPT record; then for each: owner, type, class, time to live, two lengths.
        let bytes: usize = 12 + 259 + 107 + many.iter().map(|sentence| 7 + 10 + 1 + sentence.len()).sum::<usize>();
        assert!(bytes <= 65_535, "{bytes}");
    }
}
