//! `pregon dev`: a server to try things out with.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::Failure;
use super::serve::{Extras, Process, ready};
use crate::auth::ServerKey;
use crate::config::{Config, Flags};
use crate::store::sqlite::files;

/// The file with the server key of a folder of data.
const KEY_FILE: &str = "dev-server-key";

/// Serve on this machine with demo data
#[derive(Debug, clap::Args)]
pub(super) struct Dev {
    #[command(flatten)]
    flags: Flags,
}

impl Dev {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Before there is a folder, so that no signal leaves it behind.
        let process = Process::begin()?;
        let folder = tempfile::Builder::new().prefix("pregon-dev-").tempdir();
        let folder = folder.context("can't create a temporary folder").map_err(Failure::Failed)?;
        let (mut config, socket) = ready(Config::load_for_dev(&self.flags, folder.path()))?;
        // Where the data has a folder, this one is of no use, and a process that is killed would leave it behind.
        let temporary = Some(folder).filter(|folder| config.data_dir == folder.path());
        if !config.listen.ip().is_loopback() {
            return Err(Failure::Config(anyhow!(
                "dev accepts any user_id from anyone, so it listens on this machine only, not on {}; for others: pregon serve",
                config.listen.ip()
            )));
        }
        let key_generated = config.server_key.is_none();
        if key_generated {
            let key = match &temporary {
                Some(_) => ServerKey::generate(),
                None => kept_key(&config.data_dir).map_err(Failure::Failed)?,
            };
            config.server_key = Some(key);
        }
        process.serve(config, socket, Extras { temporary, key_generated })
    }
}

/// The server key of a folder of data, made the first time, so that an application can be given it once.
fn kept_key(folder: &Path) -> anyhow::Result<ServerKey> {
    let path = folder.join(KEY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let key = ServerKey::given(text.trim());
            return key.ok_or_else(|| anyhow!("{} holds no server key; delete it to get another", path.display()));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(anyhow!(error).context(format!("can't read {}", path.display()))),
    }
    let key = ServerKey::generate();
    files::make_folder(folder).with_context(|| format!("can't create {}", folder.display()))?;
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        writeln!(file, "{}", key.reveal())?;
        file.persist_noclobber(&path).map_err(|error| error.error)
    });
    written.with_context(|| format!("can't write {}", path.display()))?;
    Ok(key)
}
