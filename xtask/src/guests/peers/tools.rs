//! The other tools from Debian packages, with their libraries: downloaded, unpacked, added to the guest.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::apt::PrivateApt;
use crate::{process, talk};

/// The stable suite, which keeps its versions.
const SUITE: &str = "trixie";
/// The tools, then their libraries.
const PACKAGES: [&str; 18] = [
    "libbpf-tools=0.31.*",
    "iproute2=6.15.*",
    "libbpf1",
    "libc6",
    "libcap2",
    "libcom-err2",
    "libelf1t64",
    "libgssapi-krb5-2",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libmnl0",
    "libpcre2-8-0",
    "libselinux1",
    "libtirpc3t64",
    "libzstd1",
    "zlib1g",
];
const PROGRAMS: [&str; 5] = [
    "usr/bin/ss",
    "usr/sbin/bindsnoop-libbpf",
    "usr/sbin/exitsnoop-libbpf",
    "usr/sbin/oomkill-libbpf",
    "usr/sbin/sigsnoop-libbpf",
];
/// Folders of the libraries and of the loader.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "usr/lib64"];
const CHANGES: &str = "usr/share/doc/libbpf-tools/changelog.Debian.gz";

/// The unpacked tools, kept from one run to the next.
pub(super) struct Tools {
    root: PathBuf,
    /// Version of the package with the tools of bcc.
    pub(super) version: String,
}

impl Tools {
    /// Takes them from the cache below `dir`, or downloads them in the folder `scratch`.
    pub(super) fn get(dir: &Path, scratch: &Path) -> Result<Self> {
        let (root, version, made_of) = (dir.join("root"), dir.join("version"), dir.join("made-of"));
        let recipe = [&PACKAGES[..], &PROGRAMS, &LIBRARIES].concat().join("\n");
        if fs::read_to_string(&made_of).map_or(true, |made_of| made_of != recipe) {
            if dir.exists() {
                fs::remove_dir_all(dir)?;
            }
            let apt = PrivateApt::new(&scratch.join("apt"), &[SUITE])?;
            let unpacked = scratch.join("peers");
            for package in PACKAGES {
                apt.unpack(package, &unpacked)?;
            }
            for program in PROGRAMS {
                keep(&unpacked, &root, program)?;
            }
            for folder in LIBRARIES {
                for entry in fs::read_dir(unpacked.join(folder))? {
                    let name = entry?.file_name();
                    let name = name.to_str().context("a name that is not UTF-8")?;
                    if name.contains(".so") {
                        keep(&unpacked, &root, &format!("{folder}/{name}"))?;
                    }
                }
            }
            // The path of the loader that the programs name.
            symlink("usr/lib64", root.join("lib64"))?;
            fs::write(&version, newest_change(&unpacked.join(CHANGES))?)?;
            fs::write(made_of, recipe)?;
            fs::remove_dir_all(unpacked)?;
        }
        Ok(Self { root, version: fs::read_to_string(version)? })
    }

    /// Appends them to an initramfs: the kernel unpacks all archives in one file.
    pub(super) fn add_to(&self, initrd: &Path) -> Result<()> {
        talk::step("adding the peers to the initramfs");
        let list = "find . | cpio --create --format=newc --owner=0:0 --quiet";
        let to = File::options().append(true).open(initrd)?;
        process::run(Command::new("sh").args(["-c", list]).current_dir(&self.root).stdout(to))
    }
}

fn keep(from: &Path, to: &Path, name: &str) -> Result<()> {
    let (from, to) = (from.join(name), to.join(name));
    fs::create_dir_all(to.parent().context("a name without a folder")?)?;
    fs::rename(&from, &to).with_context(|| format!("the packages hold no {name}"))
}

/// `bcc (0.31.0-1) …` begins a Debian changelog.
fn newest_change(path: &Path) -> Result<String> {
    let text = process::read(Command::new("gzip").arg("-dc").arg(path))?;
    let version = text.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let Some((version, _)) = version else { bail!("{} names no version", path.display()) };
    Ok(version.to_owned())
}
