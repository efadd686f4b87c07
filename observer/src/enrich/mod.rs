//! Stage 3: what the kernel's numbers mean on this host. All that is read here changes rarely and is kept.

pub mod cgroup;
pub mod conflict;
pub mod connections;
pub mod host;
pub mod kallsyms;
pub mod lookup;
mod path_file;
pub mod process;
pub mod procfs;
mod shared;
pub mod snapshot;
pub mod sock_diag;
pub mod unheld;
pub mod users;

pub use host::Host;
pub use kallsyms::Symbols;
pub use process::Enricher;
pub use users::Users;
