//! A limit for whole tests, whose calls may block where no deadline reaches.

use std::backtrace::Backtrace;
use std::io::Write;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline;

/// A whole test may take as long as this many waits.
const WAITS: u32 = 8;
/// A deep run lasts hours, as `FRAMELANE_DEPTH` asks.
const DEEP: u32 = 60;

struct Test {
    name: String,
    thread: libc::pid_t,
    began: Instant,
}

static TESTS: Mutex<Vec<Test>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

/// Ends the process when the test that made it takes longer than eight deadlines.
///
/// The report names the test, shows where its thread waits, and lists the processes that it has started.
/// Outside of tests, on a program's main thread, there is no limit.
pub struct Limit(Option<libc::pid_t>);

impl Default for Limit {
    fn default() -> Self {
        Self::new()
    }
}

impl Limit {
    /// Limits the test of this thread. A second limit of the same test changes nothing.
    ///
    /// # Panics
    /// When the watching thread cannot be started.
    pub fn new() -> Self {
        let name = std::thread::current().name().unwrap_or("main").to_owned();
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        let mut tests = TESTS.lock().expect("the list of tests");
        if name == "main" || tests.iter().any(|test| test.thread == thread) {
            return Limit(None);
        }
        tests.push(Test { name, thread, began: Instant::now() });
        drop(tests);
        WATCH.call_once(|| {
            let watch = std::thread::Builder::new().name("test-limit".into());
            watch.spawn(watch_tests).expect("a thread");
        });
        Limit(Some(thread))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Some(thread) = self.0 {
            TESTS.lock().expect("the list of tests").retain(|test| test.thread != thread);
        }
    }
}

fn limit() -> Duration {
    let deep = std::env::var("FRAMELANE_DEPTH").is_ok_and(|depth| depth == "deep");
    deadline() * WAITS * if deep { DEEP } else { 1 }
}

fn watch_tests() {
    let limit = limit();
    loop {
        std::thread::sleep((limit / 8).min(Duration::from_secs(1)));
        let tests = TESTS.lock().expect("the list of tests");
        if let Some(test) = tests.iter().find(|test| test.began.elapsed() >= limit) {
            end_hung(test, limit);
        }
    }
}

fn end_hung(test: &Test, limit: Duration) -> ! {
    let mut out = std::io::stderr();
    let _ = writeln!(
        out,
        "\ntest {} did not end within {} s. Its thread waits here:",
        test.name,
        limit.as_secs_f64()
    );
    // SAFETY: the handler has the signature that `signal` needs. This process is about to end, so that no
    // previous handler is missed.
    unsafe { libc::signal(libc::SIGUSR2, print_backtrace as *const () as libc::sighandler_t) };
    let process = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: `tgkill` takes three integers. An id without a thread is an error, which changes nothing.
    unsafe { libc::syscall(libc::SYS_tgkill, process, test.thread, libc::SIGUSR2) };
    std::thread::sleep(Duration::from_secs(5));
    for (pid, command) in children() {
        let _ = writeln!(out, "process {pid} runs: {command}");
        let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
    }
    // SAFETY: ends the process at once, and takes an integer.
    unsafe { libc::_exit(101) }
}

/// Runs on the thread that hangs. It may deadlock with that thread, and the process ends anyway.
extern "C" fn print_backtrace(_: libc::c_int) {
    let _ = writeln!(std::io::stderr(), "{}", Backtrace::force_capture());
}

/// The processes that this one has started, with their command lines.
fn children() -> Vec<(i32, String)> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        (parent == own)
            .then(|| (pid, String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hung_test_fails_and_shows_where_it_waits() {
        let test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["limit::tests::hung", "--exact", "--ignored"])
            .env("FRAMELANE_TEST_DEADLINE", "0")
            .env_remove("FRAMELANE_DEPTH")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&test.stderr);
        assert_eq!(test.status.code(), Some(101), "{text}");
        assert!(text.contains("test limit::tests::hung did not end within 0 s"), "{text}");
        assert!(text.contains("limit.rs:") && text.contains("blocks"), "{text}");
        assert!(text.contains("runs: sleep 1000"), "{text}");
    }

    #[test]
    #[ignore = "the test above runs it and expects it to hang"]
    fn hung() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let _limit = Limit::new();
        blocks(&mut child);
    }

    #[inline(never)]
    fn blocks(child: &mut std::process::Child) {
        child.wait().unwrap();
    }
}
