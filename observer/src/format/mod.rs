//! Stage 5: events as text, JSON, CSV, ECS, or a page of HTML. Encoders only: nothing here prints.

pub mod csv;
pub mod ecs;
pub mod encoder;
pub mod html;
pub mod json;
mod line_cache;
mod parts;
pub mod style;
pub mod text;

pub use encoder::Encoder;
