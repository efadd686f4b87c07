//! observer
fn main() {}
