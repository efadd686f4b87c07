//! Recent deaths, for parents that report them in their own exit code.
//!
//! **Bounded:** 1,024 deaths.

use std::{collections::VecDeque, sync::Arc};

use crate::decode::TaskId;

/// How many deaths are remembered.
const KEPT: usize = 1024;

/// A death that a parent may report in its own exit code: 128 and the signal.
#[derive(Clone, Debug)]
pub struct Recent {
    /// Who died.
    pub id: TaskId,
    /// Its parent.
    pub ppid: u32,
    /// The signal that ended it; else it ended with such a code itself.
    pub signal: Option<u32>,
    /// 128 and the signal, or that code.
    pub shell_status: u32,
    /// When: nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// Its name.
    pub comm: Arc<str>,
}

/// The latest of these deaths.
#[derive(Debug, Default)]
pub struct RecentDeaths(VecDeque<Recent>);

impl RecentDeaths {
    /// Remembers one.
    pub fn push(&mut self, death: Recent) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(death);
    }

    /// The latest child of `parent` that ended with `shell_status` while the parent lived.
    #[must_use]
    pub fn child(&self, parent: TaskId, shell_status: u32) -> Option<&Recent> {
        self.0.iter().rev().find(|death| {
            death.ppid == parent.tgid
                && death.shell_status == shell_status
                && death.time_ns >= parent.start_ns
        })
    }
}
