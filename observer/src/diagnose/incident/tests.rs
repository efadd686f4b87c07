//! Hand-made histories, and what is told of them.

mod build;
mod ownership;
mod properties;
mod recordings;
mod rules;
mod scenario;
