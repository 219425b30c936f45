//! `link_soak MINUTES`: a camera that publishes more than the network carries, and a receiver that is killed
//! and restarted repeatedly, while one reader stays attached and checks every byte that arrives.
//!
//! Two hosts are joined by an emulated network that delays, loses and limits packets. On one of them this
//! process publishes, and `framelane serve` sends. On the other one `framelane receive` writes into a local
//! channel, which this process reads. No frame may be torn, arrive twice, or after a later one. Frames must
//! not get older, and the memory of `serve` must not grow. `scripts/link-soak` builds and runs it.

mod camera;
mod ends;
mod log;
mod reader;

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ends::Ends;
use framelane_tests::{Hosts, Place, Samples, Wire, skip};
use log::Log;

const CHANNEL: &str = "cam0";
/// A tenth of the bytes of the camera.
const WIRE: Wire = Wire {
    delay: Duration::from_millis(30),
    jitter: Duration::from_millis(2),
    loss: 0.01,
    rate_bits_per_second: Some(20_000_000),
    queue_bytes: 256 << 10,
};
/// Lifetime of a receiver.
const LIFE: Duration = Duration::from_secs(20);
const SAMPLE: Duration = Duration::from_secs(3);

static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOPPED.store(true, Ordering::Relaxed);
}

fn main() -> ExitCode {
    let Some(minutes) = std::env::args().nth(1).and_then(|minutes| minutes.parse::<f64>().ok()) else {
        eprintln!("link_soak MINUTES");
        return ExitCode::from(2);
    };
    if let Err(reason) = Hosts::permitted() {
        skip("network-namespaces", reason);
        return ExitCode::SUCCESS;
    }
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { libc::signal(signal, stop as *const () as libc::sighandler_t) };
    }
    let failures = soak(Duration::from_secs_f64(minutes * 60.0));
    for failure in &failures {
        println!("link soak: FAILED: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs for so long; what must not be and was.
fn soak(time: Duration) -> Vec<String> {
    let hosts = Hosts::new(2, WIRE);
    let (here, there) = (Place::new(), Place::new());
    let (log, end) = (Log::default(), AtomicBool::new(false));
    let mut failures = Vec::new();
    let mut samples = Samples::default();
    let (mut restarts, mut taken) = (0, 0);
    let ended = std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        // Also when this closure fails: the threads must end for the scope to.
        let _end = SetWhenDropped(&end);
        scope.spawn(|| log.note(camera::publish(&here, &log, &end)));
        scope.spawn(|| log.note(reader::read(&there, &log, &end)));
        let mut ends = Ends::start(&hosts, &here, &there)?;
        let start = Instant::now();
        // Some kills in a short run too.
        let life = LIFE.min(time / 5);
        let mut due = start + life;
        while start.elapsed() < time && !log.has_faults() && !STOPPED.load(Ordering::Relaxed) {
            // The pace of the events; nothing waits for it.
            std::thread::sleep(Duration::from_millis(50));
            ends.check()?;
            // Only one whose frames have arrived: each restart is to be seen by the reader.
            if Instant::now() > due && log.lives() > restarts {
                ends.restart_receive()?;
                restarts += 1;
                due = Instant::now() + life;
            }
            if start.elapsed() > SAMPLE * taken {
                taken += 1;
                samples.take("serve", ends.serve.id())?;
                log.tell(start.elapsed(), restarts);
            }
        }
        end.store(true, Ordering::Relaxed);
        ends.finish(&mut failures);
        Ok(())
    });
    failures.extend(ended.err().map(|error| error.to_string()));
    for (place, host) in [(&here, "the camera's"), (&there, "the receiver's")] {
        if !place.files().is_empty() {
            failures.push(format!("files are left on {host} host: {:?}", place.files()));
        }
    }
    failures.extend(log.judge(restarts));
    samples.judge("link soak", &mut failures);
    println!("link soak: packets to the receiver's host: {:?}", hosts.counts(0, 1));
    // It decides the throughput of TCP here: reno reaches about a sixth of bbr.
    let control = hosts[0].run(|| std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control"));
    println!("link soak: TCP's congestion control: {}", control.unwrap_or_default().trim_end());
    failures
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
