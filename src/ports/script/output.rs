//! What a program prints: cut into lines of bounded length, however much and whatever it is.
//!
//! Owns one pipe's unfinished line. Never keeps more than `LINE_BYTES_MAX` of it, and never lets a control character
//! through to a log. Called by `child.rs` only.

/// The longest line that is kept; the rest of a longer one is dropped. A screen line or ten: enough for any error message,
/// little enough for a thousand scripts that print garbage at once.
pub(crate) const LINE_BYTES_MAX: usize = 1024;

/// Stands at the end of a line that was cut.
const CUT: &str = "…";

/// Cuts a byte stream into lines.
#[derive(Default, Debug)]
pub(crate) struct Lines {
    unfinished: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// Takes the next bytes; calls `each` for every line that they end.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.extend(piece);
            if pieces.peek().is_some() {
                self.end_line(&mut each);
            }
        }
    }

    /// The stream has ended; what is left is a line too.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.unfinished.is_empty() {
            self.end_line(&mut each);
        }
    }

    fn extend(&mut self, piece: &[u8]) {
        let room = LINE_BYTES_MAX - self.unfinished.len();
        let (kept, cut) = piece.split_at(piece.len().min(room));
        self.unfinished.extend_from_slice(kept);
        self.is_cut |= !cut.is_empty();
    }

    fn end_line(&mut self, each: &mut impl FnMut(&str)) {
        let mut line = printable(&self.unfinished);
        if self.is_cut {
            line.push_str(CUT);
        }
        self.unfinished.clear();
        self.is_cut = false;
        each(&line);
    }
}

/// Text that cannot move a terminal's cursor or fake a log line: tabs become spaces, other control characters are escaped.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).trim_end_matches('\r').chars() {
        match character {
            '\t' => text.push(' '),
            control if control.is_control() => text.extend(control.escape_default()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            lines.feed(chunk, |line| seen.push(line.to_owned()));
        }
        lines.finish(|line| seen.push(line.to_owned()));
        seen
    }

    #[test]
    fn a_line_may_come_in_pieces_and_a_piece_may_hold_lines() {
        assert_eq!(lines(&[b"on", b"e\ntwo\n\nthr", b"ee"]), ["one", "two", "", "three"]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; 10 * LINE_BYTES_MAX];
        let seen = lines(&[&long, b"still the same\nnext\n"]);
        assert_eq!(seen, [format!("{}{CUT}", "x".repeat(LINE_BYTES_MAX)), "next".to_owned()]);
    }

    #[test]
    fn control_characters_do_not_reach_the_log() {
        assert_eq!(lines(&[b"a\tb\x1b[2Jc\r\n\xff\n"]), ["a b\\u{1b}[2Jc", "\u{fffd}"]);
    }
}
