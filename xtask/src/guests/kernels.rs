//! Kernels from Debian packages: downloaded and unpacked, never installed; only the image is kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::apt::PrivateApt;

/// The kernels of Ubuntu 20.04 HWE to 26.04: the oldest that observer supports to the newest.
pub(crate) const DEFAULT: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.3"];

/// A kernel that can be booted.
pub(crate) struct Kernel {
    /// As asked for, such as `6.1`.
    pub(crate) version: String,
    /// The package it came from, which names the release.
    pub(crate) package: String,
    /// The image to boot.
    pub(crate) image: PathBuf,
}

/// Takes a kernel from the cache, or downloads it in the folder `scratch`; the inner error says why
/// there is none.
pub(crate) fn get(version: &str, scratch: &Path) -> Result<Result<Kernel, String>> {
    let dir = super::cache().join("kernels").join(version);
    let (image, name) = (dir.join("vmlinuz"), dir.join("package"));
    if !(image.exists() && name.exists()) {
        let apt = PrivateApt::new(&scratch.join("apt"), suites(version))?;
        // From 7.x on the image has its own package.
        let wanted =
            format!("^linux-(image|binary)-{}[.].*-cloud-amd64$", version.replace('.', "[.]"));
        let Some(package) = newest(apt.names(&wanted)?) else {
            let suites = suites(version).join(", ");
            return Ok(Err(format!("no cloud kernel {version} in {suites} of the Debian mirror")));
        };
        let unpacked = scratch.join("unpacked");
        apt.unpack(&package, &unpacked)?;
        let found = find_image(&unpacked)?
            .with_context(|| format!("the package {package} holds no vmlinuz"))?;
        fs::create_dir_all(&dir)?;
        fs::rename(found, &image)?;
        fs::write(&name, &package)?;
        fs::remove_dir_all(&unpacked)?;
    }
    let package = fs::read_to_string(name)?;
    Ok(Ok(Kernel { version: version.to_owned(), package, image }))
}

/// The Debian suites that have a kernel series.
fn suites(version: &str) -> &'static [&'static str] {
    match version {
        "5.10" => &["bullseye", "bullseye-security"],
        "6.1" => &["bookworm", "bookworm-security"],
        "6.12" => &["trixie", "trixie-security"],
        _ => &["trixie-backports"],
    }
}

/// The package with the highest version; of two with the same, the one that holds the image.
fn newest(packages: Vec<String>) -> Option<String> {
    packages.into_iter().max_by_key(|name| (numbers(name), name.starts_with("linux-binary-")))
}

/// `linux-image-5.10.0-46-cloud-amd64` → 5, 10, 0, 46, 64.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

fn find_image(dir: &Path) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if let Some(found) = find_image(&path)? {
                return Ok(Some(found));
            }
        } else if entry.file_name().to_string_lossy().starts_with("vmlinuz") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_package_that_holds_an_image() {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(
            newest(names(&[
                "linux-image-5.10.0-9-cloud-amd64",
                "linux-image-5.10.0-46-cloud-amd64"
            ]))
            .as_deref(),
            Some("linux-image-5.10.0-46-cloud-amd64")
        );
        assert_eq!(
            newest(names(&[
                "linux-binary-7.3.4+deb13-cloud-amd64",
                "linux-image-7.3.4+deb13-cloud-amd64"
            ]))
            .as_deref(),
            Some("linux-binary-7.3.4+deb13-cloud-amd64")
        );
        assert_eq!(newest(Vec::new()), None);
    }
}
