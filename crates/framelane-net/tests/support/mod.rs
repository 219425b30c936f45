//! Shared by the tests: a server in this process, and subscribers of its URLs.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub mod raw;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use framelane::*;
use framelane_net::{Access, Address, LinkUrl, ReceiveStatistics, Server, ServerOptions, WhenClosed};
use framelane_test_kit::Limit;

/// A server in a new directory, until it is dropped.
pub struct Served {
    pub directory: tempfile::TempDir,
    pub limit: Limit,
    pub address: Address,
    pub stop: std::sync::Arc<AtomicBool>,
    pub thread: Option<std::thread::JoinHandle<()>>,
    pub events: std::sync::Arc<Mutex<Vec<String>>>,
}

impl Served {
    pub fn start(listen: &str, options: impl FnOnce(&mut ServerOptions, &std::path::Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listen = listen.replace("DIR", directory.path().to_str().unwrap());
        Self::in_directory(directory, &listen, options)
    }

    pub fn in_directory(
        directory: tempfile::TempDir,
        listen: &str,
        change: impl FnOnce(&mut ServerOptions, &std::path::Path),
    ) -> Self {
        framelane_net::register_url_schemes();
        let mut options = ServerOptions::new(Access::Anyone);
        options.listen = vec![listen.parse().unwrap()];
        options.directory = Some(directory.path().into());
        options.read = "**".parse().unwrap();
        options.write = "**".parse().unwrap();
        change(&mut options, directory.path());
        let server = Server::bind(options).unwrap();
        let address = server.addresses().next().unwrap().clone();
        let (stop, events) =
            (std::sync::Arc::new(AtomicBool::new(false)), std::sync::Arc::new(Mutex::new(Vec::new())));
        let (theirs, told) = (stop.clone(), events.clone());
        let thread = std::thread::spawn(move || {
            server.run(&|event| told.lock().unwrap().push(format!("{event:?}")), &|| {
                !theirs.load(Ordering::Relaxed)
            });
        });
        Served { directory, limit: Limit::new(), address, stop, thread: Some(thread), events }
    }

    pub fn publisher(&self, channel: &str) -> Publisher {
        PublisherOptions::new().directory(self.directory.path()).create(channel).unwrap()
    }

    pub fn port(&self) -> u16 {
        match self.address {
            Address::Tls { port, .. } | Address::Tcp { port, .. } => port,
            Address::Unix(_) => panic!("a Unix socket has no port"),
        }
    }

    pub fn url(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    pub fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            println!("{:#?}", self.events.lock().unwrap());
        }
    }
}

/// A subscriber of a URL, in a new directory.
pub fn open(url: &str, delivery: Delivery) -> Result<(Subscriber, tempfile::TempDir), Error> {
    let directory = tempfile::tempdir().unwrap();
    let options = SubscriberOptions::new().directory(directory.path()).delivery(delivery).urls(Urls::Trusted);
    Ok((options.open(url)?, directory))
}

/// Receives a channel into a local one until `stop` is set, and waits when it is closed there.
pub fn receive(
    url: &LinkUrl,
    publisher: &mut Publisher,
    stop: &AtomicBool,
) -> Result<ReceiveStatistics, Error> {
    let keep = || !stop.load(Ordering::Relaxed);
    framelane_net::receive(url, publisher, WhenClosed::Wait, &mut |_| {}, &keep)
}

pub fn gray(width: u32, height: u32) -> Layout {
    Layout::packed(PixelFormat::Gray8, width, height).unwrap()
}
