//! The contract between the eBPF programs and userspace.
//!
//! Every record is a [`header::Header`], a fixed part, and then segments of bytes; the fixed part has their lengths.
//!
//! **Invariant:** a record has only integers and byte arrays, its padding is explicit, and its size is checked at compile time.
//! An eBPF program and a decoder that were built from different sources fail to build or to decode; they never misread.
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
