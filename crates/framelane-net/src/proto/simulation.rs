//! A source and a sink joined by a way that takes time, has a width, and breaks: in simulated time, byte by
//! byte.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use framelane::{Delivery, FrameInfo, Layout, Origin, PixelFormat};

use super::frame_head::FrameHead;
use super::message::{ChannelState, MAGIC, Message};
use super::parser::{Parser, Piece};
use super::sink::{Arrival, Sink};
use super::source::{Ready, Reply, Source};

const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The simulation's steps: everything happens at a multiple of it.
const STEP: Duration = Duration::from_micros(500);
/// `CLOCK_REALTIME` of the sink when a simulation begins.
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;

/// One direction of a connection: bytes that leave now arrive after `delay`, so many in a second. Other bytes
/// wait in the socket, as far as there is room.
struct Way {
    delay: Duration,
    bytes_per_second: f64,
    room: usize,
    waiting: VecDeque<u8>,
    on_the_way: VecDeque<(Instant, Vec<u8>)>,
    budget: f64,
}

impl Way {
    fn new(delay: Duration, bytes_per_second: f64, room: usize) -> Self {
        Way {
            delay,
            bytes_per_second,
            room,
            waiting: VecDeque::new(),
            on_the_way: VecDeque::new(),
            budget: 0.0,
        }
    }

    /// Takes as many bytes as there is room for.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.room.saturating_sub(self.waiting.len()));
        self.waiting.extend(&bytes[..len]);
        len
    }

    fn step(&mut self, now: Instant) {
        self.budget += self.bytes_per_second * STEP.as_secs_f64();
        let len = (self.budget as usize).min(self.waiting.len());
        self.budget = if self.waiting.is_empty() { 0.0 } else { self.budget - len as f64 };
        if len > 0 {
            self.on_the_way.push_back((now + self.delay, self.waiting.drain(..len).collect()));
        }
    }

    fn read(&mut self, now: Instant, most: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < most {
            match self.on_the_way.front_mut() {
                Some((due, bytes)) if *due <= now => {
                    let len = bytes.len().min(most - read.len());
                    read.extend(bytes.drain(..len));
                    if bytes.is_empty() {
                        self.on_the_way.pop_front();
                    }
                }
                _ => break,
            }
        }
        read
    }
}

/// Settings of a simulation.
#[derive(Clone, Copy)]
struct Setting {
    delay: Duration,
    bytes_per_second: f64,
    frame_bytes: usize,
    fps: u64,
    delivery: Delivery,
    /// Offset of the source's clock from the sink's.
    ahead_ns: i64,
    seconds: u64,
    /// The connection breaks after so many bytes have arrived, and is opened again.
    breaks_after: Option<usize>,
}

impl Default for Setting {
    fn default() -> Self {
        Setting {
            delay: Duration::from_millis(1),
            bytes_per_second: 1e9,
            frame_bytes: 1000,
            fps: 30,
            delivery: Delivery::Newest,
            ahead_ns: 0,
            seconds: 10,
            breaks_after: None,
        }
    }
}

/// Result of a simulation.
#[derive(Debug, Default)]
struct Outcome {
    /// Sequence and age on arrival.
    shown: Vec<(u64, Duration)>,
    published: u64,
    /// Up to the last frame that was shown.
    missed: u64,
    missed_in_all: u64,
    /// The first frame whose head arrived.
    first_begun: Option<u64>,
    skipped_at_source: u64,
    connections: u32,
    /// The sink's estimate, at the end.
    peer_ahead_ns: i64,
    /// The largest error of a frame's age: the age from arrival times on the sink's clock, less the true age,
    /// in nanoseconds.
    worst_age_error_ns: u64,
}

struct World {
    setting: Setting,
    start: Instant,
    now: Instant,
    /// The newest frame of the channel, 0: none.
    published: u64,
}

impl World {
    fn sink_ns(&self) -> u64 {
        EPOCH_NS + self.now.duration_since(self.start).as_nanos() as u64
    }

    fn source_ns(&self) -> u64 {
        self.sink_ns().checked_add_signed(self.setting.ahead_ns).unwrap()
    }

    /// When frame `sequence` was captured, since the start.
    fn captured(&self, sequence: u64) -> Duration {
        Duration::from_nanos((sequence - 1) * 1_000_000_000 / self.setting.fps)
    }

    fn step(&mut self) {
        self.now += STEP;
        while self.captured(self.published + 1) <= self.now.duration_since(self.start) {
            self.published += 1;
        }
    }
}

/// The source's end of a connection, as the thread that writes would do it.
struct Sending {
    source: Source,
    parser: Parser,
    pending: VecDeque<u8>,
    last: u64,
}

/// The sink's end.
struct Getting {
    sink: Sink,
    parser: Parser,
    pending: VecDeque<u8>,
    payload_left: usize,
    shows: Option<u64>,
}

fn run(setting: Setting) -> Outcome {
    let start = Instant::now();
    let mut world = World { setting, start, now: start, published: 0 };
    let mut outcome = Outcome::default();
    let mut last = None;
    let mut breaks_after = setting.breaks_after;
    while world.now < start + Duration::from_secs(setting.seconds) {
        outcome.connections += 1;
        connection(&mut world, &mut outcome, &mut last, &mut breaks_after);
    }
    outcome.published = world.published;
    outcome
}

/// One connection, until it breaks or the time is over.
fn connection(
    world: &mut World,
    outcome: &mut Outcome,
    last: &mut Option<Origin>,
    breaks_after: &mut Option<usize>,
) {
    let setting = world.setting;
    let mut forth = Way::new(setting.delay, setting.bytes_per_second, 256 << 10);
    let mut back = Way::new(setting.delay, setting.bytes_per_second, 256 << 10);
    let mut opening = VecDeque::from(MAGIC.to_vec());
    let mut state = Vec::new();
    Message::State(ChannelState::Live).encode(&mut state);
    opening.extend(state);
    let mut sending = Sending {
        source: Source::new(world.now, 0, IDLE_TIMEOUT),
        parser: Parser::new(),
        pending: opening,
        last: last.map_or(0, |last| last.sequence),
    };
    let mut sink = Sink::new(world.now, setting.delivery, *last, IDLE_TIMEOUT);
    sink.begin_missed(outcome.missed_in_all);
    let mut getting =
        Getting { sink, parser: Parser::new(), pending: MAGIC.to_vec().into(), payload_left: 0, shows: None };
    let mut arrived = 0;
    while world.now < world.start + Duration::from_secs(setting.seconds) {
        world.step();
        send(world, &mut sending, &mut forth, &mut back, outcome);
        forth.step(world.now);
        back.step(world.now);
        let more = get(
            world,
            &mut getting,
            &mut forth,
            &mut back,
            outcome,
            breaks_after.map(|limit| limit - arrived),
        );
        arrived += more;
        *last = getting.sink.last();
        outcome.missed_in_all = getting.sink.missed();
        outcome.peer_ahead_ns = getting.sink.clock.peer_ahead_ns();
        if breaks_after.is_some_and(|limit| arrived >= limit) {
            *breaks_after = None;
            return;
        }
    }
}

fn send(world: &World, sending: &mut Sending, forth: &mut Way, back: &mut Way, outcome: &mut Outcome) {
    loop {
        let bytes = back.read(world.now, sending.parser.wanted());
        if bytes.is_empty() {
            break;
        }
        let Piece::Message(message) = sending.parser.feed(&bytes).unwrap() else { continue };
        if let Reply::Pong { ping_sent_ns, received_ns } =
            sending.source.take(world.now, world.source_ns(), &message).unwrap()
        {
            let mut pong = Vec::new();
            Message::Pong { ping_sent_ns, received_ns, sent_ns: world.source_ns() }.encode(&mut pong);
            sending.pending.extend(pong);
        }
    }
    // As the writer does: a frame is chosen when the one before has been taken by the socket.
    if sending.pending.is_empty()
        && world.published > sending.last
        && sending.source.ready(world.now) == Ready::Now
    {
        let sequence =
            if world.setting.delivery == Delivery::Every { sending.last + 1 } else { world.published };
        if sending.last > 0 {
            outcome.skipped_at_source += sequence - sending.last - 1;
        }
        sending.last = sequence;
        sending.source.sent(world.now);
        let captured = world.captured(sequence).as_nanos() as u64;
        let timestamp_ns = (EPOCH_NS + captured).checked_add_signed(world.setting.ahead_ns).unwrap();
        let head = FrameHead {
            origin: Origin { epoch: 1, sequence },
            layout: Layout::packed(PixelFormat::Gray8, world.setting.frame_bytes as u32, 1).unwrap(),
            info: FrameInfo::default().with_timestamp_ns(timestamp_ns),
            standalone: true,
            coded: false,
            sent_ns: world.source_ns(),
            sent_monotonic_ns: 0,
        };
        let mut bytes = Vec::new();
        Message::Frame(Box::new(head), world.setting.frame_bytes as u64).encode(&mut bytes);
        bytes.resize(bytes.len() + world.setting.frame_bytes, sequence as u8);
        sending.pending.extend(bytes);
    }
    let taken = forth.write(sending.pending.make_contiguous());
    sending.pending.drain(..taken);
}

/// Takes bytes that have arrived, up to `limit`. Returns their number.
fn get(
    world: &World,
    getting: &mut Getting,
    forth: &mut Way,
    back: &mut Way,
    outcome: &mut Outcome,
    limit: Option<usize>,
) -> usize {
    let mut arrived = 0;
    loop {
        while let Some(message) = getting.sink.next_message(world.now, world.sink_ns()) {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            getting.pending.extend(bytes);
        }
        let left = limit.map_or(usize::MAX, |limit| limit - arrived);
        let wanted = if getting.payload_left > 0 { getting.payload_left } else { getting.parser.wanted() };
        let bytes = forth.read(world.now, wanted.min(left));
        if bytes.is_empty() {
            break;
        }
        arrived += bytes.len();
        getting.sink.heard(world.now);
        if getting.payload_left > 0 {
            getting.payload_left -= bytes.len();
            if let Some(sequence) = getting.shows {
                assert!(bytes.iter().all(|&byte| byte == sequence as u8), "frame {sequence} is torn");
            }
            if getting.payload_left == 0 {
                getting.sink.frame_done(world.now);
                if let Some(sequence) = getting.shows.take() {
                    let age = world.now.duration_since(world.start) - world.captured(sequence);
                    outcome.shown.push((sequence, age));
                    outcome.missed = getting.sink.missed();
                }
            }
            continue;
        }
        match getting.parser.feed(&bytes).unwrap() {
            Piece::More => {}
            Piece::Message(Message::Frame(head, payload_bytes)) => {
                getting.payload_left = payload_bytes as usize;
                if let Arrival::New { .. } = getting.sink.arrival(world.now, &head).unwrap() {
                    getting.shows = Some(head.origin.sequence);
                    outcome.first_begun.get_or_insert(head.origin.sequence);
                    let ours = getting.sink.clock.to_ours_ns(head.info.timestamp_ns.unwrap());
                    let truth = EPOCH_NS + world.captured(head.origin.sequence).as_nanos() as u64;
                    outcome.worst_age_error_ns = outcome.worst_age_error_ns.max(ours.abs_diff(truth));
                }
            }
            Piece::Message(message) => getting.sink.take(world.now, world.sink_ns(), &message).unwrap(),
        }
    }
    let taken = back.write(getting.pending.make_contiguous());
    getting.pending.drain(..taken);
    arrived
}

/// The numbers grow, and account for every frame from the first whose head arrived to the last that was
/// shown.
fn check_order(outcome: &Outcome) {
    for pair in outcome.shown.windows(2) {
        assert!(pair[1].0 > pair[0].0, "{} after {}", pair[1].0, pair[0].0);
    }
    let (first, last) = (outcome.first_begun.unwrap(), outcome.shown.last().unwrap().0);
    assert_eq!(
        outcome.shown.len() as u64 + outcome.missed,
        last - first + 1,
        "each is shown or counted, once"
    );
}

#[test]
fn a_wide_way_loses_nothing_whatever_its_length() {
    for delay_ms in [0, 1, 20, 100, 300] {
        let outcome =
            run(Setting { delay: Duration::from_millis(delay_ms), seconds: 20, ..Setting::default() });
        check_order(&outcome);
        // The window has to find its size first; then every frame gets through.
        let late: Vec<_> = outcome.shown.iter().filter(|shown| shown.0 > 300).collect();
        assert!(late.len() as u64 >= outcome.published - 300 - 30, "{delay_ms} ms: {} shown", late.len());
        assert!(late.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{delay_ms} ms");
    }
}

#[test]
fn slow_path_skips_frames_at_the_source_and_age_stays_bounded() {
    for (delay_ms, share) in [(1, 0.5), (30, 0.3), (100, 0.1), (10, 0.9)] {
        let frame_bytes = 50_000;
        let setting = Setting {
            delay: Duration::from_millis(delay_ms),
            bytes_per_second: 30.0 * frame_bytes as f64 * share,
            frame_bytes,
            seconds: 40,
            ..Setting::default()
        };
        let outcome = run(setting);
        check_order(&outcome);
        let transfer = Duration::from_secs_f64(frame_bytes as f64 / setting.bytes_per_second);
        // The way, the frame itself, and the one in front of it; where a frame takes less than a round trip,
        // one more.
        let bound = setting.delay + 3 * transfer + Duration::from_millis(20);
        let settled = |shown: &&(u64, Duration)| shown.0 > 300;
        let oldest = outcome.shown.iter().filter(settled).map(|shown| shown.1).max().unwrap();
        assert!(oldest <= bound, "{delay_ms} ms, {share}: {oldest:?} of {bound:?}");
        let shown = outcome.shown.iter().filter(settled).count() as f64;
        let possible = (setting.seconds as f64 - 10.0) / transfer.as_secs_f64();
        assert!(shown >= 0.85 * possible, "{delay_ms} ms, {share}: {shown} of {possible}");
        assert!(outcome.skipped_at_source >= outcome.missed);
    }
}

#[test]
fn every_frame_arrives_when_every_frame_is_wanted() {
    let setting = Setting {
        delivery: Delivery::Every,
        delay: Duration::from_millis(50),
        bytes_per_second: 40.0 * 10_000.0,
        frame_bytes: 10_000,
        ..Setting::default()
    };
    let outcome = run(setting);
    assert!(outcome.shown.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
    assert_eq!((outcome.shown[0].0, outcome.missed), (1, 0));
    assert!(outcome.shown.len() as u64 + 20 >= outcome.published);
}

#[test]
fn connection_lost_at_any_byte_keeps_frames_whole_and_in_order() {
    let setting = Setting { frame_bytes: 40, fps: 200, seconds: 1, ..Setting::default() };
    // All of the opening, of the first frames with their heads and payloads, and of what follows.
    for breaks_after in 1..1500 {
        let outcome = run(Setting { breaks_after: Some(breaks_after), ..setting });
        assert_eq!(outcome.connections, 2, "{breaks_after}");
        check_order(&outcome);
    }
}

#[test]
fn ages_are_honest_whatever_the_clocks_say() {
    for ahead_ns in [-3_600_000_000_000, -7, 0, 250_000_000, 86_400_000_000_000_i64] {
        let setting = Setting {
            ahead_ns,
            delay: Duration::from_millis(40),
            bytes_per_second: 20.0 * 50_000.0,
            frame_bytes: 50_000,
            ..Setting::default()
        };
        let outcome = run(setting);
        // The steps of the simulation, and half of what the first ping may have waited.
        assert!(
            outcome.peer_ahead_ns.abs_diff(ahead_ns) <= 2_000_000,
            "{ahead_ns}: {}",
            outcome.peer_ahead_ns
        );
        assert!(outcome.worst_age_error_ns <= 2_000_000, "{ahead_ns}: {}", outcome.worst_age_error_ns);
    }
}
