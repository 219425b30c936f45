//! Information that the system has about other processes.

use std::os::fd::AsFd;

#[cfg(framelane_testing)]
use rustix::process::{Signal, getpid, kill_process};

use super::file_id::FileId;
use crate::terminal::plain;

/// The name of a process that has `file` mapped; `None` when the system shows no such process.
///
/// The id may be of another pid namespace: then it is no process here, or one that does not map the file.
pub(crate) fn process_name(pid: u32, file: impl AsFd) -> Option<String> {
    let inode = FileId::open(file).ok()?.inode();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    // ADDRESSES PERMISSIONS OFFSET DEVICE INODE PATH
    let maps_it = maps.lines().any(|line| {
        line.split_ascii_whitespace().nth(4).and_then(|field| field.parse::<u64>().ok()) == Some(inode)
    });
    if !maps_it {
        return None;
    }
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    shown_name(&name)
}

/// Kills this process with `SIGKILL`.
#[cfg(framelane_testing)]
pub(crate) fn kill_this_process() {
    kill_process(getpid(), Signal::KILL).expect("a process can kill itself");
}

/// Stops this process with `SIGSTOP`.
#[cfg(framelane_testing)]
pub(crate) fn stop_this_process() {
    kill_process(getpid(), Signal::STOP).expect("a process can stop itself");
}

/// The name without characters that change a terminal: a process chooses its name.
fn shown_name(comm: &[u8]) -> Option<String> {
    let name = plain(String::from_utf8_lossy(comm).trim_end());
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_name_cannot_change_a_terminal() {
        for (comm, shown) in [
            (&b"camera\n"[..], Some("camera")),
            ("a\u{202e}b\u{1b}c\u{2066}d\n".as_bytes(), Some("a?b?c?d")),
            (b"a\xffb\n", Some("a\u{fffd}b")),
            (b"\n", None),
        ] {
            assert_eq!(shown_name(comm).as_deref(), shown);
        }
    }
}
