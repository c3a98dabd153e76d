//! `pregon dev`: a server to try things out with.

use anyhow::{Context as _, anyhow};

use super::Failure;
use super::serve::{Extras, load, serve};
use crate::auth::ServerKey;
use crate::config::Flags;

/// Serve on this machine with demo data
#[derive(Debug, clap::Args)]
pub(super) struct Dev {
    #[command(flatten)]
    flags: Flags,
}

impl Dev {
    pub(super) fn run(mut self) -> Result<(), Failure> {
        let temporary = self.flags.data_dir.is_none();
        let folder = tempfile::Builder::new().prefix("pregon-dev-").tempdir();
        let folder = folder.context("can't create a temporary folder").map_err(Failure::Failed)?;
        self.flags.default_to_dev(folder.path());
        let mut config = load(&self.flags)?;
        if !config.listen.ip().is_loopback() {
            return Err(Failure::Config(anyhow!(
                "dev accepts any user_id from anyone, so it listens on this machine only, not on {}; for others: pregon serve",
                config.listen.ip()
            )));
        }
        let key_generated = config.server_key.is_none();
        config.server_key.get_or_insert_with(ServerKey::generate);
        serve(config, Extras { temporary, key_generated })
    }
}
