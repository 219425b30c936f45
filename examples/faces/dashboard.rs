//! The dashboard that serves while the demo runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use framelane::{CancelToken, Error};
use framelane_dashboard::{Dashboard, DashboardOptions};

/// A dashboard in a thread. Dropping it ends the thread.
pub(crate) struct Served {
    url: String,
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves on a port, or on a free one if the port is in use.
    pub(crate) fn start(port: u16) -> Result<Self, Error> {
        let cancel = CancelToken::new();
        let bind = |port| {
            let mut options = DashboardOptions::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            options.cancel = cancel.clone();
            Dashboard::bind(options)
        };
        let dashboard = bind(port).or_else(|_| bind(0))?;
        let url = dashboard.url();
        let thread = thread::spawn(move || {
            if let Err(error) = dashboard.run() {
                eprintln!("warning: the dashboard ended: {}", error.message());
            }
        });
        Ok(Served { url, cancel, thread: Some(thread) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
