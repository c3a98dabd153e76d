//! The store's files, which only the server's user may read: they hold every message, and the key of the event ids.
//!
//! New files have mode 0600 whatever the umask, and a new folder has 0700. Files that others may read, from an older version or
//! a backup, are narrowed at each start. A folder that was there stays as it is: it may be a volume, or hold other things.
//! SQLite gives `pregon.db-wal` and `pregon.db-shm` the mode of `pregon.db`.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Makes the folder, and those that it is in, unless they are there.
///
/// # Errors
/// When it can't be made.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)
}

/// Opens a file to read and write, and makes it if it is not there.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

/// Takes a file's permissions away from everybody but its owner. Only an owner can do so; for another user the start goes on.
pub(super) fn narrow(path: &Path) {
    let Ok(found) = path.metadata() else { return };
    if found.permissions().mode() & 0o777 & !FILE_MODE == 0 {
        return;
    }
    if let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(FILE_MODE)) {
        tracing::warn!(file = %path.display(), %error, "other users of the machine may read the file, and its mode can't be changed");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, SqliteStore};
    use super::*;

    const NAMES: [&str; 5] = ["pregon.db", "pregon.db-wal", "pregon.db-shm", "pregon.lock", "pregon.head"];

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn only_the_servers_user_may_read_the_files_of_the_store() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("new").join("store");
        let open = || SqliteStore::open(&folder, Options::default()).expect("opens");
        let store = open();
        assert_eq!(mode(&folder), FOLDER_MODE);
        assert_eq!(mode(&outer.path().join("new")), FOLDER_MODE);
        assert_eq!(NAMES.map(|name| mode(&folder.join(name))), [FILE_MODE; 5]);
        let names = std::fs::read_dir(&folder).expect("read").map(|entry| entry.expect("read").path());
        assert!(names.into_iter().all(|path| mode(&path) == FILE_MODE), "also those that this test does not know");
        drop(store);
        for path in ["pregon.db", "pregon.lock", "pregon.head"].map(|name| folder.join(name)) {
            std::fs::set_permissions(path, Permissions::from_mode(0o664)).expect("set");
        }
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("set");
        let _store = open();
        assert_eq!(NAMES.map(|name| mode(&folder.join(name))), [FILE_MODE; 5], "those of an older version");
        assert_eq!(mode(&folder), 0o755, "it was there");
    }
}
