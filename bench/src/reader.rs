//! A reading process: this binary, run again by the publishing one.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::peer::{Peer, Setup, Wait};
use crate::peers;
use crate::scenario::Scenarios;
use crate::stamp::{Kind, Stamp, now_ns};

/// Measurements of a reader in one run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Measured frames.
    pub frames: u64,
    /// Frames whose stamps disagreed, or that came out of order.
    pub wrong: u64,
    /// From just before publishing until the reader has the payload, for each measured frame.
    pub latencies_ns: Vec<u64>,
}

/// A running reader.
pub struct Reader(Child);

impl Reader {
    /// Starts a reader and waits until it is attached.
    pub fn start(peer: &dyn Peer, setup: &Setup) -> Self {
        use std::io::Read;
        let wait = if setup.wait == Wait::Poll { "poll" } else { "sleep" };
        let paced = if setup.paced { "paced" } else { "free" };
        let mut child = Command::new(std::env::current_exe().expect("our path"))
            .args(["reader", peer.name(), &setup.channel, &setup.readers.to_string(), wait, paced])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a reader process");
        let mut ready = [0; 6];
        child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("a reader that attaches");
        assert_eq!(&ready, b"ready\n");
        Reader(child)
    }

    /// True if it has ended.
    pub fn ended(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_some()
    }

    /// Returns its measurements.
    pub fn seen(self) -> Seen {
        let output = self.0.wait_with_output().expect("a child");
        assert!(output.status.success(), "a reader failed");
        serde_json::from_slice(&output.stdout).expect("a reader's account")
    }
}

/// The reading process itself.
pub fn main(args: &[String]) {
    let [peer, channel, readers, wait, paced] = args else { panic!("reader PEER CHANNEL READERS WAIT PACE") };
    let setup = Setup {
        channel: channel.clone(),
        readers: readers.parse().expect("a number"),
        wait: if wait == "poll" { Wait::Poll } else { Wait::Sleep },
        paced: paced == "paced",
        scenarios: Scenarios::load(),
    };
    let paced = setup.paced;
    let mut receiver = peers::by_name(peer).receiver(&setup);
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(b"ready\n").and_then(|()| stdout.flush()).expect("our parent");

    let mut seen = Seen { latencies_ns: Vec::with_capacity(100_000), ..Seen::default() };
    let mut last = 0;
    let mut ended = false;
    while !ended {
        receiver.receive(&mut |frame| {
            let got_ns = if paced { now_ns() } else { 0 };
            let Some(stamp) = Stamp::read(frame, paced) else {
                seen.wrong += 1;
                return;
            };
            seen.wrong += u64::from(stamp.number <= last);
            last = stamp.number;
            if stamp.kind == Kind::Measured as u64 {
                seen.frames += 1;
                if paced {
                    seen.latencies_ns.push(got_ns.saturating_sub(stamp.sent_ns));
                }
            }
            ended = stamp.kind == Kind::End as u64;
        });
    }
    drop(receiver);
    serde_json::to_writer(stdout, &seen).expect("our parent");
}
