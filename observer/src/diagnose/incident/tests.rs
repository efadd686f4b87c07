//! Incidents of histories that are written by hand.

mod build;
mod ownership;
mod properties;
mod recordings;
mod rules;
mod scenario;
