//! `observer schema`.

use anyhow::Result;

use crate::{error::status, model::Event, stdout};

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

#[cfg(test)]
mod tests {
    /// `observer schema >docs/schema.json` mends it.
    #[test]
    fn the_one_that_is_checked_in_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema.json");
        let checked_in = std::fs::read_to_string(path).expect("docs/schema.json");
        let ours = super::text().expect("a schema");
        assert!(checked_in == ours, "docs/schema.json differs from `observer schema`");
    }
}
