//! The dashboard that serves while the demo runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use framelane::Error;
use framelane_dashboard::{Dashboard, DashboardOptions};

/// A dashboard in a thread. Dropping it ends the thread.
pub(crate) struct Served {
    url: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves on a port, or on a free one if the port is in use.
    pub(crate) fn start(port: u16) -> Result<Self, Error> {
        let bind =
            |port| Dashboard::bind(DashboardOptions::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        let dashboard = bind(port).or_else(|_| bind(0))?;
        let url = dashboard.url();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let stop = stop.clone();
            thread::spawn(move || {
                if let Err(error) = dashboard.run(&|| !stop.load(Ordering::Relaxed)) {
                    eprintln!("warning: the dashboard ended: {}", error.message());
                }
            })
        };
        Ok(Served { url, stop, thread: Some(thread) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
