//! What every record begins with.

/// Version of the layouts in this crate: it grows by one whenever any of them changes.
pub const ABI: u16 = 2;

/// A process ended: [`crate::exit::ExitRecord`].
pub const KIND_EXIT: u16 = 1;
/// The OOM killer chose a victim: [`crate::oom::OomRecord`].
pub const KIND_OOM: u16 = 2;
/// A bind or a listen, or the end of a listener: [`crate::socket::BindRecord`].
pub const KIND_BIND: u16 = 3;
/// A process ended like an earlier one: [`crate::exit::LikeRecord`].
pub const KIND_EXIT_LIKE: u16 = 4;

record! {
    /// The first bytes of every record.
    pub struct Header {
        /// Length of the whole record in bytes, this header included.
        pub size: u32,
        /// One of the `KIND_` constants.
        pub kind: u16,
        /// [`ABI`] of the program that wrote the record.
        pub abi: u16,
        /// `CLOCK_BOOTTIME` in nanoseconds (`bpf_ktime_get_boot_ns`).
        pub time_ns: u64,
    } size 16
}
