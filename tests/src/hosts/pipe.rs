//! One direction of an emulated cable, without input or output.
//!
//! A packet waits in the queue until the packets before it are sent, if the queue has space. Its length and
//! the rate define the time to send it. Then it is in flight for the delay, or lost. Lost packets use their
//! share of the rate, as on a radio link.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Random;

/// Properties of a cable, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wire {
    /// From one end to the other; a round trip takes twice that.
    pub delay: Duration,
    /// Up to so much is added to the delay of each packet. Packets never overtake each other.
    pub jitter: Duration,
    /// The share of packets that get lost, 0.0 to 1.0.
    pub loss: f64,
    /// Bits that can be sent in a second, headers of IP included; `None` is as fast as this machine.
    pub rate_bits_per_second: Option<u64>,
    /// Bytes that can wait to be sent; packets beyond are dropped.
    pub queue_bytes: usize,
}

impl Default for Wire {
    /// No delay, no loss, no limit.
    fn default() -> Self {
        Wire {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            rate_bits_per_second: None,
            queue_bytes: 256 << 10,
        }
    }
}

/// Counts of packets, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Packets that arrived.
    pub arrived: u64,
    /// Bytes of these, headers of IP included.
    pub arrived_bytes: u64,
    /// Packets that got lost by chance.
    pub lost: u64,
    /// Packets that found no room to wait.
    pub dropped: u64,
    /// Packets that were in flight when the cable was cut, or were sent afterwards.
    pub cut: u64,
}

/// Bytes that can be in flight at once: more than a long fast line holds, less than this machine.
const MOST_BYTES_ON_THE_WAY: usize = 64 << 20;

pub struct Pipe {
    wire: Wire,
    is_cut: bool,
    random: Random,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// The time at which the bytes being sent will have left.
    free_at: Instant,
    /// With the time of their arrival, which never decreases.
    on_the_way: VecDeque<(Instant, Vec<u8>)>,
    bytes_on_the_way: usize,
    counts: Counts,
}

impl Pipe {
    pub fn new(wire: Wire, seed: u64, now: Instant) -> Self {
        Pipe {
            wire,
            is_cut: false,
            random: Random::new(seed),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            free_at: now,
            on_the_way: VecDeque::new(),
            bytes_on_the_way: 0,
            counts: Counts::default(),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn set(&mut self, wire: Wire) {
        self.wire = wire;
    }

    pub fn cut(&mut self) {
        self.is_cut = true;
        self.counts.cut += (self.waiting.len() + self.on_the_way.len()) as u64;
        self.waiting.clear();
        self.on_the_way.clear();
        (self.waiting_bytes, self.bytes_on_the_way) = (0, 0);
    }

    pub fn join(&mut self) {
        self.is_cut = false;
    }

    /// Takes a packet in.
    pub fn put(&mut self, packet: Vec<u8>, now: Instant) {
        self.send_what_waits(now);
        if self.is_cut {
            self.counts.cut += 1;
        } else if self.waiting.is_empty() && self.free_at <= now {
            self.send(packet, now);
        } else if self.waiting_bytes + packet.len() <= self.wire.queue_bytes {
            self.waiting_bytes += packet.len();
            self.waiting.push_back(packet);
        } else {
            self.counts.dropped += 1;
        }
    }

    /// The next packet that has arrived.
    pub fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.send_what_waits(now);
        self.on_the_way.front().filter(|(arrival, _)| *arrival <= now)?;
        let (_, packet) = self.on_the_way.pop_front()?;
        self.bytes_on_the_way -= packet.len();
        self.counts.arrived += 1;
        self.counts.arrived_bytes += packet.len() as u64;
        Some(packet)
    }

    /// When to look again.
    pub fn next_event(&self) -> Option<Instant> {
        let arrival = self.on_the_way.front().map(|(arrival, _)| *arrival);
        let sent = (!self.waiting.is_empty()).then_some(self.free_at);
        arrival.into_iter().chain(sent).min()
    }

    /// A late poll does not delay packets: each is sent when the one before is complete.
    fn send_what_waits(&mut self, now: Instant) {
        while self.free_at <= now
            && let Some(packet) = self.waiting.pop_front()
        {
            self.waiting_bytes -= packet.len();
            self.send(packet, self.free_at);
        }
    }

    fn send(&mut self, packet: Vec<u8>, start: Instant) {
        let time = self
            .wire
            .rate_bits_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(packet.len() as f64 * 8.0 / rate as f64));
        self.free_at = start + time;
        if self.share() < self.wire.loss {
            self.counts.lost += 1;
        } else if self.bytes_on_the_way + packet.len() > MOST_BYTES_ON_THE_WAY {
            self.counts.dropped += 1;
        } else {
            let arrival = self.free_at + self.wire.delay + self.wire.jitter.mul_f64(self.share());
            let before = self.on_the_way.back().map_or(arrival, |(before, _)| *before);
            self.bytes_on_the_way += packet.len();
            self.on_the_way.push_back((arrival.max(before), packet));
        }
    }

    /// A number from 0 to 1, without the 1.
    fn share(&mut self) -> f64 {
        (self.random.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn packet(number: u8) -> Vec<u8> {
        vec![number; 1000]
    }

    /// Everything that comes out from `start` on, with the milliseconds since.
    fn arrivals(pipe: &mut Pipe, start: Instant) -> Vec<(u128, u8)> {
        let mut found = Vec::new();
        while let Some(now) = pipe.next_event() {
            while let Some(packet) = pipe.take(now) {
                found.push(((now - start).as_millis(), packet[0]));
            }
        }
        found
    }

    #[test]
    fn packets_are_sent_in_turn_and_arrive_after_the_delay() {
        let start = Instant::now();
        // 1,000 bytes in 1 ms.
        let wire = Wire { delay: 50 * MS, rate_bits_per_second: Some(8_000_000), ..Wire::default() };
        let mut pipe = Pipe::new(wire, 1, start);
        (0..3).for_each(|number| pipe.put(packet(number), start));
        pipe.put(packet(3), start + 10 * MS);
        assert_eq!(arrivals(&mut pipe, start), [(51, 0), (52, 1), (53, 2), (61, 3)]);
    }

    #[test]
    fn late_poll_finds_each_packet_at_its_place() {
        let start = Instant::now();
        let wire = Wire { delay: 50 * MS, rate_bits_per_second: Some(8_000_000), ..Wire::default() };
        let mut pipe = Pipe::new(wire, 1, start);
        (0..10).for_each(|number| pipe.put(packet(number), start));
        let found: Vec<u8> =
            std::iter::from_fn(|| pipe.take(start + 55 * MS)).map(|packet| packet[0]).collect();
        assert_eq!(found, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn packets_beyond_the_queue_are_dropped() {
        let start = Instant::now();
        let wire = Wire { rate_bits_per_second: Some(8_000_000), queue_bytes: 3500, ..Wire::default() };
        let mut pipe = Pipe::new(wire, 1, start);
        (0..10).for_each(|number| pipe.put(packet(number), start));
        assert_eq!(arrivals(&mut pipe, start), [(1, 0), (2, 1), (3, 2), (4, 3)]);
        assert_eq!(
            pipe.counts(),
            Counts { arrived: 4, arrived_bytes: 4000, dropped: 6, ..Counts::default() }
        );
    }

    #[test]
    fn the_share_that_is_to_get_lost_does() {
        let start = Instant::now();
        let mut pipe = Pipe::new(Wire { loss: 0.01, ..Wire::default() }, 1, start);
        for number in 0..100_000 {
            pipe.put(packet(number as u8), start);
            pipe.take(start);
        }
        let Counts { arrived, lost, .. } = pipe.counts();
        assert_eq!(arrived + lost, 100_000);
        // Five standard deviations.
        assert!((843..=1157).contains(&lost), "{lost}");
    }

    #[test]
    fn packets_that_are_shaken_do_not_overtake_each_other() {
        let start = Instant::now();
        let wire = Wire { delay: 50 * MS, jitter: 20 * MS, ..Wire::default() };
        let mut pipe = Pipe::new(wire, 1, start);
        // The first half so close together that they would overtake each other, the others so far apart that
        // they cannot.
        let sent_ms = |number: u8| u128::from(number) + 30 * u128::from(number.saturating_sub(50));
        for number in 0..100 {
            pipe.put(packet(number), start + sent_ms(number) as u32 * MS);
        }
        let found = arrivals(&mut pipe, start);
        assert!(found.iter().map(|(_, number)| *number).eq(0..100));
        let delays: Vec<_> = found.iter().map(|(arrival, number)| arrival - sent_ms(*number)).collect();
        assert!(delays.iter().all(|delay| (50..70).contains(delay)), "{delays:?}");
        assert!(delays[50..].iter().any(|delay| *delay < 53) && delays[50..].iter().any(|delay| *delay > 66));
    }

    #[test]
    fn what_waits_goes_on_at_the_new_rate_when_the_wire_is_changed() {
        let start = Instant::now();
        let slow = Wire { rate_bits_per_second: Some(8_000), ..Wire::default() };
        let mut pipe = Pipe::new(slow, 1, start);
        (0..3).for_each(|number| pipe.put(packet(number), start));
        pipe.set(Wire { rate_bits_per_second: Some(8_000_000), ..Wire::default() });
        // The first one is half sent; that one takes its second.
        assert_eq!(arrivals(&mut pipe, start), [(1000, 0), (1001, 1), (1002, 2)]);
    }

    #[test]
    fn a_cut_loses_what_waits_what_is_on_the_way_and_what_comes() {
        let start = Instant::now();
        let wire = Wire { delay: 50 * MS, rate_bits_per_second: Some(8_000_000), ..Wire::default() };
        let mut pipe = Pipe::new(wire, 1, start);
        (0..3).for_each(|number| pipe.put(packet(number), start));
        pipe.cut();
        pipe.put(packet(3), start + MS);
        pipe.join();
        pipe.put(packet(4), start + 10 * MS);
        assert_eq!(arrivals(&mut pipe, start), [(61, 4)]);
        assert_eq!(pipe.counts().cut, 4);
    }
}
