//! Changes of inputs, drawn from a seed: bits, bytes, numbers, pieces left out, doubled, or taken from another input.

/// Numbers at which something often ends.
const EDGES: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, u32::MAX as u64, u64::MAX];

pub(crate) struct Changes {
    state: u64,
    bytes_max: usize,
}

impl Changes {
    pub(crate) fn new(seed: u64, bytes_max: usize) -> Self {
        Self { state: seed, bytes_max }
    }

    /// splitmix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit.max(1) as u64) as usize
    }

    /// One of the corpus with some changes.
    pub(crate) fn of(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus.get(self.below(corpus.len())).cloned().unwrap_or_default();
        for _ in 0..=self.below(6) {
            self.change(&mut input, corpus);
        }
        input.truncate(self.bytes_max);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let longest = if self.draw().is_multiple_of(4) { input.len() } else { 8 };
        let length = 1 + self.below(longest);
        let end = (at + length).min(input.len());
        match self.below(8) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (self.draw() % 8);
                }
            }
            1 => {
                let bytes: Vec<u8> = (0..length).map(|_| self.draw().to_le_bytes()[0]).collect();
                input.splice(at..end, bytes);
            }
            2 => {
                let edge = EDGES[self.below(EDGES.len())];
                let width = [1, 2, 4, 8][self.below(4)];
                let bytes = if self.draw().is_multiple_of(2) {
                    edge.to_be_bytes()[8 - width..].to_vec()
                } else {
                    edge.to_le_bytes()[..width].to_vec()
                };
                input.splice(at..(at + width).min(input.len()), bytes);
            }
            3 => {
                input.drain(at..end);
            }
            4 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte.wrapping_add_signed([-1, 1, 2, -2][self.below(4)]);
                }
            }
            6 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len());
                let to = (from + length).min(other.len());
                input.splice(at..end, other[from..to].to_vec());
            }
            _ => {
                let other = &corpus[self.below(corpus.len())];
                input.truncate(at);
                input.extend_from_slice(&other[self.below(other.len()).min(other.len())..]);
            }
        }
    }
}
