//! User ids to names, from `/etc/passwd` alone: a static binary can't ask the C library's name services.

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
    looked: Option<Instant>,
    names: HashMap<u32, Arc<str>>,
}

/// How long the file is trusted not to have changed.
const LOOK: Duration = Duration::from_secs(5);

impl Users {
    /// Names from a file in the form of passwd(5).
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), changed: None, looked: None, names: HashMap::new() }
    }

    /// Those of this host.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self::new("/etc/passwd")
    }

    /// These names and no others, for a capture: this host's names are not those of the host it was made on.
    #[must_use]
    pub fn fixed(names: HashMap<u32, Arc<str>>) -> Self {
        Self { path: None, changed: None, looked: None, names }
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
        if self.looked.is_none_or(|at| at.elapsed() > LOOK) {
            self.looked = Some(Instant::now());
            self.refresh();
        }
        self.names.get(&uid).cloned()
    }

    fn refresh(&mut self) {
        let Some(path) = &self.path else { return };
        let changed = std::fs::metadata(path).and_then(|m| m.modified()).ok();
        if changed.is_some() && changed == self.changed {
            return;
        }
        let Ok(bytes) = std::fs::read(path) else { return };
        self.changed = changed;
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
    fn first_entry_wins_and_broken_lines_are_passed_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("passwd");
        std::fs::write(&path, "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\nbroken\nwww:x:33:33\n")
            .expect("write");
        let mut users = Users::new(path);
        assert_eq!(users.name(0).as_deref(), Some("root"));
        assert_eq!(users.name(33).as_deref(), Some("www"));
        assert_eq!(users.name(7), None);
    }
}
