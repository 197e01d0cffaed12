//! The archive of a report: a gzipped tar file for its owner only, written as a whole or not at all.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use crate::recording::Wall;

/// Why there is no report. Nothing of it is left on disk.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; name another file with --output", path.display())]
pub struct ArchiveError {
    path: PathBuf,
    source: io::Error,
}

/// Where it goes, and of when it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Archive<'a> {
    pub(super) path: &'a Path,
    pub(super) wall: Wall,
}

impl Archive<'_> {
    /// Writes all parts; returns the size of the file. A file that is there already is left alone.
    pub(super) fn write(self, parts: &[(String, Vec<u8>)]) -> Result<u64, ArchiveError> {
        let failed = |source| ArchiveError { path: self.path.to_owned(), source };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path).map_err(failed)?;
        let written = self.write_to(file, parts);
        if written.is_err() {
            // Half an archive is of no use; if it cannot be removed either, the error says where it is.
            drop(fs::remove_file(self.path));
        }
        written.map_err(failed)
    }

    fn write_to(self, file: fs::File, parts: &[(String, Vec<u8>)]) -> io::Result<u64> {
        let mut builder = Builder::new(GzEncoder::new(io::BufWriter::new(file), Compression::default()));
        for (name, bytes) in parts {
            let mut header = Header::new_gnu();
            header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
            header.set_mode(0o600);
            header.set_mtime(u64::try_from(self.wall.0 / 1_000_000).unwrap_or(0));
            builder.append_data(&mut header, format!("raisd-report/{name}"), bytes.as_slice())?;
        }
        let file = builder.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}
