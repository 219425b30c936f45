//! Channels in the browser: live pictures, boxes, latencies and metrics, from one HTTP server.
//!
//! [`Dashboard::bind`] listens on a loopback address. [`Dashboard::run`] serves until its caller ends it. The
//! page and its scripts are part of the program, and load nothing from elsewhere.
//!
//! A channel has one subscriber and at most one encoder for each picture size, regardless of the number of
//! viewers. Both exist only while the channel is viewed. Viewers receive the newest picture only.
//!
//! [`report`] describes channels in JSON, as `framelane list --json` does.

mod fault;
mod feed;
mod guard;
mod latency;
mod metrics;
mod observer;
mod options;
mod pages;
pub mod report;
mod routes;
mod server;
mod session;
mod shared;
mod streams;

pub use options::{DashboardOptions, token_from_file};
pub use server::Dashboard;
