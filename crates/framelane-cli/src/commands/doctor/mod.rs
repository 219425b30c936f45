//! `framelane doctor`

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use framelane::{Diagnosis, Leftover, Leftovers};
use rustix::fs::{Access, access};

use crate::failure::Failure;
use crate::global::Global;
use crate::reporter::Reporter;
use crate::table::human_bytes;

/// A file system of this size is what containers get by default, and too small for 1080p.
const SMALL_TOTAL_BYTES: u64 = 64 << 20;
/// Ten 1080p frames.
const LITTLE_FREE_BYTES: u64 = 64 << 20;
/// Less holds no channel worth its name (six 640x480 frames are 5.3 MiB): a fault, where a small file system
/// is none.
const TOO_LITTLE_FREE_BYTES: u64 = 8 << 20;
/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of `statfs(2)`.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Find and remove files that a crash left; check the space for channels.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane doctor            only report
  framelane doctor --fix      remove what a crash left; live channels are never touched
  framelane doctor --json | jq '.findings[]'

Exit codes: 0 healthy, or all problems fixed; 1 a problem remains. Notes are not problems.")]
pub struct Doctor {
    /// Remove files that a crash left
    #[arg(long)]
    fix: bool,
}

#[derive(serde::Serialize)]
struct Report {
    healthy: bool,
    directory: String,
    free_bytes: u64,
    total_bytes: u64,
    live_channels: usize,
    leftovers: Vec<LeftoverReport>,
    findings: Vec<Finding>,
}

#[derive(serde::Serialize)]
struct LeftoverReport {
    channel: String,
    reason: String,
    files: Vec<String>,
    bytes: u64,
    removed: bool,
    removable: bool,
}

/// Something about the directory.
#[derive(serde::Serialize)]
struct Finding {
    kind: &'static str,
    /// `warning`, or `note` if it is no fault.
    severity: &'static str,
    message: String,
    hint: String,
}

impl Doctor {
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let leftovers = if self.fix { Leftovers::Remove } else { Leftovers::Report };
        let diagnosis = framelane::doctor(global.dir.as_deref(), leftovers)?;
        let mut findings = room(diagnosis.free_bytes, diagnosis.total_bytes);
        if diagnosis.directory.exists() {
            findings.extend(file_system(&diagnosis.directory));
            findings.extend(permissions(&diagnosis.directory));
        } else {
            findings.push(missing(&diagnosis.directory));
        }
        findings.extend(diagnosis.starved.iter().map(|starved| Finding {
            kind: "slots",
            severity: "warning",
            message: starved.reason.clone(),
            hint: starved.hint.clone(),
        }));
        let left = diagnosis.leftovers.iter().any(|leftover| !leftover.removed);
        let healthy = !left && findings.iter().all(|finding| finding.severity == "note");
        let report = Report::new(diagnosis, findings, healthy);
        Reporter::new(global.json).result(&report, || report.text())?;
        Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn room(free_bytes: u64, total_bytes: u64) -> Vec<Finding> {
    let severity = if free_bytes < TOO_LITTLE_FREE_BYTES { "warning" } else { "note" };
    let mut findings = Vec::new();
    let mut warn = |message: String, hint: &str| {
        let hint = hint.to_owned();
        findings.push(Finding { kind: "room", severity, message, hint });
    };
    if total_bytes <= SMALL_TOTAL_BYTES {
        warn(
            format!(
                "the file system has {} in all, the default of containers; six 1080p bgr8 frames need 36 MiB",
                human_bytes(total_bytes)
            ),
            "start the container with more (docker run --shm-size=1g; Kubernetes: an emptyDir with medium Memory at \
             /dev/shm), or `mount -o remount,size=1g /dev/shm`",
        );
    } else if free_bytes < LITTLE_FREE_BYTES {
        warn(
            format!(
                "{} are free of {}: expected {} or more",
                human_bytes(free_bytes),
                human_bytes(total_bytes),
                human_bytes(LITTLE_FREE_BYTES)
            ),
            "remove leftovers (`framelane doctor --fix`) and other large files there (`du -a` lists them), use fewer \
             --slots, or enlarge the file system",
        );
    }
    findings
}

/// A directory that no publisher has made yet.
fn missing(directory: &Path) -> Finding {
    let exists = directory.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
    if access(exists, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Finding {
            kind: "permissions",
            severity: "warning",
            message: format!(
                "{} does not exist, and this user cannot create it: no permission to write in {}",
                directory.display(),
                exists.display()
            ),
            hint: "set FRAMELANE_DIR to a directory that you can write to, preferably on tmpfs (/dev/shm)"
                .to_owned(),
        };
    }
    Finding {
        kind: "directory",
        severity: "note",
        message: format!("{} does not exist yet: the first publisher creates it", directory.display()),
        hint: "start a publisher; if one runs, pass its directory (--dir, FRAMELANE_DIR)".to_owned(),
    }
}

fn file_system(directory: &Path) -> Option<Finding> {
    let found = rustix::fs::statfs(directory).ok()?;
    #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    let in_memory = IN_MEMORY.contains(&(found.f_type as i64));
    (!in_memory).then(|| Finding {
        kind: "file_system",
        severity: "note",
        message: format!("{} is not on a tmpfs: frames may be written to a disk", directory.display()),
        hint: "use a directory under /dev/shm".to_owned(),
    })
}

fn permissions(directory: &Path) -> Option<Finding> {
    let warn = |message: String, hint: String| {
        Some(Finding { kind: "permissions", severity: "warning", message, hint })
    };
    let path = directory.display();
    if access(directory, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return warn(
            format!("expected to read and write in {path}, found that the system refuses it"),
            format!(
                "check its owner (`ls -ld {path}`); change it with `chmod` and `chgrp`, or set FRAMELANE_DIR"
            ),
        );
    }
    let mode = std::fs::metadata(directory).ok()?.mode() & 0o7777;
    (mode & 0o1002 == 0o0002).then_some(())?;
    warn(
        format!("anyone can remove and replace files in {path} (mode {mode:04o})"),
        format!("`chmod 0700 {path}`, 0770 for a group, or 1777 as /tmp has it"),
    )
}

impl Report {
    fn new(diagnosis: Diagnosis, findings: Vec<Finding>, healthy: bool) -> Self {
        Report {
            healthy,
            directory: diagnosis.directory.display().to_string(),
            free_bytes: diagnosis.free_bytes,
            total_bytes: diagnosis.total_bytes,
            live_channels: diagnosis.live_channels,
            leftovers: diagnosis.leftovers.into_iter().map(LeftoverReport::new).collect(),
            findings,
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![
            format!("directory      {}", self.directory),
            format!(
                "room           {} free of {}",
                human_bytes(self.free_bytes),
                human_bytes(self.total_bytes)
            ),
            format!("live channels  {}", self.live_channels),
        ];
        for leftover in &self.leftovers {
            let (files, bytes) = (leftover.files.len(), human_bytes(leftover.bytes));
            let done = if leftover.removed { "removed" } else { "left over" };
            lines.push(format!(
                "{done}: channel {} ({files} files, {bytes}): {}",
                leftover.channel, leftover.reason
            ));
        }
        if self.leftovers.iter().any(|leftover| !leftover.removed && leftover.removable) {
            lines.push(
                "  hint: `framelane doctor --fix` removes it; a new publisher takes the channel over"
                    .to_owned(),
            );
        }
        for finding in &self.findings {
            lines.push(format!("{}: {}\n  hint: {}", finding.severity, finding.message, finding.hint));
        }
        if self.healthy {
            lines.push("all is well".to_owned());
        }
        lines.join("\n")
    }
}

impl LeftoverReport {
    fn new(leftover: Leftover) -> Self {
        LeftoverReport {
            channel: leftover.channel,
            reason: leftover.reason,
            files: leftover.files.iter().map(|file| file.display().to_string()).collect(),
            bytes: leftover.bytes,
            removed: leftover.removed,
            removable: leftover.removable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_memory_of_a_default_container_is_found_too_small() {
        assert!(room(64 << 20, 64 << 20)[0].hint.contains("--shm-size"));
        // Worth a word, but healthy: every container begins like that.
        assert_eq!(room(64 << 20, 64 << 20)[0].severity, "note");
        assert_eq!(room(20 << 20, 8 << 30)[0].severity, "note");
        for total in [64 << 20, 8 << 30] {
            assert_eq!(room(7 << 20, total)[0].severity, "warning");
        }
        assert!(room(1 << 20, 8 << 30)[0].message.contains("1.0 MiB are free of 8.0 GiB"));
        assert!(room(4 << 30, 8 << 30).is_empty());
    }
}
