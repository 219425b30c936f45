//! Shared by the tests: a server in this process, and subscribers of its URLs.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub mod raw;

use std::sync::Mutex;

use framelane::*;
use framelane_net::{Access, Address, LinkUrl, ReceiveOptions, ReceiveStatistics, Server, ServerOptions};
use framelane_test_kit::Limit;

/// A server in a new directory, until it is dropped.
pub struct Served {
    pub directory: tempfile::TempDir,
    pub limit: Limit,
    pub address: Address,
    pub cancel: CancelToken,
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
        let cancel = options.cancel.clone();
        let server = Server::bind(options).unwrap();
        let address = server.addresses().next().unwrap().clone();
        let events = std::sync::Arc::new(Mutex::new(Vec::new()));
        let recorded = events.clone();
        let thread = std::thread::spawn(move || {
            server.run(&|event| recorded.lock().unwrap().push(format!("{event:?}")));
        });
        Served { directory, limit: Limit::new(), address, cancel, thread: Some(thread), events }
    }

    pub fn publisher(&self, channel: &str) -> Publisher {
        PublisherOptions::new().directory(self.directory.path()).create(channel).unwrap()
    }

    pub fn port(&self) -> u16 {
        match self.address {
            Address::Tls { port, .. } | Address::Tcp { port, .. } => port,
            _ => panic!("a Unix socket has no port"),
        }
    }

    pub fn url(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    pub fn end(&mut self) {
        self.cancel.cancel();
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

/// Receives a channel into a local one until `cancel` ends it, and waits when the channel is closed.
pub fn receive(
    url: &LinkUrl,
    publisher: &mut Publisher,
    cancel: &CancelToken,
) -> Result<ReceiveStatistics, Error> {
    let options = ReceiveOptions::new().cancel(cancel.clone());
    framelane_net::receive(url, publisher, &options, &mut |_| {})
}

pub fn gray(width: u32, height: u32) -> Layout {
    Layout::packed(PixelFormat::Gray8, width, height).unwrap()
}
