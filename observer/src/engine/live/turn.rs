//! One scan at a time: the kernel walks every descriptor of every process for each.

use std::{
    fs::File,
    io::{self, Read},
};

use tokio::sync::watch;

/// Whose turn it is.
pub struct Turn(watch::Sender<bool>);

/// Waits for the turn.
pub struct TurnWaiter(watch::Receiver<bool>);

/// The iterator of one scan; the turn ends with it.
pub struct TurnGuard {
    file: File,
    taken: watch::Sender<bool>,
}

impl Default for Turn {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Turn {
    /// Whether nobody has it.
    #[must_use]
    pub fn is_free(&self) -> bool {
        !*self.0.borrow()
    }

    /// Takes it, when it is free and the iterator can be opened.
    pub fn take(
        &self,
        open: impl FnOnce() -> anyhow::Result<File>,
    ) -> anyhow::Result<Option<TurnGuard>> {
        if !self.is_free() {
            return Ok(None);
        }
        let file = open()?;
        self.0.send_replace(true);
        Ok(Some(TurnGuard { file, taken: self.0.clone() }))
    }

    /// Somebody who can wait for it.
    #[must_use]
    pub fn waiter(&self) -> TurnWaiter {
        TurnWaiter(self.0.subscribe())
    }
}

impl TurnWaiter {
    /// Comes when nobody has it. That takes nothing: several may wait, and the first to take it has it.
    pub async fn free(&mut self) {
        // The channel is open while a `Turn` or a `TurnGuard` lives; without them nobody has the turn.
        let _ = self.0.wait_for(|taken| !taken).await;
    }
}

impl Read for TurnGuard {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        self.taken.send_replace(false);
    }
}
