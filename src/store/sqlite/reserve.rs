//! Space that is kept for a full disk: with it, what is there can still be taken back, erased, marked and removed.
//!
//! It is given up in pieces, and the last ones are kept for starts, which need some space for the index of the `-wal`. So what
//! other programs take of the space that it frees does not end it at once.
//!
//! **Invariant:** while a piece is missing nothing is published, so that nothing else takes what it has freed.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::files;

/// Bytes that are free beside it when it is made anew, for the `-wal`.
const LEFT_FREE: u64 = super::checkpoint::WAL_BYTES_PER_CHECKPOINT;
const WRITTEN_BYTES: usize = 8 << 10;
/// Bytes that are given up at once, to a request or to a start, and bytes that are kept for starts.
const PIECE_BYTES: u64 = 1 << 20;
const PIECE_OF_START_BYTES: u64 = 256 << 10;
const KEPT_FOR_STARTS_BYTES: u64 = 1 << 20;

/// A file of so many bytes that holds nothing.
pub(super) struct Reserve {
    path: PathBuf,
    /// None is kept if there are none.
    bytes: u64,
    /// How many of them are there.
    left: u64,
}

impl Reserve {
    /// The one in that folder, as it is.
    pub(super) fn in_folder(folder: &Path, bytes: u64) -> Reserve {
        let path = folder.join("pregon.reserve");
        // A copy of the folder may have it without its blocks.
        let file = fs::metadata(&path).ok().filter(|file| file.blocks() * 512 >= file.len());
        let left = file.map_or(0, |file| file.len().min(bytes));
        Reserve { path, bytes, left }
    }

    /// Whether some of it is not there and can't be made now.
    pub(super) fn is_given_up(&mut self) -> bool {
        self.is_short() && !self.make()
    }

    /// Frees some of its space. False if there is none to be had.
    pub(super) fn give_up(&mut self) -> bool {
        self.give_up_a_piece(PIECE_BYTES, KEPT_FOR_STARTS_BYTES)
    }

    /// Frees some of its space for a start.
    pub(super) fn give_up_for_start(&mut self) -> bool {
        self.give_up_a_piece(PIECE_OF_START_BYTES, 0)
    }

    fn give_up_a_piece(&mut self, piece: u64, kept: u64) -> bool {
        let freed = piece.min(self.left.saturating_sub(kept));
        if freed == 0 {
            return false;
        }
        let left = self.left - freed;
        if let Err(error) = files::open(&self.path).and_then(|file| file.set_len(left)) {
            tracing::error!(%error, "the reserve can't be given up");
            return false;
        }
        self.left = left;
        tracing::warn!(
            bytes = freed,
            left,
            "the disk is full: some of the reserve is given up for what takes away or marks; nothing is published until there \
             is room for all of it again"
        );
        true
    }

    /// Whether some of it is not there.
    pub(super) fn is_short(&self) -> bool {
        self.left < self.bytes
    }

    /// Takes back what a checkpoint has freed, before others do. Its last part is made when there is room for more, since
    /// something is published then.
    pub(super) fn refill(&mut self) {
        self.take_back_up_to(self.bytes.saturating_sub(PIECE_OF_START_BYTES));
    }

    /// Takes back what is free, as far as some is missing: at the end, when SQLite has removed its files.
    pub(super) fn take_back(&mut self) {
        self.take_back_up_to(self.bytes);
    }

    fn take_back_up_to(&mut self, most: u64) {
        if self.left >= most {
            return;
        }
        let Some(free) = self.free() else { return };
        let pieces = free / PIECE_OF_START_BYTES * PIECE_OF_START_BYTES;
        let wanted = most.min(self.left.saturating_add(pieces));
        if self.left < wanted {
            let allocated = files::open(&self.path)
                .and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), self.left, wanted - self.left)?));
            // If it can't be had, a start makes it once there is room.
            self.left = if allocated.is_ok() { wanted } else { self.left };
        }
    }

    /// Nothing if the system does not say.
    fn free(&self) -> Option<u64> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        statvfs(folder).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Makes it if there is room for it, and for more.
    fn make(&mut self) -> bool {
        let wanted = self.bytes + LEFT_FREE;
        if self.free().is_none_or(|free| free.saturating_add(self.left) >= wanted) {
            self.left = if self.allocate().is_ok() { self.bytes } else { 0 };
        }
        self.left == self.bytes
    }

    fn allocate(&self) -> io::Result<()> {
        let allocated = files::open(&self.path).and_then(|mut file| {
            file.set_len(0)?;
            if fallocate(&file, FallocateFlags::empty(), 0, self.bytes).is_err() {
                // Not every file system can; and some keep no zeros.
                let mut piece = [0; WRITTEN_BYTES];
                let mut left = self.bytes;
                while left > 0 {
                    fastrand::fill(&mut piece);
                    let bytes = usize::try_from(left).map_or(WRITTEN_BYTES, |left| left.min(WRITTEN_BYTES));
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

    /// The folder may be gone at the end.
    #[test]
    fn where_the_system_does_not_say_what_is_free_nothing_is_taken_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut reserve = Reserve::in_folder(folder.path(), 3 << 20);
        drop(folder);
        reserve.take_back();
        assert_eq!(reserve.left, 0);
    }

    #[test]
    fn it_takes_space_on_the_disk_until_it_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = 3 << 20;
        let mut reserve = Reserve::in_folder(folder.path(), bytes);
        assert!(!reserve.give_up(), "there is none yet");
        assert!(!reserve.is_given_up(), "there is room for it");
        let file = fs::metadata(folder.path().join("pregon.reserve")).expect("made");
        assert!(file.len() == bytes && file.blocks() * 512 >= bytes, "{} blocks", file.blocks());
        assert_eq!(Reserve::in_folder(folder.path(), bytes).left, bytes, "found again");
        let left = || fs::metadata(folder.path().join("pregon.reserve")).expect("there").len();
        for after in [2 << 20, 1 << 20] {
            assert!(reserve.give_up());
            assert_eq!(left(), after);
        }
        assert!(!reserve.give_up(), "the rest is for starts");
        let mut reserve = Reserve::in_folder(folder.path(), bytes);
        for after in [768, 512, 256, 0] {
            assert!(reserve.give_up_for_start());
            assert_eq!(left(), after << 10);
        }
        assert!(!reserve.give_up_for_start());
        reserve.take_back();
        assert_eq!(left(), bytes, "there is room for it");
        File::create(folder.path().join("pregon.reserve")).and_then(|file| file.set_len(bytes)).expect("made");
        assert_eq!(Reserve::in_folder(folder.path(), bytes).left, 0, "a file without blocks is none");
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
