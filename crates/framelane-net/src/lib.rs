//! framelane channels between machines: links over TLS, TCP and Unix sockets.
#![forbid(unsafe_code)]

pub mod security;
