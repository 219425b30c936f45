//! The `framelane` command.
fn main() {}
