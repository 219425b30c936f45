//! `subscriber CHANNEL newest|every HELD REPORT`: checks every frame, and holds some for a while.
//!
//! HELD: leases kept, each checked again when it is let go. REPORT: `end`; `epochs`, to print each new epoch;
//! or a number of frames after which to say so. Prints `ready`, and at the end
//! `end RECEIVED DROPPED FIRST LAST EPOCHS`.

use std::collections::VecDeque;
use std::error::Error;

use framelane::{Delivery, Frame, RecvError, SubscriberOptions};
use framelane_tests::Pattern;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [channel, delivery, held, report] = &arguments[..] else {
        return Err("subscriber CHANNEL newest|every HELD REPORT".into());
    };
    let delivery = if delivery == "every" { Delivery::Every } else { Delivery::Newest };
    let most_held: usize = held.parse()?;
    let report_after: Option<u64> = report.parse().ok();
    let pattern = Pattern::new();
    let mut subscriber = SubscriberOptions::new().delivery(delivery).open(channel)?;
    println!("ready");
    if report_after == Some(0) {
        println!("received");
    }
    let mut held: VecDeque<Frame> = VecDeque::new();
    let (mut first, mut last, mut epoch, mut epochs) = (0, 0, 0, 0);
    loop {
        let frame = match subscriber.recv() {
            Ok(frame) => frame,
            Err(RecvError::Closed) => break,
            Err(error) => return Err(error.into()),
        };
        let is_last = pattern.check(frame.bytes(), frame.sequence())?;
        if frame.sequence() <= last {
            return Err(format!("frame {} after frame {last}", frame.sequence()).into());
        }
        if first == 0 {
            first = frame.sequence() - frame.dropped();
        } else if frame.dropped() != frame.sequence() - last - 1 {
            return Err(format!("{} dropped from {last} to {}", frame.dropped(), frame.sequence()).into());
        }
        last = frame.sequence();
        if frame.epoch() != epoch {
            (epoch, epochs) = (frame.epoch(), epochs + 1);
            if report == "epochs" {
                println!("epoch {epoch} {last}");
            }
        }
        if Some(subscriber.received()) == report_after {
            println!("received");
        }
        held.push_back(frame);
        if held.len() > most_held
            && let Some(frame) = held.pop_front()
        {
            pattern.check(frame.bytes(), frame.sequence()).map_err(|error| format!("while held: {error}"))?;
        }
        if is_last {
            break;
        }
    }
    for frame in held {
        pattern.check(frame.bytes(), frame.sequence()).map_err(|error| format!("while held: {error}"))?;
    }
    println!("end {} {} {first} {last} {epochs}", subscriber.received(), subscriber.dropped());
    Ok(())
}
