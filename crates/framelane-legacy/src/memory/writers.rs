//! Shows that no program is in the middle of a write to a mapping.
//!
//! The format has no lock. The kernel knows more: a thread that sleeps is not in the middle of a copy, and
//! neither is one that has slept, or has used much processor time, since the memory last changed. A thread
//! that was preempted or stopped has done neither. All of it is read from `/proc`: the threads of every
//! process that has the mapping mapped for writing, or the file open for it.
//!
//! Processes of other users and of other PID namespaces are not visible. A change that no known thread can
//! have made shows that there is one. Then nothing is shown here, and the caller has to find other evidence.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{major, minor};

/// Time between two searches for processes.
const SCAN: Duration = Duration::from_secs(1);
/// The slowest copy, in bytes a microsecond of processor time. A thread that has run longer without a change
/// is not copying.
const SLOWEST_COPY: usize = 500;
/// The least processor time that counts. The kernel's account of a running thread lags behind, and a virtual
/// machine counts time in which its host runs others: 4 ms without progress were seen.
const LEAST_RUN: Duration = Duration::from_millis(10);

/// The state of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Activity {
    is_asleep: bool,
    /// By a signal, a debugger, or the wait for a page.
    is_stopped: bool,
    /// Number of times it went to sleep.
    sleeps: u64,
    /// Number of times it left a processor while it had work to do.
    preemptions: u64,
    /// Number of times it got a processor; `None` where the kernel does not count.
    runs: Option<u64>,
    /// Processor time; 0 where the kernel does not account for it.
    cpu_ns: u64,
}

impl Activity {
    fn parse(status: &str, schedstat: &str) -> Option<Self> {
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|text| text.split_whitespace().next())
        };
        let mut numbers = schedstat.split_whitespace().map(|text| text.parse().ok());
        let cpu_ns = numbers.next().flatten().unwrap_or(0);
        Some(Activity {
            // Sleeping, idle, or dead. Not D: a page that is read back from swap leaves a thread so, in the
            // middle of a copy.
            is_asleep: matches!(field("State:")?, "S" | "I" | "Z" | "X"),
            is_stopped: matches!(field("State:")?, "T" | "t" | "D"),
            sleeps: field("voluntary_ctxt_switches:")?.parse().ok()?,
            preemptions: field("nonvoluntary_ctxt_switches:")?.parse().ok()?,
            runs: numbers.nth(1).flatten(),
            cpu_ns,
        })
    }

    /// Times it got a processor less times it left one: constant while it has none, and one more while it has
    /// one.
    fn balance(&self) -> Option<u64> {
        Some(self.runs?.wrapping_sub(self.sleeps + self.preemptions))
    }

    /// Returns true if it has run since `before`, or may be running.
    fn has_run_since(&self, before: &Activity) -> bool {
        match (self.runs, before.runs) {
            (Some(now), Some(then)) => now != then,
            _ => !self.is_asleep || !before.is_asleep || self.sleeps != before.sleeps,
        }
    }
}

#[derive(Debug)]
struct Thread {
    id: u32,
    process: u32,
    status: File,
    schedstat: Option<File>,
    /// The last observation, and whether the thread was outside a write then.
    seen: Activity,
    is_outside: bool,
    /// [`Activity::balance`] while it has no processor, once it was seen asleep.
    idle_balance: Option<u64>,
    /// At the last [`Writers::mark`].
    marked: Activity,
    /// At the start of the window, and whether the thread was outside a write since then.
    began: Activity,
    is_cleared: bool,
    /// Processor time at an update of the kernel's account within the window.
    ran_from_ns: Option<u64>,
}

impl Thread {
    fn open(process: u32, id: u32) -> Option<Self> {
        let folder = PathBuf::from(format!("/proc/{process}/task/{id}"));
        let status = File::open(folder.join("status")).ok()?;
        let schedstat = File::open(folder.join("schedstat")).ok();
        let mut thread = Thread {
            id,
            process,
            status,
            schedstat,
            seen: Activity::default(),
            is_outside: false,
            idle_balance: None,
            marked: Activity::default(),
            began: Activity::default(),
            is_cleared: false,
            ran_from_ns: None,
        };
        let now = thread.read()?;
        (thread.marked, thread.began) = (now, now);
        thread.see(&now);
        Some(thread)
    }

    /// `None` when the thread has ended.
    fn read(&self) -> Option<Activity> {
        let text = |file: &File| {
            let mut bytes = [0; 4096];
            let count = file.read_at(&mut bytes, 0).ok()?;
            String::from_utf8(bytes[..count].to_vec()).ok()
        };
        let schedstat = || self.schedstat.as_ref().and_then(text).unwrap_or_default();
        loop {
            // Two files: of one instant when the thread did not get a processor in between.
            let now = Activity::parse(&text(&self.status)?, &schedstat())?;
            let again = Activity::parse(&text(&self.status)?, "")?;
            if (now.is_asleep, now.sleeps, now.preemptions)
                == (again.is_asleep, again.sleeps, again.preemptions)
            {
                return Some(now);
            }
        }
    }

    /// Finds out whether it is outside a write: asleep, or waiting for a processor since it was.
    ///
    /// The kernel counts a stop, and the wait for a page, as sleep: after those it must be seen asleep again.
    fn see(&mut self, now: &Activity) {
        if now.is_asleep {
            self.idle_balance = now.balance();
        } else if now.is_stopped {
            self.idle_balance = None;
        }
        let is_waiting = now.balance().is_some() && now.balance() == self.idle_balance;
        let is_outside = if (now.sleeps, now.preemptions) == (self.seen.sleeps, self.seen.preemptions) {
            self.is_outside
        } else {
            now.preemptions == self.seen.preemptions
        };
        self.is_outside = now.is_asleep || (is_waiting && is_outside);
        self.seen = *now;
    }

    fn observe(&mut self, now: &Activity, run_ns: u64) {
        self.see(now);
        if self.is_outside || (self.idle_balance.is_some() && now.sleeps != self.began.sleeps) {
            self.is_cleared = true;
        } else if let Some(from) = self.ran_from_ns {
            self.is_cleared |= now.cpu_ns.saturating_sub(from) >= run_ns;
        } else if now.cpu_ns != self.began.cpu_ns {
            self.ran_from_ns = Some(now.cpu_ns);
        }
    }
}

/// The threads that may write to one mapping.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    file: Option<(u64, u64)>,
    path: PathBuf,
    processes: Vec<u32>,
    threads: Vec<Thread>,
    scanned: Option<Instant>,
    /// A change was seen that a known thread can have made.
    is_explained: bool,
    /// A change was seen that no known thread can have made.
    is_hidden: bool,
}

impl Writers {
    /// Follows the programs that have this file. Call it before each use: it looks for new ones from time to
    /// time.
    pub(crate) fn follow(&mut self, path: &Path, file: &Metadata) {
        let id = (file.dev(), file.ino());
        if self.file != Some(id) {
            *self = Writers { file: Some(id), path: path.to_owned(), ..Writers::default() };
        }
        // Often while there is none, so that one that has just started is found.
        let pause = if self.processes.is_empty() { SCAN / 10 } else { SCAN };
        if self.scanned.is_none_or(|scanned| scanned.elapsed() >= pause) {
            self.scan();
        }
    }

    /// Returns true if what this knows of the threads can be evidence.
    pub(crate) fn is_known(&self) -> bool {
        !self.threads.is_empty() && self.is_explained && !self.is_hidden
    }

    /// One of the processes, for a message.
    pub(crate) fn process(&self) -> Option<u32> {
        self.processes.first().copied()
    }

    /// Notes what every thread does now; returns whether all are outside a write.
    pub(crate) fn mark(&mut self) -> bool {
        self.list_threads();
        self.threads.retain_mut(|thread| match thread.read() {
            Some(now) => {
                thread.see(&now);
                thread.marked = now;
                true
            }
            None => false,
        });
        self.threads.iter().all(|thread| thread.is_outside)
    }

    /// Returns true if no thread has run since [`Writers::mark`].
    pub(crate) fn have_not_run(&self) -> bool {
        self.threads.iter().all(|thread| thread.read().is_none_or(|now| !now.has_run_since(&thread.marked)))
    }

    /// Begins a window in which the memory does not change.
    pub(crate) fn begin(&mut self) {
        for thread in &mut self.threads {
            thread.began = thread.read().unwrap_or(thread.began);
            (thread.is_cleared, thread.ran_from_ns) = (false, None);
        }
    }

    /// Returns true if each thread was outside a write at some time since [`Writers::begin`]. `bytes`: the
    /// size of a frame.
    ///
    /// A thread that is new since then does not count: had it begun to write, the memory would have changed.
    pub(crate) fn are_outside(&mut self, bytes: usize) -> bool {
        let run = LEAST_RUN.max(Duration::from_micros((bytes / SLOWEST_COPY) as u64));
        let run_ns = u64::try_from(run.as_nanos()).unwrap_or(u64::MAX);
        self.threads.retain_mut(|thread| match thread.read() {
            Some(now) => {
                thread.observe(&now, run_ns);
                true
            }
            None => false,
        });
        self.threads.iter().all(|thread| thread.is_cleared)
    }

    /// Compares a change of the memory since [`Writers::mark`] with what the threads have done since then.
    pub(crate) fn explain(&mut self) {
        let is_running =
            |now: &Activity, thread: &Thread| !now.is_asleep && now.balance() != thread.idle_balance;
        let has_run = |thread: &Thread| {
            is_running(&thread.marked, thread)
                || thread.read().is_none_or(|now| now.has_run_since(&thread.marked))
        };
        if self.threads.iter().any(has_run) {
            self.is_explained = true;
        } else if !self.threads.is_empty() || !self.processes.is_empty() {
            // A new thread or process, or one that is not visible.
            let before = self.processes.clone();
            let threads = self.threads.len();
            self.scan();
            if self.processes == before && self.threads.len() == threads {
                self.is_hidden = true;
            }
        }
    }

    fn scan(&mut self) {
        self.scanned = Some(Instant::now());
        let own = std::process::id();
        let Ok(entries) = fs::read_dir("/proc") else { return };
        let processes = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let found: Vec<u32> = processes.filter(|&id| id != own && self.may_write(id)).collect();
        if found != self.processes {
            self.threads.retain(|thread| found.contains(&thread.process));
            self.processes = found;
        }
        self.list_threads();
    }

    fn list_threads(&mut self) {
        for &process in &self.processes {
            let Ok(entries) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
            for id in ids {
                if !self.threads.iter().any(|thread| (thread.process, thread.id) == (process, id)) {
                    self.threads.extend(Thread::open(process, id));
                }
            }
        }
    }

    /// Returns true if the process has the file mapped for writing, or open for it.
    fn may_write(&self, process: u32) -> bool {
        let Some((device, inode)) = self.file else { return false };
        let (device, inode) = (format!("{:02x}:{:02x}", major(device), minor(device)), inode.to_string());
        let maps = fs::read(format!("/proc/{process}/maps")).unwrap_or_default();
        let maps = String::from_utf8_lossy(&maps);
        let is_mapped = maps.lines().any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let permissions = fields.next().unwrap_or_default();
            permissions.contains('w')
                && permissions.ends_with('s')
                && fields.nth(1) == Some(&device)
                && fields.next() == Some(&inode)
        });
        is_mapped || self.has_open(process)
    }

    fn has_open(&self, process: u32) -> bool {
        let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
        entries.flatten().any(|entry| {
            let is_it = fs::read_link(entry.path()).is_ok_and(|target| target == self.path);
            is_it && is_open_for_writing(process, &entry.file_name().to_string_lossy())
        })
    }
}

fn is_open_for_writing(process: u32, descriptor: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/{process}/fdinfo/{descriptor}")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    // O_WRONLY is 1, O_RDWR is 2, in octal digits.
    flags.is_some_and(|flags| flags.trim_end().ends_with(['1', '2']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(state: &str, sleeps: u64, preemptions: u64, cpu_ns: u64) -> Activity {
        running(state, sleeps, preemptions, cpu_ns, 9)
    }

    fn running(state: &str, sleeps: u64, preemptions: u64, cpu_ns: u64, runs: u64) -> Activity {
        let status = format!(
            "Name:\ta\nState:\t{state} (x)\nvoluntary_ctxt_switches:\t{sleeps}\nnonvoluntary_ctxt_switches:\t{preemptions}\n"
        );
        Activity::parse(&status, &format!("{cpu_ns} 7 {runs}\n")).unwrap()
    }

    #[test]
    fn activity_of_a_sleeping_thread_is_parsed() {
        let found = activity("S", 3, 4, 5);
        let expected = Activity {
            is_asleep: true,
            is_stopped: false,
            sleeps: 3,
            preemptions: 4,
            runs: Some(9),
            cpu_ns: 5,
        };
        assert_eq!(found, expected);
        for state in ["R", "D", "T", "t"] {
            assert!(!activity(state, 0, 0, 0).is_asleep, "{state}");
        }
        assert_eq!(Activity::parse("State:\tS (sleeping)\n", "1 2 3"), None);
    }

    #[test]
    fn thread_that_waits_for_a_processor_since_it_slept_is_outside() {
        let own = std::process::id();
        let mut thread = Thread::open(own, own).unwrap();
        let mut see = |now: &Activity| {
            thread.see(now);
            thread.is_outside
        };
        assert!(!see(&running("R", 5, 5, 0, 21)), "running, or not: nothing is known yet");
        assert!(see(&running("S", 6, 5, 0, 20)));
        assert!(see(&running("R", 6, 5, 0, 20)), "woken, and waiting");
        assert!(!see(&running("R", 6, 5, 0, 21)), "running");
        assert!(!see(&running("R", 6, 6, 0, 21)), "preempted");
        assert!(!see(&running("T", 7, 6, 0, 22)), "stopped, which counts as sleep");
        assert!(!see(&running("R", 7, 6, 0, 22)), "continued");
        assert!(see(&running("S", 8, 6, 0, 23)), "asleep again");
    }

    #[test]
    fn preempted_thread_is_not_outside_a_write() {
        let own = std::process::id();
        let mut thread = Thread::open(own, own).unwrap();
        thread.began = activity("R", 1, 1, 1_000_000);
        thread.observe(&activity("R", 1, 9, 1_000_000), 2_000_000);
        assert!(!thread.is_cleared);
        // Processor time counts from an update within the window.
        thread.observe(&activity("R", 1, 9, 5_000_000), 2_000_000);
        assert!(!thread.is_cleared);
        thread.observe(&activity("R", 1, 9, 7_000_000), 2_000_000);
        assert!(thread.is_cleared);
        thread.is_cleared = false;
        thread.observe(&activity("T", 2, 9, 0), 2_000_000);
        assert!(!thread.is_cleared, "stopped");
        thread.observe(&activity("S", 3, 9, 0), 2_000_000);
        assert!(thread.is_cleared);
    }
}
