//! Stage 5: events to lines, and lines to where they go.

pub mod csv;
pub mod ecs;
pub mod html;
mod parts;
pub mod sanitize;
pub mod stdout;
pub mod style;
pub mod text;
