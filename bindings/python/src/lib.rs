//! Python bindings of framelane.
