//! The guest's system: busybox, static binaries, and a script as init.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{process, talk};

const INIT: &str = include_str!("init.sh");

/// What the guest gets besides busybox.
pub(super) struct Contents {
    /// Name in the guest's `/bin`, and the file here.
    pub(super) programs: Vec<(String, PathBuf)>,
}

/// The script that runs `observer doctor` and the live tests, all or the short list.
pub(super) fn test_script(args: &[String], short: bool) -> String {
    let args: Vec<String> = args.iter().map(|arg| quote(arg)).collect();
    format!(
        "export OBSERVER_BIN=/bin/observer WORKLOAD_BIN=/bin/workload OBSERVER_TEST_SLOW=4\n\
         export OBSERVER_TEST_OWN_MACHINE=1 {}\n\
         status=0\n\
         /bin/observer doctor || status=$?\n\
         /bin/live {} || status=$?\n\
         exit $status\n",
        if short { "OBSERVER_TEST_SHORT=1" } else { "" },
        args.join(" ")
    )
}

/// Packs the system with `script` into a file in `dir`, and returns its path.
pub(super) fn pack(contents: &Contents, script: &str, dir: &Path) -> Result<PathBuf> {
    let root = dir.join("root");
    let bin = root.join("bin");
    fs::create_dir_all(&bin)?;
    let busybox = process::find("busybox").context("busybox is not installed")?;
    executable(&busybox, &bin.join("busybox"))?;
    for (name, file) in &contents.programs {
        executable(file, &bin.join(name))?;
    }
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    fs::write(root.join("script"), script)?;
    let initrd = dir.join("initramfs.cpio");
    archive(&root, &initrd)?;
    fs::remove_dir_all(&root)?;
    let size = fs::metadata(&initrd)?.len() >> 20;
    talk::note(&format!("initramfs: {size} MiB"));
    Ok(initrd)
}

fn executable(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Not compressed: on an emulated processor unpacking takes longer than reading.
fn archive(root: &Path, to: &Path) -> Result<()> {
    let mut names = String::new();
    list(root, root, &mut names)?;
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--owner=0:0", "--quiet"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(to)?)
        .spawn()
        .context("cpio could not be started")?;
    cpio.stdin.take().context("cpio takes no input")?.write_all(names.as_bytes())?;
    let status = cpio.wait()?;
    if !status.success() {
        bail!("cpio failed: {status}");
    }
    Ok(())
}

/// Every path below `dir`, folders before what is in them.
fn list(root: &Path, dir: &Path, names: &mut String) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?.to_str().context("a name that is not UTF-8")?;
        names.push_str(name);
        names.push('\n');
        if path.is_dir() {
            list(root, &path, names)?;
        }
    }
    Ok(())
}

/// One word for the shell, whatever is in it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quotes_are_escaped_for_the_shell() {
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
