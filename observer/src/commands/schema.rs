//! `observer schema`.

use anyhow::Result;

use crate::{error::status, model::Event, sinks::stdout};

/// The JSON Schema (draft 2020-12) of an event, as text that ends in a newline.
pub fn text() -> Result<String> {
    let schema = schemars::schema_for!(Event);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// Prints the schema.
pub fn run() -> Result<u8> {
    stdout::print(&text()?)?;
    Ok(status::DONE)
}
