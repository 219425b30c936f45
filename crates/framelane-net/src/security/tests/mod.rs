//! TLS handshakes in memory, and the files of a server.
