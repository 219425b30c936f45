//! Rates of channels: differences between two polls.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use crate::describe::ChannelReport;

/// The counts of a channel at one poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The publisher's process and its epoch: numbers of two lives are not compared.
    pub life: (u32, u64),
    /// The newest frame's number. Dropped frames have numbers too.
    pub sequence: u64,
    /// Frames of this epoch without a slot. Includes frames that a link skipped.
    pub dropped: u64,
    /// Bytes of the newest frame.
    pub frame_bytes: u64,
    /// Bytes received over the link.
    pub link_bytes: Option<u64>,
    /// Frames that the link skipped.
    pub link_missed: Option<u64>,
}

impl Sample {
    /// `None` for a channel that cannot be read.
    pub fn new(channel: &ChannelReport) -> Option<Self> {
        channel.damage.is_none().then(|| Sample {
            life: (channel.publisher_pid, channel.epoch),
            sequence: channel.sequence,
            dropped: channel.dropped,
            frame_bytes: channel.layout.as_ref().map_or(0, |layout| layout.size_bytes as u64),
            link_bytes: channel.link.as_ref().map(|link| link.received_bytes),
            link_missed: channel.link.as_ref().map(|link| link.missed),
        })
    }
}

/// Rates of a channel. `None` for a new publisher: a rate needs two polls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    pub frames_per_second: Option<f64>,
    /// Of frames published here. Assumes the size of the newest one.
    pub bytes_per_second: Option<f64>,
    /// Includes frames that a link skipped.
    pub dropped_per_second: Option<f64>,
    /// Bytes received over the link. Less than `bytes_per_second` if frames are coded.
    pub link_bytes_per_second: Option<f64>,
    pub link_missed_per_second: Option<f64>,
}

impl Rates {
    /// Frames that were here and found no free slot.
    pub fn without_slot_per_second(&self) -> Option<f64> {
        let missed = self.link_missed_per_second.unwrap_or(0.0);
        // The counts are not read at once: one may have gone on when the other had not.
        self.dropped_per_second.map(|dropped| (dropped - missed).max(0.0))
    }
}

/// Remembers the last poll.
#[derive(Debug, Default)]
pub struct Meter {
    channels: HashMap<String, Counted>,
}

#[derive(Debug)]
struct Counted {
    sample: Sample,
    /// Frames published up to then, give or take what was before this life.
    published: u64,
}

impl Meter {
    /// Returns the rates since the last poll, `elapsed` ago, in the order of `samples`. Forgets channels that
    /// are not among them.
    pub fn rates(&mut self, samples: Vec<(String, Option<Sample>)>, elapsed: Duration) -> Vec<Rates> {
        let mut before = std::mem::take(&mut self.channels);
        let mut rates = Vec::with_capacity(samples.len());
        for (name, sample) in samples {
            let Some(sample) = sample else {
                rates.push(Rates::default());
                continue;
            };
            let before = before.remove(&name).filter(|before| before.same_life(&sample));
            // Drops are counted before the next frame is there, so the difference may go back for a while.
            let at_least = before.as_ref().map_or(0, |before| before.published);
            let published = sample.sequence.saturating_sub(sample.dropped).max(at_least);
            let now = Counted { sample, published };
            rates.push(before.map_or_else(Rates::default, |before| now.since(&before, elapsed)));
            self.channels.insert(name, now);
        }
        rates
    }
}

impl Counted {
    fn same_life(&self, now: &Sample) -> bool {
        let before = &self.sample;
        before.life == now.life && before.sequence <= now.sequence && before.dropped <= now.dropped
    }

    fn since(&self, before: &Counted, elapsed: Duration) -> Rates {
        let each_second = |count: u64| (!elapsed.is_zero()).then(|| count as f64 / elapsed.as_secs_f64());
        let frames_per_second = each_second(self.published - before.published);
        let each_second_of = |now: Option<u64>, before: Option<u64>| {
            now.zip(before).and_then(|(now, before)| now.checked_sub(before)).and_then(each_second)
        };
        Rates {
            frames_per_second,
            bytes_per_second: frames_per_second.map(|frames| frames * self.sample.frame_bytes as f64),
            dropped_per_second: each_second(self.sample.dropped - before.sample.dropped),
            link_bytes_per_second: each_second_of(self.sample.link_bytes, before.sample.link_bytes),
            link_missed_per_second: each_second_of(self.sample.link_missed, before.sample.link_missed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sample(sequence: u64, dropped: u64) -> Sample {
        Sample { life: (7, 1), sequence, dropped, frame_bytes: 1000, link_bytes: None, link_missed: None }
    }

    fn poll(meter: &mut Meter, sample: Sample) -> Rates {
        meter.rates(vec![("cam0".to_owned(), Some(sample))], 2 * SECOND)[0]
    }

    #[test]
    fn rate_is_the_difference_over_the_time_between_polls() {
        let mut meter = Meter::default();
        assert_eq!(poll(&mut meter, sample(100, 10)), Rates::default());
        let rates = poll(&mut meter, sample(166, 16));
        assert_eq!((rates.frames_per_second, rates.dropped_per_second), (Some(30.0), Some(3.0)));
        assert_eq!((rates.bytes_per_second, rates.link_bytes_per_second), (Some(30_000.0), None));
        let still = poll(&mut meter, sample(166, 16));
        assert_eq!((still.frames_per_second, still.dropped_per_second), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn drops_in_a_row_are_not_counted_as_frames() {
        let mut meter = Meter::default();
        poll(&mut meter, sample(100, 0));
        // A reader holds all slots: no new frame is there, the drops are.
        let stuck = poll(&mut meter, sample(100, 60));
        assert_eq!((stuck.frames_per_second, stuck.dropped_per_second), (Some(0.0), Some(30.0)));
        let free = poll(&mut meter, sample(170, 68));
        assert_eq!((free.frames_per_second, free.dropped_per_second), (Some(1.0), Some(4.0)));
    }

    #[test]
    fn restarted_channel_has_no_rate_until_the_second_poll() {
        let other_epoch = Sample { life: (7, 2), ..sample(2000, 0) };
        let other_process = Sample { life: (8, 1), ..sample(2000, 0) };
        let restarted_count = sample(3, 0);
        for restarted in [other_epoch, other_process, restarted_count] {
            let mut meter = Meter::default();
            poll(&mut meter, sample(1000, 5));
            assert_eq!(poll(&mut meter, restarted.clone()), Rates::default(), "{restarted:?}");
            let next = Sample { sequence: restarted.sequence + 50, ..restarted };
            assert_eq!(poll(&mut meter, next).frames_per_second, Some(25.0));
        }
    }

    #[test]
    fn channel_that_closes_or_cannot_be_read_is_forgotten() {
        for between in [vec![], vec![("cam0".to_owned(), None)]] {
            let mut meter = Meter::default();
            poll(&mut meter, sample(100, 0));
            assert!(meter.rates(between, SECOND).iter().all(|rates| *rates == Rates::default()));
            assert_eq!(poll(&mut meter, sample(200, 0)), Rates::default());
        }
    }

    #[test]
    fn link_whose_counts_restart_has_no_rate_once() {
        let linked = |sequence, bytes| Sample { link_bytes: Some(bytes), ..sample(sequence, 0) };
        let mut meter = Meter::default();
        poll(&mut meter, linked(1, 500));
        assert_eq!(poll(&mut meter, linked(2, 900)).link_bytes_per_second, Some(200.0));
        let rates = poll(&mut meter, linked(3, 100));
        assert_eq!((rates.link_bytes_per_second, rates.frames_per_second), (None, Some(0.5)));
        assert_eq!(poll(&mut meter, linked(4, 300)).link_bytes_per_second, Some(100.0));
    }

    #[test]
    fn frames_that_a_link_skipped_are_no_slot_drops() {
        let linked = |dropped, missed| Sample { link_missed: Some(missed), ..sample(dropped, dropped) };
        let mut meter = Meter::default();
        poll(&mut meter, linked(100, 90));
        let rates = poll(&mut meter, linked(166, 150));
        assert_eq!((rates.dropped_per_second, rates.link_missed_per_second), (Some(33.0), Some(30.0)));
        assert_eq!(rates.without_slot_per_second(), Some(3.0));
        let counted_late = poll(&mut meter, linked(166, 152));
        assert_eq!(counted_late.without_slot_per_second(), Some(0.0));
        let restarted = poll(&mut meter, linked(168, 0));
        assert_eq!(
            (restarted.link_missed_per_second, restarted.without_slot_per_second()),
            (None, Some(1.0))
        );
        assert_eq!(Rates::default().without_slot_per_second(), None);
    }

    #[test]
    fn rates_follow_channel_names_and_need_elapsed_time() {
        let mut meter = Meter::default();
        let samples =
            |a: u64, b: u64| vec![("a".to_owned(), Some(sample(a, 0))), ("b".to_owned(), Some(sample(b, 0)))];
        meter.rates(samples(10, 1000), SECOND);
        let mut swapped = samples(20, 1030);
        swapped.reverse();
        let rates: Vec<_> =
            meter.rates(swapped, SECOND).iter().map(|rates| rates.frames_per_second).collect();
        assert_eq!(rates, [Some(30.0), Some(10.0)]);
        assert!(meter.rates(samples(21, 1031), Duration::ZERO).iter().all(|r| r.frames_per_second.is_none()));
    }
}
