//! Stage 3, from the kernel's numbers to what they mean on this host: names of users, units, containers, processes and files.
//!
//! Reads other processes' `/proc`, `/etc/passwd`, sock_diag(7) and unix socket paths, so that `diagnose` needs no I/O.
//!
//! Four caches, each for what repeats most: the last cgroup path (`cgroup_cache`), texts and argument lists by hash
//! (`text_cache`), users until `/etc/passwd` changes (`users`), and the processes of one scan (`procfs::ProcessCache`).

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
