//! `puppet CHANNEL`: does what standard input says, line by line, and answers `done` to each.
//!
//! `kill STEP TIMES` and `stop STEP` choose where the process is to end or stop, see `framelane::testing`.
//! A publisher: `create drop|block SLOTS`, `send BYTES`, `skip`, `close`. A subscriber: `open newest|every`,
//! `receive` (and hold), `release` (all that is held), `leave`. And `doctor`.

#[cfg(framelane_testing)]
mod puppet {
    use std::error::Error;

    use framelane::testing::{Step, kill_at, stop_at};
    use framelane::{
        Backpressure, Delivery, Frame, FrameInfo, Layout, LoanError, PixelFormat, Publisher,
        PublisherOptions, Subscriber, SubscriberOptions,
    };
    use framelane_tests::Pattern;

    type Outcome = Result<(), Box<dyn Error>>;

    struct Puppet {
        channel: String,
        pattern: Pattern,
        publisher: Option<Publisher>,
        subscriber: Option<Subscriber>,
        held: Vec<Frame>,
    }

    pub fn main() -> Outcome {
        let channel = std::env::args().nth(1).ok_or("puppet CHANNEL")?;
        let pattern = Pattern::new();
        let mut puppet = Puppet { channel, pattern, publisher: None, subscriber: None, held: Vec::new() };
        println!("ready");
        for line in std::io::stdin().lines() {
            puppet.obey(&line?)?;
            println!("done");
        }
        Ok(())
    }

    fn step(name: &str) -> Result<Step, String> {
        let mut steps = Step::ALL.iter().copied();
        steps.find(|step| format!("{step:?}") == name).ok_or_else(|| format!("there is no step {name}"))
    }

    impl Puppet {
        fn obey(&mut self, line: &str) -> Outcome {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["kill", name, times] => kill_at(step(name)?, times.parse()?),
                ["stop", name] => stop_at(step(name)?),
                ["create", backpressure, slots] => {
                    let backpressure: Backpressure = backpressure.parse()?;
                    let options = PublisherOptions::new().backpressure(backpressure).slots(slots.parse()?);
                    self.publisher = Some(options.create(&self.channel)?);
                }
                ["send", bytes] => self.send(bytes.parse()?)?,
                ["skip"] => drop(self.publisher.as_mut().ok_or("no publisher")?.skip()),
                ["close"] => self.publisher = None,
                ["open", delivery] => {
                    let delivery = if delivery == "every" { Delivery::Every } else { Delivery::Newest };
                    self.subscriber = Some(SubscriberOptions::new().delivery(delivery).open(&self.channel)?);
                }
                ["receive"] => {
                    let frame = self.subscriber.as_mut().ok_or("no subscriber")?.recv()?;
                    self.pattern.check(frame.bytes(), frame.sequence())?;
                    self.held.push(frame);
                }
                ["release"] => self.held.clear(),
                ["leave"] => self.subscriber = None,
                ["doctor"] => drop(framelane::doctor(None, framelane::Leftovers::Remove)?),
                _ => return Err(format!("what is {line:?}?").into()),
            }
            Ok(())
        }

        fn send(&mut self, bytes: u32) -> Outcome {
            let publisher = self.publisher.as_mut().ok_or("no publisher")?;
            let sequence = publisher.sequence() + 1;
            match publisher.loan(&Layout::packed(PixelFormat::Gray8, bytes, 1)?) {
                Ok(mut loan) => {
                    self.pattern.fill(loan.bytes_mut(), sequence, false);
                    loan.publish(&FrameInfo::default());
                    Ok(())
                }
                Err(LoanError::NoFreeSlot) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

#[cfg(framelane_testing)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    puppet::main()
}

#[cfg(not(framelane_testing))]
fn main() {
    panic!("this program needs a build with RUSTFLAGS=\"--cfg framelane_testing\"");
}
