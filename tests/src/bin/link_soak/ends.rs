//! The two ends of the link: the commands `framelane serve` and `framelane receive`, each on its host.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use framelane_tests::{Host, Hosts, Place};
use rustix::process::{Pid, Signal, kill_process};

use crate::CHANNEL;

const PORT: u16 = 7420;

pub struct Ends<'a> {
    hosts: &'a Hosts,
    there: &'a Place,
    pub serve: End,
    receive: End,
}

impl<'a> Ends<'a> {
    pub fn start(hosts: &'a Hosts, here: &Place, there: &'a Place) -> Result<Self, Box<dyn Error>> {
        let listen = format!("tcp://{}:{PORT}", hosts[0].address());
        let arguments = ["serve", "--listen", &listen, "--insecure", "--anonymous"];
        let serve = End::start(&hosts[0], here, &arguments)?;
        let receive = start_receive(hosts, there)?;
        Ok(Ends { hosts, there, serve, receive })
    }

    /// Kills the receiver and starts another one.
    pub fn restart_receive(&mut self) -> Result<(), Box<dyn Error>> {
        self.receive.process.kill()?;
        self.receive.process.wait()?;
        self.receive = start_receive(self.hosts, self.there)?;
        Ok(())
    }

    /// An error when one has ended by itself.
    pub fn check(&mut self) -> Result<(), Box<dyn Error>> {
        for end in [&mut self.serve, &mut self.receive] {
            if let Some(status) = end.process.try_wait()? {
                return Err(format!("{} has ended: {status}\n{}", end.name, end.said()).into());
            }
        }
        Ok(())
    }

    /// Ends both as a service manager does.
    pub fn finish(self, failures: &mut Vec<String>) {
        for mut end in [self.receive, self.serve] {
            let pid = Pid::from_child(&end.process);
            if let Err(error) = kill_process(pid, Signal::TERM) {
                failures.push(format!("{}: {error}", end.name));
            }
            match end.process.wait() {
                Ok(status) if status.code() == Some(143) => {}
                ended => failures.push(format!("{} has ended: {ended:?}\n{}", end.name, end.said())),
            }
        }
    }
}

fn start_receive(hosts: &Hosts, there: &Place) -> Result<End, Box<dyn Error>> {
    let url = format!("tcp://{}:{PORT}/{CHANNEL}", hosts[0].address());
    End::start(&hosts[1], there, &["receive", &url, CHANNEL, "--insecure"])
}

/// One of the commands; killed when it is dropped.
pub struct End {
    name: String,
    process: Child,
    said: File,
}

impl End {
    fn start(host: &Host, place: &Place, arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        let command = command()?;
        let said = tempfile::tempfile()?;
        let process = host
            .command(&command, arguments)
            .env("FRAMELANE_DIR", place.path())
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said.try_clone()?)
            .spawn()
            .map_err(|error| format!("{}: {error}", command.display()))?;
        Ok(End { name: format!("framelane {}", arguments[0]), process, said })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its output.
    fn said(&self) -> String {
        use std::os::unix::fs::FileExt;
        let mut text = vec![0; 1 << 16];
        let len = self.said.read_at(&mut text, 0).unwrap_or(0);
        String::from_utf8_lossy(&text[..len]).into_owned()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `$FRAMELANE_COMMAND`, else the one that was built next to this program.
fn command() -> Result<PathBuf, Box<dyn Error>> {
    match std::env::var_os("FRAMELANE_COMMAND") {
        Some(path) => Ok(PathBuf::from(path)),
        None => Ok(std::env::current_exe()?.with_file_name("framelane")),
    }
}
