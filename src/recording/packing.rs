//! Frames packed on their way to a file: one raw deflate stream (RFC 1951) for each segment, flushed with every write.
//!
//! Heartbeats say almost the same every time, so a segment takes a quarter of its frames. After each flush a reader has
//! everything that went in before, wherever the file ends. Called by whoever writes segments, and by `segment.rs`.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// No frames pack better than this; what says so is not from a recorder, and is to fill the reader's memory.
const RATIO_MAX: usize = 256;

/// For segments with little in them.
const UNPACKED_MIN: usize = 1024 * 1024;

/// Packs the frames of one segment.
#[derive(Debug)]
pub struct Packer(Compress);

impl Default for Packer {
    fn default() -> Self {
        // The fastest level: what repeats is found by all of them.
        Self(Compress::new(Compression::fast(), false))
    }
}

/// The stream cannot go on. Not expected of bytes in memory.
#[derive(Debug, thiserror::Error)]
#[error("cannot pack frames for a recording: {0}")]
pub struct PackError(#[from] flate2::CompressError);

impl Packer {
    /// The bytes that follow in the file; with them a reader has these frames as a whole.
    ///
    /// # Errors
    /// [`PackError`].
    pub fn pack(&mut self, frames: &[u8]) -> Result<Vec<u8>, PackError> {
        let mut packed = Vec::with_capacity(frames.len() / 2 + 64);
        let begin = self.0.total_in();
        loop {
            let taken = usize::try_from(self.0.total_in() - begin).unwrap_or(usize::MAX);
            let left = frames.get(taken..).unwrap_or_default();
            self.0.compress_vec(left, &mut packed, FlushCompress::Sync)?;
            // Room that is left says that everything is out.
            if packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(packed.capacity().max(64));
        }
    }
}

/// What was unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) frames: Vec<u8>,
    /// Why it ends, if the stream is wrong rather than at an end.
    pub(super) fault: Option<String>,
}

/// Everything that can be had of a stream, wherever it ends.
pub(super) fn unpack(packed: &[u8]) -> Unpacked {
    let most = packed.len().saturating_mul(RATIO_MAX).max(UNPACKED_MIN);
    let mut stream = Decompress::new(false);
    let mut frames = Vec::with_capacity(packed.len().saturating_mul(4));
    loop {
        let taken = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        let left = packed.get(taken..).unwrap_or_default();
        match stream.decompress_vec(left, &mut frames, FlushDecompress::Sync) {
            // A recorder never ends a stream: what comes next can always be added.
            Ok(Status::StreamEnd) => return Unpacked { frames, fault: Some("it says that it ends here: the file is damaged".to_owned()) },
            Ok(Status::Ok | Status::BufError) => {
                if frames.len() < frames.capacity() {
                    return Unpacked { frames, fault: None };
                }
                if frames.len() >= most {
                    return Unpacked { frames, fault: Some("it unpacks to more than any recording does".to_owned()) };
                }
                frames.reserve(frames.capacity().max(64));
            }
            Err(error) => return Unpacked { frames, fault: Some(format!("it cannot be unpacked ({error}): the file is damaged here")) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames that resemble one another, as heartbeats do.
    fn frames() -> Vec<Vec<u8>> {
        (0..200_u32).map(|number| [b"info ".repeat(30), number.to_le_bytes().to_vec()].concat()).collect()
    }

    #[test]
    fn each_write_can_be_read_without_those_behind_it() {
        let mut packer = Packer::default();
        let (mut file, mut written) = (Vec::new(), Vec::new());
        for frame in frames() {
            file.extend(packer.pack(&frame).unwrap());
            written.extend(frame);
            let unpacked = unpack(&file);
            assert_eq!((unpacked.frames, unpacked.fault), (written.clone(), None));
        }
        assert!(file.len() * 4 < written.len(), "{} of {}", file.len(), written.len());
    }

    #[test]
    fn what_does_not_pack_comes_out_whole_as_well() {
        let mut random = 1_u64;
        let noise: Vec<u8> = (0..300_000)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                random.to_be_bytes()[0]
            })
            .collect();
        let mut packer = Packer::default();
        let file = [packer.pack(&noise).unwrap(), packer.pack(&noise).unwrap()].concat();
        assert_eq!(unpack(&file).frames, noise.repeat(2));
    }

    #[test]
    fn a_stream_that_would_fill_the_memory_is_cut_off() {
        let mut packer = Packer::default();
        let zeros = vec![0; 64 * 1024 * 1024];
        let unpacked = unpack(&packer.pack(&zeros).unwrap());
        assert!(unpacked.fault.is_some() && unpacked.frames.len() < zeros.len());
    }

    #[test]
    fn noise_is_a_fault_or_nothing() {
        for byte in 0..=u8::MAX {
            let unpacked = unpack(&[byte, 0x55, byte, 0xaa, 7, 9, byte]);
            assert!(unpacked.frames.len() < UNPACKED_MIN);
        }
    }
}
