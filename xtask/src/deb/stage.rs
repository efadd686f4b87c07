//! The folder that debhelper works in: what is checked in under `packaging/`, and what is generated.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{process, talk, workspace};

/// Files of the workspace that the package ships as they are.
const FILES: [&str; 3] = ["CHANGELOG.md", "README.md", "SECURITY.md"];
/// Who `debian/changelog` says made the package: the same as `debian/control` does.
const MAINTAINER: &str = "The observer maintainers <maintainers@observer.invalid>";

/// Makes the folder anew.
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

/// When the commit that is built was made, in seconds since 1970; now, where there is no git.
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

/// Made from the version of the workspace, so that no second place has to follow it.
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

/// With the mode it has.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}
