//! A network namespace that lives as long as its descriptor, or a process in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

pub struct Namespace(Arc<File>);

impl Namespace {
    pub fn new() -> io::Result<Self> {
        // On a separate thread: it alone leaves the namespace of this process.
        let made = std::thread::spawn(|| {
            // SAFETY: only the network namespace is left; what must not be unshared with others, the table of
            // descriptors, stays as it is.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET)? };
            File::open("/proc/thread-self/ns/net")
        });
        Ok(Namespace(Arc::new(made.join().expect("no panic")?)))
    }

    /// Runs `work` inside, on a separate thread.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            enter(&self.0).expect("the namespace is ours");
            work()
        };
        let result = std::thread::scope(|scope| scope.spawn(inside).join());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A program that will run inside.
    pub fn command(&self, program: &OsStr) -> Command {
        let namespace = Arc::clone(&self.0);
        let mut command = Command::new(program);
        // SAFETY: between fork and exec the closure makes one system call, on a descriptor that it owns a
        // share of; it allocates nothing, takes no lock, and an error of the kernel is passed on as its
        // number.
        unsafe { command.pre_exec(move || enter(&namespace)) };
        command
    }
}

fn enter(namespace: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}
