//! Video sources for framelane.
