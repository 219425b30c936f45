//! The listener, and the limits of connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use framelane::{CancelToken, Error};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use crate::feed::Feeds;
use crate::guard::Guard;
use crate::observer::{self, Updates};
use crate::options::DashboardOptions;
use crate::routes;
use crate::shared::Shared;

/// Connections that are no page or stream, such as those of `/metrics` or of files.
const MAX_SHORT_CONNECTIONS: usize = 64;
/// A connection that takes no bytes for this time is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// Threads that serve connections. Encoders have their own.
const THREADS: usize = 2;
/// Interval of checks whether to continue, and pause after a failed accept.
const POLL: Duration = Duration::from_millis(100);

/// An HTTP server for the channels of one directory.
#[derive(Debug)]
pub struct Dashboard {
    listener: std::net::TcpListener,
    address: SocketAddr,
    options: DashboardOptions,
}

impl Dashboard {
    /// Listens on the address. [`Dashboard::run`] accepts connections.
    ///
    /// # Errors
    /// [`InvalidOption`](framelane::ErrorKind::InvalidOption) for an address that other machines can reach.
    /// Errors of the system, as for a port in use.
    pub fn bind(options: DashboardOptions) -> Result<Self, Error> {
        options.check()?;
        let failed = |error: std::io::Error| {
            let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
            let error = Error::from_io(format!("cannot listen on {}", options.listen), error);
            match in_use {
                true => error.with_hint("end the program that uses the port, or choose another port"),
                false => error,
            }
        };
        let listener = std::net::TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Dashboard { listener, address, options })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of the page.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves until [`DashboardOptions::cancel`] ends it. Checks the token ten times a second. Blocks, and
    /// starts threads.
    ///
    /// # Errors
    /// Errors of the system while threads are started.
    pub fn run(self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("dashboard")
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| Error::from_io("cannot start threads", error))?;
        let feeds = Feeds::new(self.options.directory.clone());
        let updates = Updates::new();
        let shared = Arc::new(Shared {
            guard: Guard::new(self.options.token, self.address.port())?.into(),
            directory: self.options.directory.clone(),
            feeds: feeds.clone(),
            updates: updates.clone(),
            clients: Arc::new(Semaphore::new(self.options.max_clients)),
            max_clients: self.options.max_clients,
        });
        let limits = Limits {
            connections: self.options.max_clients + MAX_SHORT_CONNECTIONS,
            head_timeout: self.options.head_timeout,
        };
        let result = runtime.block_on(async {
            tokio::spawn(observer::run(feeds.clone(), self.options.directory, updates));
            accept(self.listener, shared, limits, &self.options.cancel).await
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        feeds.stop();
        result
    }
}

#[derive(Clone, Copy)]
struct Limits {
    connections: usize,
    head_timeout: Duration,
}

async fn accept(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    limits: Limits,
    cancel: &CancelToken,
) -> Result<(), Error> {
    let failed = |error| Error::from_io("cannot accept connections", error);
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let router = routes::router(shared);
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Without a place the connection is closed at once.
                    if let Ok(place) = places.clone().try_acquire_owned() {
                        let router = router.clone();
                        tokio::spawn(async move {
                            serve(stream, router, limits.head_timeout).await;
                            drop(place);
                        });
                    }
                }
                // Out of descriptors, or the client left: the next one may succeed.
                Err(_) => tokio::time::sleep(POLL).await,
            },
            _ = ticks.tick() => {
                if cancel.ends_wait() {
                    return Ok(());
                }
            }
        }
    }
}

/// Serves one connection. A page's socket continues in a separate task.
async fn serve(stream: TcpStream, router: axum::Router, head_timeout: Duration) {
    // Pictures are latency, not throughput. Without the option it still works.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
    // The client has left, broke the protocol or ran into a limit. It cannot be answered any more.
    let _: Result<(), hyper::Error> = connection.await;
}
