//! One pass over all descriptors at a time: the kernel walks every process for each.

use std::{
    fs::File,
    io::{self, Read},
};

use tokio::sync::watch;

/// Whose turn it is.
pub struct Turn(watch::Sender<bool>);

/// Waits for the turn.
pub struct Waiting(watch::Receiver<bool>);

/// One pass; the turn ends with it.
pub struct Pass {
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

    /// Takes it, when it is free and the pass can be opened.
    pub fn take(
        &self,
        open: impl FnOnce() -> anyhow::Result<File>,
    ) -> anyhow::Result<Option<Pass>> {
        if !self.is_free() {
            return Ok(None);
        }
        let file = open()?;
        self.0.send_replace(true);
        Ok(Some(Pass { file, taken: self.0.clone() }))
    }

    /// Somebody who can wait for it.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        Waiting(self.0.subscribe())
    }
}

impl Waiting {
    /// Comes when nobody has it. That takes nothing: several may wait, and the first to take it has it.
    pub async fn free(&mut self) {
        // There is no end of it to be told of while a `Turn` or a `Pass` lives, and without them nobody has it.
        let _ = self.0.wait_for(|taken| !taken).await;
    }
}

impl Read for Pass {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.taken.send_replace(false);
    }
}
