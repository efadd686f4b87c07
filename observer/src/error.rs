//! Errors by exit status.

/// An error whose exit status is not "files or service out of reach".
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The user may not do this, or this kernel can't: exit status 3.
    #[error("{0}")]
    Unsupported(String),
    /// Wrong usage, a broken configuration included: exit status 2.
    #[error("{0}")]
    Usage(String),
}

/// Exit statuses of every command.
pub mod status {
    /// Done.
    pub const DONE: u8 = 0;
    /// Nothing matched, or a check did not hold.
    pub const NO_MATCH: u8 = 1;
    /// Wrong usage, or a broken configuration.
    pub const USAGE: u8 = 2;
    /// Not permitted, or not supported by this kernel.
    pub const UNSUPPORTED: u8 = 3;
    /// The files or the service could not be reached.
    pub const UNREACHABLE: u8 = 4;
}

/// The exit status for an error.
#[must_use]
pub fn exit_status(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Unsupported(_)) => status::UNSUPPORTED,
        Some(Failure::Usage(_)) => status::USAGE,
        None => status::UNREACHABLE,
    }
}
