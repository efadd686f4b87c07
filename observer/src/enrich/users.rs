//! User names by id, from `/etc/passwd` only: a static binary can't use the C library's name services.
//!
//! **Bounded:** one entry for each id in the file; checks the file for a change at most once every 5 s ([`CHECK_EVERY`]).

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// The names on this host, read again when the file changes.
#[derive(Debug)]
pub struct Users {
    /// `None`: the names never change.
    path: Option<PathBuf>,
    changed: Option<SystemTime>,
    checked: Option<Instant>,
    names: HashMap<u32, Arc<str>>,
    version: u64,
}

/// How often the file's modification time is checked.
const CHECK_EVERY: Duration = Duration::from_secs(5);

impl Users {
    /// Names from a file in the form of passwd(5).
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::fixed(HashMap::new()) }
    }

    /// The users of this host.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self::new("/etc/passwd")
    }

    /// Fixed names, for a capture: it may come from another host.
    #[must_use]
    pub fn fixed(names: HashMap<u32, Arc<str>>) -> Self {
        Self { path: None, changed: None, checked: None, names, version: 0 }
    }

    /// Why an id has no name.
    #[must_use]
    pub fn absence(&self) -> &'static str {
        match self.path {
            Some(_) => "no such id in /etc/passwd",
            None => "a capture holds no user names",
        }
    }

    /// A user's name.
    pub fn name(&mut self, uid: u32) -> Option<Arc<str>> {
        self.check();
        self.names.get(&uid).cloned()
    }

    /// Reads the file again if it has changed, and it is time to find out.
    pub fn check(&mut self) {
        if self.checked.is_none_or(|at| at.elapsed() > CHECK_EVERY) {
            self.checked = Some(Instant::now());
            self.refresh();
        }
    }

    /// Changes whenever a name may have.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    fn refresh(&mut self) {
        let Some(path) = &self.path else { return };
        let changed = std::fs::metadata(path).and_then(|m| m.modified()).ok();
        if changed.is_some() && changed == self.changed {
            return;
        }
        let Ok(bytes) = std::fs::read(path) else { return };
        self.changed = changed;
        self.version += 1;
        self.names.clear();
        for line in String::from_utf8_lossy(&bytes).lines() {
            let mut fields = line.split(':');
            let (name, uid) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok()));
            if let (Some(name), Some(uid)) = (name, uid) {
                // The first entry of an id wins, as in getpwuid(3).
                self.names.entry(uid).or_insert_with(|| name.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Users;

    #[test]
    fn first_entry_wins_and_broken_lines_are_skipped() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("passwd");
        std::fs::write(&path, "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\nbroken\nwww:x:33:33\n")
            .expect("write");
        let mut users = Users::new(path);
        let before = users.version();
        assert_eq!(users.name(0).as_deref(), Some("root"));
        assert_eq!(users.name(33).as_deref(), Some("www"));
        assert_eq!(users.name(7), None);
        assert_ne!(users.version(), before);
    }
}
