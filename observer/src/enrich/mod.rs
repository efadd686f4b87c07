//! Stage 3: what the kernel's numbers mean on this host. What is read here changes rarely, and is kept.

mod cgroup_cache;
pub mod connections;
pub mod kallsyms;
pub mod path_file;
pub mod process;
pub mod procfs;
pub mod scan;
pub mod sock_diag;
pub mod socket;
mod text_cache;
pub mod unheld;
pub mod users;

pub use process::Enricher;
pub use users::Users;
