//! Which sources the checked-in eBPF object was built from, and whether this checkout still has them.
//!
//! `tests/build.rs` includes this file by path: it needs nothing but std and sha2.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The object, from the root of the workspace.
pub(crate) const OBJECT: &str = "observer-ebpf/object/observer.bpf.o";
/// Its record, from the root of the workspace.
pub(crate) const RECORD: &str = "observer-ebpf/object/PROVENANCE";
/// The command that builds both again.
pub(crate) const MEND: &str = "cargo xtask ebpf";
/// What else somebody has to know who sees that the object is stale.
const NEEDS: &str = "(about a minute; needs LLVM 22 and bpf-linker, and installs them where they are missing) and commit the object";

/// Everything of this workspace that can change the object. Of `Cargo.toml` only its profiles count, and
/// of `Cargo.lock` only the crates that end in the object: else every new dependency would ask for a rebuild.
pub(crate) const INPUTS: [&str; 7] = [
    "observer-common/Cargo.toml",
    "observer-common/src",
    "observer-ebpf/Cargo.toml",
    "observer-ebpf/src",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

/// The profile of the object, and the one that it inherits.
const PROFILES: [&str; 2] = ["[profile.release", "[profile.ebpf"];

/// Crates below `observer-ebpf` that never end in the object, so that their updates do not matter: build scripts
/// and what proc macros are made of run on the host, and zerocopy is for userspace. `--check` compares bytes besides.
const HOST_ONLY: [&str; 6] =
    ["aya-build", "proc-macro2", "proc-macro2-diagnostics", "quote", "syn", "zerocopy"];

/// The record beside the object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// What [`source_hash`] gave when the object was built.
    pub(crate) sources: String,
    /// SHA-256 of the object's bytes.
    pub(crate) object: String,
    /// Name and version of each tool that had a hand in it.
    pub(crate) tools: Vec<(String, String)>,
}

/// Reads the record beside the object.
pub(crate) fn recorded(workspace_root: &Path) -> io::Result<Recorded> {
    let text = fs::read_to_string(workspace_root.join(RECORD))?;
    let mut recorded = Recorded::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(" = ") {
            Some(("sources", hash)) => hash.clone_into(&mut recorded.sources),
            Some(("object", hash)) => hash.clone_into(&mut recorded.object),
            Some((tool, version)) => recorded.tools.push((tool.to_owned(), version.to_owned())),
            None => {}
        }
    }
    Ok(recorded)
}

/// Why the checked-in object does not match its sources, in one line; `None` if it does.
pub(crate) fn stale(workspace_root: &Path) -> io::Result<Option<String>> {
    let recorded = match recorded(workspace_root) {
        Ok(recorded) => recorded,
        Err(error) => return Ok(Some(format!("{RECORD} can't be read ({error}): run `{MEND}`"))),
    };
    let object = match fs::read(workspace_root.join(OBJECT)) {
        Ok(bytes) => hex(&Sha256::digest(bytes)),
        Err(error) => return Ok(Some(format!("{OBJECT} can't be read ({error}): run `{MEND}`"))),
    };
    if object != recorded.object {
        return Ok(Some(format!(
            "{OBJECT} is not the one that {RECORD} describes: run `{MEND}` {NEEDS}"
        )));
    }
    if source_hash(workspace_root)? != recorded.sources {
        return Ok(Some(format!(
            "{OBJECT} is older than its sources, observer-ebpf and observer-common: run `{MEND}` {NEEDS}"
        )));
    }
    Ok(None)
}

/// One hash over path and content of all inputs of the object, the same on every machine.
pub(crate) fn source_hash(workspace_root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for input in &INPUTS[..4] {
        collect(&workspace_root.join(input), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name =
            file.strip_prefix(workspace_root).unwrap_or(&file).to_string_lossy().into_owned();
        item(&mut hash, &name, &fs::read(&file)?);
    }
    let read = |name: &str| fs::read_to_string(workspace_root.join(name));
    item(&mut hash, "profiles", profiles(&read("Cargo.toml")?).as_bytes());
    item(&mut hash, "crates", crates(&read("Cargo.lock")?).as_bytes());
    item(&mut hash, "toolchain", read("rust-toolchain.toml")?.as_bytes());
    Ok(hex(&hash.finalize()))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Hashes the lengths too, so that two different sets of files never give the same bytes.
fn item(hash: &mut Sha256, name: &str, content: &[u8]) {
    for part in [name.as_bytes(), content] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
}

/// All files below `path` but hidden ones, which editors leave.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

/// The sections of the workspace's manifest that set how the object is compiled.
fn profiles(manifest: &str) -> String {
    let mut inside = false;
    let lines = manifest.lines().filter(|line| {
        if line.starts_with('[') {
            let is_section = |profile: &str| {
                line.strip_prefix(profile).is_some_and(|rest| rest.starts_with([']', '.']))
            };
            inside = PROFILES.into_iter().any(is_section);
        }
        inside && !line.trim().is_empty() && !line.starts_with('#')
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Name and version of every crate that ends in the object, one a line.
fn crates(lock: &str) -> String {
    let packages: Vec<Package<'_>> = lock.split("[[package]]").filter_map(Package::parse).collect();
    let mut seen = BTreeSet::new();
    let mut open: Vec<&Package<'_>> =
        packages.iter().filter(|package| package.name == "observer-ebpf").collect();
    while let Some(package) = open.pop() {
        if !seen.insert((package.name, package.version)) {
            continue;
        }
        open.extend(package.dependencies.iter().filter_map(|dependency| {
            let mut words = dependency.split(' ');
            let name = words.next()?;
            let version = words.next();
            packages.iter().find(|candidate| {
                candidate.name == name
                    && version.is_none_or(|version| version == candidate.version)
                    && !HOST_ONLY.contains(&name)
            })
        }));
    }
    seen.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join("\n")
}

/// One entry of `Cargo.lock`, whose form cargo keeps stable.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    dependencies: Vec<&'a str>,
}

impl<'a> Package<'a> {
    fn parse(entry: &'a str) -> Option<Self> {
        let value = |key: &str| {
            entry
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        let dependencies = entry
            .lines()
            .filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","))
            .collect();
        Some(Self { name: value("name")?, version: value("version")?, dependencies })
    }
}

#[cfg(test)]
mod tests {
    use super::{crates, profiles};

    const LOCK: &str = r#"
version = 4

[[package]]
name = "observer-ebpf"
version = "0.1.0"
dependencies = [
 "aya-ebpf",
 "syn 2.0.1",
]

[[package]]
name = "aya-ebpf"
version = "0.2.1"
dependencies = [
 "aya-build",
 "num_enum 0.7.6",
]

[[package]]
name = "num_enum"
version = "0.6.0"

[[package]]
name = "num_enum"
version = "0.7.6"

[[package]]
name = "syn"
version = "2.0.1"

[[package]]
name = "serde"
version = "1.0.0"
"#;

    #[test]
    fn crates_of_the_host_do_not_count() {
        assert_eq!(crates(LOCK), "aya-ebpf 0.2.1\nnum_enum 0.7.6\nobserver-ebpf 0.1.0");
    }

    #[test]
    fn profiles_of_other_builds_do_not_count() {
        let manifest = "[workspace]\nx = 1\n\n[profile.ebpf]\n# why\ndebug = 2\n\n[profile.live]\nlto = 1\n\n\
            [profile.release.package.a]\nz = 3\n\n[lints]\ny = 2\n";
        assert_eq!(
            profiles(manifest),
            "[profile.ebpf]\ndebug = 2\n[profile.release.package.a]\nz = 3"
        );
    }
}
