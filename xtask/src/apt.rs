//! Debian packages: installed on this machine, or only downloaded and unpacked.
//!
//! A download uses its own apt configuration in its own folder: it needs no root, takes packages of
//! suites that this machine does not follow, and leaves the machine's package lists alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::talk;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const PUBLIC_MIRROR: &str = "http://deb.debian.org/debian";

/// Installs those of `packages` that are missing, and prints which.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("install by hand: apt-get install {}", missing.join(" "));
    if process::find("apt-get").is_none() {
        bail!("this machine has no apt; {by_hand} (or what your distribution calls them)");
    }
    talk::step(&format!("apt-get install {}", missing.join(" ")));
    for (verb, names) in [("update", &[][..]), ("install", &missing[..])] {
        let mut apt = process::as_root("env")
            .with_context(|| format!("neither root nor sudo here; {by_hand}"))?;
        apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", verb]);
        apt.args(["-y", "--no-install-recommends"]).args(names);
        process::run_quietly(&mut apt).context(by_hand.clone())?;
    }
    Ok(())
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

/// An apt with its own configuration, lists and cache in one folder.
pub(crate) struct PrivateApt {
    dir: PathBuf,
}

impl PrivateApt {
    /// Follows `suites`, such as `trixie-backports` or `bullseye-security`, and fetches their lists.
    pub(crate) fn new(dir: &Path, suites: &[&str]) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            if process::find(program).is_none() {
                bail!("this machine has no `{program}`: Debian packages can't be fetched here");
            }
        }
        if !Path::new(KEYRING).exists() {
            install(&["debian-archive-keyring"])?;
        }
        for part in ["lists/partial", "cache/archives/partial", "debs"] {
            fs::create_dir_all(dir.join(part)).with_context(|| format!("creating {part}"))?;
        }
        let mirror = mirror();
        let sources: String = suites.iter().map(|suite| source_line(&mirror, suite)).collect();
        fs::write(dir.join("sources.list"), sources)?;
        fs::write(dir.join("status"), "")?;
        let apt = Self { dir: dir.canonicalize()? };
        talk::step(&format!("package lists of {} from {mirror}", suites.join(", ")));
        process::run(apt.command("apt-get").args(["-qq", "update"]))
            .context("the package lists could not be fetched: is the network there?")?;
        Ok(apt)
    }

    /// The packages whose name matches `pattern`, an extended regular expression.
    pub(crate) fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let found =
            process::read(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// Fetches `package` (`name`, or `name=version` with a version that may end in `*`) and unpacks it into `into`.
    pub(crate) fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        talk::step(&format!("fetching the Debian package {package} (unpacked, not installed)"));
        let debs = self.dir.join("debs");
        fs::remove_dir_all(&debs)?;
        fs::create_dir_all(&debs)?;
        process::run(
            self.command("apt-get").args(["-qq", "download", package]).current_dir(&debs),
        )?;
        let deb = fs::read_dir(&debs)?
            .next()
            .with_context(|| format!("apt fetched no file for {package}"))??
            .path();
        fs::create_dir_all(into)?;
        process::run(Command::new("dpkg-deb").arg("-x").args([&deb, into]))?;
        fs::remove_file(&deb)?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (key, path) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg("-o").arg(format!("{key}={}", self.dir.join(path).display()));
        }
        // As root, apt would switch to a user who can't enter this folder.
        for option in [
            "Dir::Etc::SourceParts=-",
            "APT::Sandbox::User=root",
            "Acquire::Languages=none",
            "Acquire::Retries=3",
        ] {
            command.args(["-o", option]);
        }
        command.current_dir(&self.dir);
        command
    }
}

/// One line of sources.list. Lists of a suite that is no longer updated have expired; their signature
/// still holds, and nothing from them is installed.
fn source_line(mirror: &str, suite: &str) -> String {
    let base =
        if suite.ends_with("-security") { format!("{mirror}-security") } else { mirror.to_owned() };
    format!("deb [arch=amd64 check-valid-until=no signed-by={KEYRING}] {base} {suite} main\n")
}

/// The mirror that this machine itself uses, or the public one.
pub(crate) fn mirror() -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(dir.flatten().map(|entry| entry.path()));
    }
    files.sort();
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| mirror_in(&text))
        .unwrap_or_else(|| PUBLIC_MIRROR.to_owned())
}

/// The first address of a Debian archive in a sources file of either format.
fn mirror_in(text: &str) -> Option<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains("://") && word.ends_with("/debian"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{mirror_in, source_line};

    #[test]
    fn mirror_of_both_formats() {
        let deb822 = "Types: deb\n# http://old.example/debian\nURIs: http://a.example/debian/\n";
        assert_eq!(mirror_in(deb822).as_deref(), Some("http://a.example/debian"));
        let one_line = "deb [arch=amd64] https://b.example/debian bookworm main\n";
        assert_eq!(mirror_in(one_line).as_deref(), Some("https://b.example/debian"));
        assert_eq!(mirror_in("URIs: http://c.example/ubuntu\n"), None);
    }

    #[test]
    fn security_suites_have_their_own_archive() {
        let line = source_line("http://a.example/debian", "bullseye-security");
        assert!(line.ends_with("http://a.example/debian-security bullseye-security main\n"));
    }
}
