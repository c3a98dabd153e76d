//! Space that is kept for a full disk: with it, what is there can still be taken back, erased, marked and removed.
//!
//! **Invariant:** while it is given up nothing is published, so that nothing else takes what it has freed.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::files;

/// Bytes that are free beside it when it is made anew, for the `-wal`.
const LEFT_FREE: u64 = super::checkpoint::WAL_BYTES_PER_CHECKPOINT;
const PIECE_BYTES: usize = 8 << 10;

/// A file of so many bytes that holds nothing.
pub(super) struct Reserve {
    path: PathBuf,
    /// None is kept if there are none.
    bytes: u64,
    is_there: bool,
}

impl Reserve {
    /// The one in that folder, as it is.
    pub(super) fn in_folder(folder: &Path, bytes: u64) -> Reserve {
        let path = folder.join("pregon.reserve");
        // A copy of the folder may have it without its blocks.
        let is_there = fs::metadata(&path).is_ok_and(|file| file.len() == bytes && file.blocks() * 512 >= bytes);
        Reserve { path, bytes, is_there }
    }

    /// Whether it is not there and can't be made now.
    pub(super) fn is_given_up(&mut self) -> bool {
        self.bytes > 0 && !self.is_there && !self.make()
    }

    /// Frees its space. False if there is none to be had.
    pub(super) fn give_up(&mut self) -> bool {
        if self.bytes == 0 || !self.is_there {
            return false;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::error!(%error, "the reserve can't be given up");
            return false;
        }
        self.is_there = false;
        tracing::warn!(
            bytes = self.bytes,
            "the disk is full: the reserve is given up for what takes away or marks; nothing is published until there \
             is room for it again"
        );
        true
    }

    /// Makes it if there is room for it, and for more.
    fn make(&mut self) -> bool {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let free = statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        self.is_there = free >= self.bytes + LEFT_FREE && self.allocate().is_ok();
        self.is_there
    }

    fn allocate(&self) -> io::Result<()> {
        let allocated = files::open(&self.path).and_then(|mut file| {
            file.set_len(0)?;
            if fallocate(&file, FallocateFlags::empty(), 0, self.bytes).is_err() {
                // Not every file system can; and some keep no zeros.
                let mut piece = [0; PIECE_BYTES];
                let mut left = self.bytes;
                while left > 0 {
                    fastrand::fill(&mut piece);
                    let bytes = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
                    file.write_all(&piece[..bytes])?;
                    left -= bytes as u64;
                }
            }
            file.sync_all()
        });
        // What came of it takes space that others need.
        allocated.inspect_err(|_| drop(fs::remove_file(&self.path)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn it_takes_space_on_the_disk_until_it_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = 1 << 20;
        let mut reserve = Reserve::in_folder(folder.path(), bytes);
        assert!(!reserve.give_up(), "there is none yet");
        assert!(!reserve.is_given_up(), "there is room for it");
        let file = fs::metadata(folder.path().join("pregon.reserve")).expect("made");
        assert!(file.len() == bytes && file.blocks() * 512 >= bytes, "{} blocks", file.blocks());
        assert!(Reserve::in_folder(folder.path(), bytes).is_there, "found again");
        assert!(reserve.give_up());
        assert!(!folder.path().join("pregon.reserve").exists());
        assert!(!reserve.give_up(), "only once");
        File::create(folder.path().join("pregon.reserve")).and_then(|file| file.set_len(bytes)).expect("made");
        assert!(!Reserve::in_folder(folder.path(), bytes).is_there, "a file without blocks is none");
        let mut none = Reserve::in_folder(folder.path(), 0);
        assert!(!none.is_given_up() && !none.give_up());
    }

    #[test]
    fn a_disk_without_room_has_none_and_nothing_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut reserve = Reserve::in_folder(folder.path(), 1 << 60);
        assert!(reserve.is_given_up());
        assert!(!folder.path().join("pregon.reserve").exists());
    }
}
