//! Checks of a finished package.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{process, talk};

/// Files that the package must have, with their modes. The unit's folder depends on the release of debhelper.
const EXPECTED: [(&str, &str); 10] = [
    ("-rwxr-xr-x", "./usr/bin/observer"),
    ("-rw-r--r--", "./etc/observer/observer.toml"),
    ("-rw-r--r--", "./lib/systemd/system/observer.service"),
    ("-rw-r--r--", "./usr/share/man/man1/observer.1.gz"),
    ("-rw-r--r--", "./usr/share/man/man1/observer-tail.1.gz"),
    ("-rw-r--r--", "./usr/share/bash-completion/completions/observer"),
    ("-rw-r--r--", "./usr/share/zsh/vendor-completions/_observer"),
    ("-rw-r--r--", "./usr/share/fish/vendor_completions.d/observer.fish"),
    ("-rw-r--r--", "./usr/share/doc/observer/copyright"),
    ("-rw-r--r--", "./usr/share/doc/observer/operations.md.gz"),
];
/// The unit, below /lib or /usr/lib.
const UNIT: &str = "systemd/system/observer.service";
/// The limit of `systemd-analyze security`, in tenths: 3.0 with systemd 252, and room for how other releases count.
const EXPOSURE: &str = "--threshold=32";
/// What the maintainer scripts must contain.
const SCRIPTS: [(&str, &str); 6] = [
    ("postinst", "deb-systemd-helper enable 'observer.service'"),
    // An upgrade restarts, and stops nothing before: a stop would lose what the rings hold.
    ("postinst", "_dh_action=restart"),
    ("postinst", "deb-systemd-invoke $_dh_action 'observer.service'"),
    ("prerm", "[ \"$1\" = remove ]"),
    ("prerm", "deb-systemd-invoke stop"),
    ("postrm", "/var/log/observer"),
];

/// Fails on every warning and error that `packaging/debian/lintian-overrides` does not explain.
pub(super) fn lintian(package: &Path) -> Result<()> {
    // The rules of Debian, wherever this runs; those of Ubuntu ask for a name of a release.
    let mut lintian = Command::new("lintian");
    lintian.args(["--profile", "debian", "--fail-on", "error,warning"]).arg(package);
    process::run(&mut lintian)
}

/// Compares the list of files and the scripts, then runs the binary that was packed.
pub(super) fn contents(package: &Path, unpacked: &Path) -> Result<()> {
    let list = process::read(Command::new("dpkg-deb").arg("--contents").arg(package))?;
    let wrong = differences(&list);
    if !wrong.is_empty() {
        bail!("{}:\n{}", package.display(), wrong.join("\n"));
    }
    if unpacked.exists() {
        fs::remove_dir_all(unpacked)?;
    }
    process::run(Command::new("dpkg-deb").arg("--raw-extract").args([package, unpacked]))?;
    for (script, does) in SCRIPTS {
        let text = fs::read_to_string(unpacked.join("DEBIAN").join(script))
            .with_context(|| format!("the package has no {script}"))?;
        if !text.contains(does) {
            bail!("{script} lacks `{does}`");
        }
    }
    let settings = fs::read_to_string(unpacked.join("DEBIAN/conffiles"))?;
    if settings.trim() != "/etc/observer/observer.toml" {
        bail!("conffiles is not observer.toml alone: {settings}");
    }
    let said = process::read(Command::new(unpacked.join("usr/bin/observer")).arg("--version"))?;
    if said != concat!("observer ", env!("CARGO_PKG_VERSION")) {
        bail!("`observer --version` of the package prints `{said}`");
    }
    Ok(())
}

/// Fails if the unit's exposure is above that in docs/operations.md. Skipped, with a note, if systemd is too old.
pub(super) fn hardening(unpacked: &Path) -> Result<()> {
    let unit = ["lib", "usr/lib"].map(|lib| unpacked.join(lib).join(UNIT));
    let unit = unit.iter().find(|path| path.exists()).context("the package has no unit")?;
    let mut systemd = Command::new("systemd-analyze");
    systemd.args(["security", "--no-pager", "--offline=true", EXPOSURE]).arg(unit);
    let output = match systemd.output() {
        Ok(output) => output,
        Err(error) => {
            talk::note(&format!("skipped: systemd-analyze: {error}"));
            return Ok(());
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    match said.lines().rev().find(|line| line.contains("exposure level")) {
        Some(line) if output.status.success() => talk::note(line.trim()),
        Some(line) => bail!("{}: more than in docs/operations.md", line.trim()),
        None => talk::note("skipped: systemd before 250 can't check a file"),
    }
    Ok(())
}

/// Files that are missing, have another mode or owner, or that others than root may write.
fn differences(list: &str) -> Vec<String> {
    let mut modes = HashMap::new();
    let mut wrong = Vec::new();
    for line in list.lines() {
        // mode, owner/group, size, date, time, name
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, owner, _, _, _, name, ..] = words[..] else { continue };
        if owner != "root/root" {
            wrong.push(format!("{name} belongs to {owner}"));
        }
        if !mode.starts_with('l') && mode.get(5..).is_some_and(|others| others.contains('w')) {
            wrong.push(format!("{name} may be written by others than root: {mode}"));
        }
        modes.insert(name.replacen("./usr/lib/systemd", "./lib/systemd", 1), mode.to_owned());
    }
    for (mode, name) in EXPECTED {
        match modes.get(name) {
            Some(found) if found == mode => {}
            Some(found) => wrong.push(format!("{name} has mode {found}, not {mode}")),
            None => wrong.push(format!("{name} is missing")),
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::{EXPECTED, differences};

    fn list(owner: &str, mode_of_binary: &str) -> String {
        let mut lines = String::new();
        for (mode, name) in EXPECTED {
            let mode = if name.ends_with("bin/observer") { mode_of_binary } else { mode };
            lines.push_str(&format!("{mode} {owner} 12 2026-01-01 00:00 {name}\n"));
        }
        lines
    }

    #[test]
    fn expected_files_pass() {
        assert_eq!(differences(&list("root/root", "-rwxr-xr-x")), Vec::<String>::new());
        let newer = list("root/root", "-rwxr-xr-x").replace("./lib/", "./usr/lib/");
        assert_eq!(differences(&newer), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_file_is_named() {
        assert_eq!(differences("").len(), EXPECTED.len());
        assert_eq!(differences(&list("1000/1000", "-rwxr-xr-x")).len(), EXPECTED.len());
        let found = differences(&list("root/root", "-rwxrwxr-x"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("others than root"), "{found:?}");
    }
}
