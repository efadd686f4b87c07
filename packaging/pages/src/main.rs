//! Writes the manual pages and the shell completions of `observer`, from its own definition of the command line.
//!
//! A program of its own, since neither the shipped binary nor xtask should carry what only a package needs:
//! a user never runs this, and xtask would compile the whole of `observer` before it could do anything.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;
use observer::cli::Cli;

/// What the packages of these shells look for, and where: below `completions/` by our own choice.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash/observer"),
    (Shell::Zsh, "zsh/_observer"),
    (Shell::Fish, "fish/observer.fish"),
];

fn main() -> Result<()> {
    let dir = env::args_os().nth(1).context("usage: observer-pages DIR")?;
    let dir = Path::new(&dir);
    manual(&dir.join("man"))?;
    completions(&dir.join("completions"))
}

/// A page for the program and one for each subcommand that `--help` shows.
fn manual(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    // The pages name no date: the same sources give the same bytes.
    clap_mangen::generate_to(Cli::command(), dir).context("the manual pages could not be written")
}

/// A file for each shell.
fn completions(dir: &Path) -> Result<()> {
    for (shell, path) in SHELLS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "observer", &mut text);
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
