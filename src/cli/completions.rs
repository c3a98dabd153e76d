//! `pregon completions`: what a shell needs to complete this command line.

use clap_complete::Shell;

use super::Failure;
use super::terminal::print_bytes;

const EXAMPLES: &str = "\
Where they go:
  bash    pregon completions bash > ~/.local/share/bash-completion/completions/pregon
  zsh     pregon completions zsh > \"${fpath[1]}/_pregon\"
  fish    pregon completions fish > ~/.config/fish/completions/pregon.fish
  elvish  pregon completions elvish >> ~/.config/elvish/rc.elv
  powershell  pregon completions powershell >> $PROFILE";

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, mut command: clap::Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "pregon", &mut script);
        print_bytes(&script)?;
        Ok(())
    }
}
