//! Indexes of the array `SETTINGS`, which userspace may change while the programs run.

/// 1: report processes that ended with code 0 too.
pub const EXITS_ALL: u32 = 0;
/// Inode number of the mount namespace of the first process; 0: not known.
pub const FIRST_MNTNS: u32 = 1;
/// Number of settings.
pub const SETTINGS: u32 = 2;

/// Words of the bitmap `PORTS_WANTED`: a bit for each port.
pub const PORT_WORDS: u32 = 65536 / 64;
/// Most processes in `WATCHED`, whose deaths are reported whatever the exit code.
pub const WATCHED: u32 = 16384;
