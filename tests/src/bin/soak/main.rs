//! `soak MINUTES`: a publisher at 1080p as fast as it can, and six readers that look at every byte of every
//! frame, while readers come, go and are killed, sizes change, and publishers are killed, taken over, closed
//! and opened.
//!
//! Memory, descriptors, threads and the channel's directory must not grow. `scripts/soak` builds and runs it.

mod roles;
mod watched;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use framelane_tests::{Place, Random, Samples, python};
use watched::{Counts, Watched};

const READERS: usize = 6;
/// The first ones are never ended: one of each language, and of each delivery.
const STAYERS: usize = 2;

static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOPPED.store(true, Ordering::Relaxed);
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["publisher", seed] => roles::publish(seed.parse()?),
        ["reader", delivery, frames] => roles::read(delivery, frames.parse()?),
        [minutes] => Soak::new()?.run(Duration::from_secs_f64(minutes.parse::<f64>()? * 60.0)),
        _ => Err("soak MINUTES".into()),
    }
}

struct Soak {
    place: Place,
    random: Random,
    publisher: Watched,
    readers: Vec<Watched>,
    counts: Counts,
    kills: [u64; 2],
    closings: u64,
    gone: u64,
}

impl Soak {
    fn new() -> Result<Self, Box<dyn Error>> {
        // SAFETY: the handler only stores to an atomic.
        unsafe { libc::signal(libc::SIGINT, stop as *const () as libc::sighandler_t) };
        let place = Place::new();
        let mut random = Random::printed("soak");
        let publisher = Watched::publisher(&place, random.number())?;
        let mut soak = Soak {
            place,
            random,
            publisher,
            readers: Vec::new(),
            counts: Counts::default(),
            kills: [0; 2],
            closings: 0,
            gone: 0,
        };
        for index in 0..READERS {
            let reader = soak.new_reader(index)?;
            soak.readers.push(reader);
        }
        Ok(soak)
    }

    /// Stayers read until the end, the others some hundred frames. Every second reader is in Python, if it is
    /// available.
    fn new_reader(&mut self, index: usize) -> std::io::Result<Watched> {
        let python = python().filter(|_| index % 2 == 1);
        let delivery = if index < STAYERS {
            ["every", "newest"][index]
        } else {
            ["every", "newest"][self.random.below(2) as usize]
        };
        let frames = if index < STAYERS { u64::MAX } else { 20 + self.random.below(200) };
        Watched::reader(&self.place, python.as_deref(), delivery, frames)
    }

    fn run(mut self, time: Duration) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        // Some of everything in a short run too.
        let period = time.as_secs_f64() / 60.0;
        let [kill, close, sample] = [period.clamp(1.0, 8.0), period.clamp(3.0, 30.0), period.clamp(0.5, 5.0)];
        let mut due = [kill, kill / 2.0, close, sample];
        let mut samples = Samples::default();
        let mut failures = Vec::new();
        while start.elapsed() < time && failures.is_empty() && !STOPPED.load(Ordering::Relaxed) {
            // The pace of the events; nothing waits for it.
            std::thread::sleep(Duration::from_millis(50));
            let now = start.elapsed().as_secs_f64();
            if now > due[0] {
                due[0] = now + kill * (0.5 + self.random.below(100) as f64 / 100.0);
                self.replace_publisher(true, &mut failures)?;
            }
            if now > due[1] {
                due[1] = now + kill / 2.0;
                let victim = STAYERS + self.random.below((READERS - STAYERS) as u64) as usize;
                self.kills[1] += u64::from(self.readers[victim].kill());
            }
            if now > due[2] {
                due[2] = now + close;
                self.replace_publisher(false, &mut failures)?;
            }
            if now > due[3] {
                due[3] = now + sample;
                self.take_samples(&mut samples)?;
                self.tell(now, time);
            }
            self.look_after_readers(&mut failures)?;
        }
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        self.finish(&mut failures)?;
        samples.judge("soak", &mut failures);
        self.report(minutes);
        for failure in &failures {
            println!("soak: FAILED: {failure}");
        }
        if failures.is_empty() { Ok(()) } else { Err("the soak has failed".into()) }
    }

    /// Looks at this process, at the readers that stay, and at the directory.
    fn take_samples(&self, samples: &mut Samples) -> std::io::Result<()> {
        for stayer in &self.readers[..STAYERS] {
            // By their own names: without a Python, both are in Rust.
            samples.take(stayer.name(), stayer.id())?;
        }
        samples.take("the soak itself", std::process::id())?;
        samples.count("files in the directory", self.place.files().len());
        Ok(())
    }

    fn replace_publisher(&mut self, kill: bool, failures: &mut Vec<String>) -> std::io::Result<()> {
        if kill {
            self.kills[0] += u64::from(self.publisher.kill());
        } else {
            self.publisher.close_input();
            self.closings += 1;
        }
        let next = self.random.number();
        let mut old = std::mem::replace(&mut self.publisher, Watched::nobody());
        // Also when it was to be killed: it may have ended by itself before, which must not pass for a kill.
        failures.extend(old.wait(&mut self.counts).err());
        self.publisher = Watched::publisher(&self.place, next)?;
        Ok(())
    }

    /// Reads the reports of readers; replaces those that have ended.
    fn look_after_readers(&mut self, failures: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
        self.publisher.listen(&mut self.counts);
        for index in 0..READERS {
            if let Some(ended) = self.readers[index].ended(&mut self.counts) {
                if let Err(fault) = ended {
                    failures.push(fault);
                } else if index < STAYERS {
                    failures.push(format!("reader {index} ended, which should have stayed"));
                }
                self.gone += 1;
                self.readers[index] = self.new_reader(index)?;
            }
        }
        Ok(())
    }

    /// Ends all processes; no file is left.
    fn finish(&mut self, failures: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
        for reader in &mut self.readers {
            reader.close_input();
        }
        for index in 0..READERS {
            // A reader reads its input between frames, which must continue until it has.
            if let Err(fault) = self.readers[index].wait(&mut self.counts) {
                failures.push(fault);
            }
        }
        self.publisher.close_input();
        if let Err(fault) = self.publisher.wait(&mut self.counts) {
            failures.push(fault);
        }
        let left = self.place.files();
        if !left.is_empty() {
            failures.push(format!("files are left: {left:?}"));
        }
        Ok(())
    }

    fn tell(&self, now: f64, time: Duration) {
        println!(
            "{:5.1} of {:.1} min: {} frames published, {} checked, {} torn; {} publishers and {} readers \
             killed",
            now / 60.0,
            time.as_secs_f64() / 60.0,
            self.counts.published,
            self.counts.checked,
            self.counts.torn,
            self.kills[0],
            self.kills[1]
        );
    }

    fn report(&self, minutes: f64) {
        let Counts { published, unplaced, checked, torn, rings } = self.counts;
        println!(
            "soak: {minutes:.1} minutes, {published} frames published, {checked} frames checked, torn \
             frames: {torn}"
        );
        println!("soak: {unplaced} frames found no slot free");
        println!(
            "soak: {} publishers killed and taken over, {} closed and opened, {rings} changes of size, {} readers killed, \
             {} came and went",
            self.kills[0], self.closings, self.kills[1], self.gone
        );
    }
}
