//! The last cgroup path that was parsed: processes die in groups, so the next path is most often the same.
//!
//! **Bounded:** one entry.

use std::sync::Arc;

use crate::model::{
    cgroup::{container, unit},
    hex_of_non_utf8, lossy,
};

/// What a cgroup's path says.
#[derive(Debug, Default)]
pub(super) struct CgroupNames {
    /// The path itself.
    pub path: Arc<str>,
    /// Its bytes in hexadecimal, where they are not UTF-8.
    pub path_hex: Option<String>,
    /// See [`unit`].
    pub unit: Option<Arc<str>>,
    /// See [`container`].
    pub container: Option<Arc<str>>,
}

/// Keeps the names of the last path.
#[derive(Debug, Default)]
pub(super) struct CgroupCache {
    bytes: Vec<u8>,
    names: CgroupNames,
}

impl CgroupCache {
    /// What the path says.
    pub(super) fn of(&mut self, path: &[u8]) -> &CgroupNames {
        if self.bytes != path {
            path.clone_into(&mut self.bytes);
            let text = lossy(path);
            self.names = CgroupNames {
                path_hex: hex_of_non_utf8(path),
                unit: unit(&text).map(Arc::from),
                container: container(&text).map(Arc::from),
                path: text.into(),
            };
        }
        &self.names
    }
}
