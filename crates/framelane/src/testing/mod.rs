//! What the crate's own tests reach inside it for: built only with `--cfg framelane_testing`, never by a user.
