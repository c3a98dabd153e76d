//! `pregon dev`: a server to try things out with.

use anyhow::{Context as _, anyhow};

use super::Failure;
use super::serve::{Extras, Process, ready};
use crate::auth::ServerKey;
use crate::auth::tokens::{TokenKey, TokenRules};
use crate::config::{Config, Flags};

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
        config.server_key.get_or_insert_with(ServerKey::generate);
        config.tokens.get_or_insert_with(|| TokenRules::of(TokenKey::generate()));
        process.serve(config, socket, Extras { temporary, key_generated })
    }
}
