//! The requests to stop that a command answers in its own way.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, SIGTERM, and the end of the terminal where a command wants to know of it.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
}

impl Stop {
    /// From now on Ctrl-C and SIGTERM end nothing by themselves. SIGHUP is left as it is: nohup(1) has it ignored.
    pub fn new() -> Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())?, hang_up: None })
    }

    /// The same for SIGHUP: for a command that must tidy up.
    pub fn with_hang_up(mut self) -> Result<Self> {
        self.hang_up = Some(signal(SignalKind::hangup())?);
        Ok(self)
    }

    /// Waits for one of them. Dropping the future loses nothing.
    pub async fn asked(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
            _ = hang_up => (),
        }
    }
}
