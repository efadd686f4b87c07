//! The folder that debhelper works in: files of `packaging/`, and generated ones.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{process, talk, workspace};

/// Files of the workspace that the package ships unchanged.
const FILES: [&str; 3] = ["CHANGELOG.md", "README.md", "SECURITY.md"];
/// The maintainer in `debian/changelog`: the same as in `debian/control`.
const MAINTAINER: &str = "The observer maintainers <maintainers@observer.invalid>";

/// Creates the folder, and deletes an older one.
pub(super) fn lay_out(source: &Path, binary: &Path, version: &str) -> Result<()> {
    if source.exists() {
        fs::remove_dir_all(source)?;
    }
    let root = workspace::root();
    let built = source.join("built");
    fs::create_dir_all(&built).with_context(|| format!("creating {}", built.display()))?;
    copy_folder(&root.join("packaging/debian"), &source.join("debian"))?;
    copy_folder(&root.join("docs"), &source.join("docs"))?;
    for file in FILES {
        copy(&root.join(file), &source.join(file))?;
    }
    copy(&root.join("packaging/observer.toml"), &built.join("observer.toml"))?;
    copy(binary, &built.join("observer"))?;
    fs::write(source.join("debian/changelog"), changelog(version)?)?;

    talk::step("manual pages and completions");
    let mut pages = process::cargo();
    pages.args(["run", "--quiet", "--package", "observer-pages", "--"]).arg(&built);
    process::run(&mut pages)
}

/// Time of the commit in seconds since 1970; now, if there is no git.
pub(super) fn time_of_commit() -> Result<String> {
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(workspace::root());
    match git.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        }
        _ => process::read(Command::new("date").arg("+%s")),
    }
}

/// `debian/changelog`, generated from the version of the workspace.
fn changelog(version: &str) -> Result<String> {
    let at = format!("@{}", time_of_commit()?);
    let date = process::read(Command::new("date").env("LC_ALL", "C").args(["-uRd", &at]))?;
    Ok(format!(
        "observer ({version}) unstable; urgency=medium\n\n  \
         * See the project's own changelog, changelog.gz beside this file.\n\n \
         -- {MAINTAINER}  {date}\n"
    ))
}

/// A folder, with the folders in it.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            copy(&from, &to)?;
        }
    }
    Ok(())
}

/// Keeps the file's mode.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}
