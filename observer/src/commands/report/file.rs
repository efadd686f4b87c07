//! The file of the page: there as a whole, or as it was.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// A place for the page that was looked at.
#[derive(Debug)]
pub(super) struct OutputFile<'a>(&'a Path);

impl<'a> OutputFile<'a> {
    /// Fails where no file may be put, before anything is read. What is there and is no file stays: as root, a device
    /// would be replaced as easily.
    pub(super) fn at(path: &'a Path) -> Result<Self> {
        let shown = path.display();
        match fs::symlink_metadata(path) {
            Ok(there) if there.is_file() => {}
            Ok(there) if there.is_dir() => bail!("{shown} is a folder: name a file in it"),
            Ok(there) if there.is_symlink() => bail!("{shown} is a link: name the file itself"),
            Ok(_) => bail!("{shown} is no regular file: name another one, or `-o -`"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("can't write {shown}")),
        }
        if path.file_name().is_none() {
            bail!("{shown} names no file");
        }
        Ok(Self(path))
    }

    /// Writes a file beside it and puts that in its place.
    pub(super) fn write(&self, page: &str) -> Result<()> {
        let beside = self.beside();
        let written = write(&beside, page).and_then(|()| fs::rename(&beside, self.0));
        if written.is_err() {
            // Half a page helps nobody; it may not even be there.
            let _ = fs::remove_file(&beside);
        }
        written.with_context(|| format!("can't write {}", self.0.display()))
    }

    fn beside(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.0.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        self.0.with_file_name(name)
    }
}

fn write(path: &Path, page: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(page.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::OutputFile;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("r.html");
        for page in ["one", "two"] {
            OutputFile::at(&file).expect("a place").write(page).expect("room");
            assert_eq!(std::fs::read_to_string(&file).expect("a file"), page);
        }
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let link = dir.path().join("link");
        symlink(&file, &link).expect("a link");
        for (path, said) in [
            (dir.path(), "is a folder"),
            (link.as_path(), "is a link"),
            ("/dev/null".as_ref(), "no regular file"),
        ] {
            let error = OutputFile::at(path).expect_err("refused").to_string();
            assert!(error.contains(said), "{error}");
        }
        let nowhere = dir.path().join("no/r.html");
        assert!(OutputFile::at(&nowhere).expect("not there yet").write("x").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 2);
    }
}
