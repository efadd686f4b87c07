//! observer: which process died, why, and who holds the contested port.
//!
//! Data flows one way: [`kernel`] → [`decode`] → [`enrich`] and [`diagnose`] → [`sinks`], in the vocabulary of [`model`].
//! [`pipeline`] is the flow itself; [`commands`] are thin users of it.

pub mod decode;
pub mod error;
pub mod kernel;
