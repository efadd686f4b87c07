//! The contract between the eBPF programs and userspace.
//!
//! Every record is a [`header::Header`], a fixed part, and then segments of bytes whose lengths the fixed part names.
//! Only integers and byte arrays cross this border, padding is explicit, and sizes are checked at compile time: an
//! eBPF program and a decoder built from different sources must fail to build or to decode, never misread.
#![no_std]

/// Declares a record: `repr(C)`, copyable, and decodable by userspace without `unsafe`.
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $ty:ty,)* } size $size:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(
            feature = "user",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        #[repr(C)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }

        const _: () = assert!(size_of::<$name>() == $size, concat!(stringify!($name), ": size"));
    };
}

pub mod exit;
pub mod header;
pub mod loss;
pub mod offsets;
pub mod oom;
pub mod settings;
pub mod signal;
pub mod socket;
pub mod task;
