//! Caches the last cgroup path that was parsed: processes of one cgroup die together, so the next path is often the same.
//!
//! **Bounded:** one entry.

use std::sync::Arc;

use crate::model::{
    cgroup::{container, unit, user_unit},
    hex_of_non_utf8, lossy,
};

/// The names in a cgroup's path.
#[derive(Debug, Default)]
pub(super) struct CgroupNames {
    /// The path itself.
    pub path: Arc<str>,
    /// Its bytes in hexadecimal, if they are not UTF-8.
    pub path_hex: Option<String>,
    /// See [`unit`].
    pub unit: Option<Arc<str>>,
    /// See [`user_unit`].
    pub user_unit: Option<Arc<str>>,
    /// See [`container`].
    pub container: Option<Arc<str>>,
}

/// The last path and its names.
#[derive(Debug, Default)]
pub(super) struct CgroupCache {
    bytes: Vec<u8>,
    names: CgroupNames,
}

impl CgroupCache {
    /// The names in this path.
    pub(super) fn of(&mut self, path: &[u8]) -> &CgroupNames {
        if self.bytes != path {
            path.clone_into(&mut self.bytes);
            let text = lossy(path);
            self.names = CgroupNames {
                path_hex: hex_of_non_utf8(path),
                unit: unit(&text).map(Arc::from),
                user_unit: user_unit(&text).map(Arc::from),
                container: container(&text).map(Arc::from),
                path: text.into(),
            };
        }
        &self.names
    }
}
