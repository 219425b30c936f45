//! `publisher CHANNEL drop|block steady|growing|churning SEED`: publishes frames that can be checked.
//!
//! Steady: random sizes, now and then larger than any before. Growing: every frame needs a new ring.
//! Churning: the channel is made and closed again and again. Prints `ready EPOCH`. Reads lines: `slots` makes
//! it print how many slots it could take, `end` publishes a last frame; the end of input closes the channel.

use std::error::Error;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use framelane::{Backpressure, FrameInfo, Layout, PixelFormat, Publisher, PublisherOptions};
use framelane_tests::{LARGEST_FRAME, Pattern, Random, SMALLEST_FRAME};

const SLOTS: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, backpressure, kind, seed] = &arguments[..] else {
        return Err("publisher CHANNEL drop|block steady|growing|churning SEED".into());
    };
    let backpressure: Backpressure = backpressure.parse()?;
    // More slots than all subscribers of a test can lease: they release none before they get the next frame.
    let options = PublisherOptions::new().backpressure(backpressure).slots(SLOTS);
    let mut random = Random::new(seed.parse()?);
    let pattern = Pattern::new();
    let orders = orders();
    if kind == "churning" {
        println!("ready");
        while orders.try_recv() != Err(TryRecvError::Disconnected) {
            let mut publisher = options.create(name)?;
            for _ in 0..random.below(3) {
                send(&mut publisher, &pattern, SMALLEST_FRAME, false)?;
            }
        }
        return Ok(());
    }
    let mut publisher = options.create(name)?;
    println!("ready {}", publisher.epoch());
    let mut most = if kind == "growing" { SMALLEST_FRAME } else { 16 << 10 };
    loop {
        match orders.try_recv() {
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
            Ok(order) if order == "slots" => println!("slots {}", count_slots(&mut publisher)?),
            Ok(order) if order == "end" => {
                while send(&mut publisher, &pattern, SMALLEST_FRAME, true)?.is_none() {}
                println!("end {}", publisher.sequence());
                // Subscribers end at the last frame; closing before they have mapped its ring would take it
                // away.
                while orders.recv().is_ok() {}
                publisher.close();
                return Ok(());
            }
            Ok(order) => return Err(format!("what is {order:?}?").into()),
        }
        let bytes = if kind == "growing" {
            most = (most + 4096).min(LARGEST_FRAME);
            most
        } else {
            if random.below(1000) == 0 {
                most = (most + 4096).min(256 << 10);
            }
            SMALLEST_FRAME + random.below((most - SMALLEST_FRAME) as u64) as usize
        };
        send(&mut publisher, &pattern, bytes, false)?;
    }
}

/// Lines from standard input; disconnected at its end.
fn orders() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn gray(bytes: usize) -> Result<Layout, framelane::Error> {
    Layout::packed(PixelFormat::Gray8, bytes as u32, 1)
}

fn send(
    publisher: &mut Publisher,
    pattern: &Pattern,
    bytes: usize,
    last: bool,
) -> Result<Option<u64>, Box<dyn Error>> {
    let sequence = publisher.sequence() + 1;
    let mut loan = match publisher.loan(&gray(bytes)?) {
        Ok(loan) => loan,
        Err(framelane::LoanError::NoFreeSlot) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    pattern.fill(loan.bytes_mut(), sequence, last);
    Ok(Some(loan.publish(&FrameInfo::default())))
}

/// Number of slots that no other process holds.
fn count_slots(publisher: &mut Publisher) -> Result<usize, Box<dyn Error>> {
    let layout = gray(SMALLEST_FRAME)?;
    let mut free = Vec::new();
    while let Ok(slot) = publisher.try_loan_owned(&layout) {
        free.push(slot);
    }
    Ok(free.len())
}
