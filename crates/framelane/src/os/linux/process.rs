//! What the system shows of other processes.

use std::os::fd::AsFd;

use super::files::FileId;

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
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    // Not trusted: a process chooses its name.
    let name: String = name.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    (!name.is_empty()).then_some(name)
}
