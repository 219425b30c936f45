//! Tests across processes and languages.
