//! Who may connect, and how they prove it.
