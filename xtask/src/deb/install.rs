//! Installs, uses, removes and purges the package on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{apt, process};

const PROGRAM: &str = "/usr/bin/observer";
const SETTINGS: &str = "/etc/observer/observer.toml";
const RECORDS: &str = "/var/log/observer";
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/observer.service";
/// Folders in which purge must leave nothing of observer.
const FOLDERS: [&str; 12] = [
    "/etc",
    "/etc/systemd/system/multi-user.target.wants",
    "/lib/systemd/system",
    "/run",
    "/usr/bin",
    "/usr/share/bash-completion/completions",
    "/usr/share/doc",
    "/usr/share/fish/vendor_completions.d",
    "/usr/share/man/man1",
    "/usr/share/zsh/vendor-completions",
    "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/log",
];

/// Fails if the package is installed already: its store must not be purged.
pub(super) fn round_trip(package: &Path) -> Result<()> {
    let before = left_over();
    if !before.is_empty() {
        bail!("refused, since observer is or was installed here: {}", list(&before));
    }
    let tried = live(package);
    // Also after a failure: a machine is left as it was found.
    let purged = dpkg(&["--purge", "observer"]);
    tried.and(purged)?;
    let after = left_over();
    if !after.is_empty() {
        bail!("purge left {}", list(&after));
    }
    Ok(())
}

fn live(package: &Path) -> Result<()> {
    let package = package.to_str().context("the package's path is not UTF-8")?;
    dpkg(&["--install", package])?;
    for path in [PROGRAM, SETTINGS, ENABLED] {
        if !Path::new(path).exists() {
            bail!("{path} is not there after the installation");
        }
    }
    process::run_quietly(Command::new(PROGRAM).arg("--version"))?;
    manual("observer")?;
    manual("observer-tail")?;
    // As the service would; there may be none here, where systemd is not the first process.
    process::run_quietly(root("install")?.args(["-d", "-m", "0750", RECORDS]))?;
    process::run_quietly(root("touch")?.arg(format!("{RECORDS}/kept.jsonl")))?;

    dpkg(&["--remove", "observer"])?;
    if Path::new(PROGRAM).exists() {
        bail!("{PROGRAM} is still there after the removal");
    }
    for path in [SETTINGS, RECORDS] {
        if !Path::new(path).exists() {
            bail!("removal without purge deleted {path}");
        }
    }
    Ok(())
}

/// Fails if the page can't be read or groff warns about it.
fn manual(page: &str) -> Result<()> {
    let path = format!("/usr/share/man/man1/{page}.1.gz");
    // An image for containers leaves manual pages out of every package, by a rule of its dpkg.
    if !Path::new(&path).exists() && Path::new("/etc/dpkg/dpkg.cfg.d/excludes").exists() {
        return Ok(());
    }
    apt::install(&["man-db"])?;
    let mut man = Command::new("man");
    man.args(["--warnings", "--local-file", &path]).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
    let output = man.output().context("man could not be started")?;
    if !output.status.success() || !output.stderr.is_empty() || output.stdout.is_empty() {
        bail!("man {page}: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn dpkg(args: &[&str]) -> Result<()> {
    process::run_quietly(root("dpkg")?.args(args))
}

fn root(program: &str) -> Result<Command> {
    process::as_root(program).context("installing a package needs root, and there is no sudo")
}

/// Files of observer in FOLDERS.
fn left_over() -> Vec<PathBuf> {
    let entries = FOLDERS.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    entries.flatten().flatten().map(|entry| entry.path()).filter(|path| is_ours(path)).collect()
}

/// `observer`, `observer.service`, `_observer`, `observer-tail.1.gz`, and no `observers`.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let rest = name.trim_start_matches('_').strip_prefix("observer");
    rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::is_ours;

    #[test]
    fn only_names_of_observer_match() {
        for name in ["observer", "_observer", "observer.service.dsh-also", "observer-tail.1.gz"] {
            assert!(is_ours(&Path::new("/x").join(name)), "{name}");
        }
        for name in ["observers", "fileobserver", "obs"] {
            assert!(!is_ours(&Path::new("/x").join(name)), "{name}");
        }
    }
}
