//! The decoding thread: packets in, pictures with their times out.

use framelane::{Error, ErrorKind, FrameInfo};

use crate::feed::Feed;
use crate::ffmpeg::decoder::{Decoder, Received};
use crate::ffmpeg::frame::{Frame, Packet};
use crate::ffmpeg::input::Input;
use crate::ffmpeg::orientation::Display;
use crate::ffmpeg::streams::StreamFacts;
use crate::ffmpeg::to_ns;
use crate::interrupt::Interrupt;
use crate::options::Repeat;

/// A picture with its metadata.
pub(crate) struct Decoded {
    pub(crate) frame: Frame,
    /// Everything but colour and rotation, which depend on the output.
    pub(crate) info: FrameInfo,
    /// True if it waits for its time. The frames of a live source do not.
    pub(crate) paced: bool,
    /// Rotation and mirroring of the pictures.
    pub(crate) display: Display,
}

/// Observations of the thread.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) pictures: u64,
    pub(crate) decode_errors: u64,
    pub(crate) damaged_packets: u64,
    pub(crate) rounds: u64,
    pub(crate) warnings: Vec<String>,
    /// True if the input ends before it should.
    pub(crate) cut: bool,
    /// True if the decoder reports that it lacks reference pictures or parameters.
    pub(crate) unsupported: bool,
    pub(crate) animated_webp: bool,
    /// The input that took the place of the first one, which could not go back.
    pub(crate) reopened: Option<(Input, StreamFacts)>,
    /// Cause of the end of the input, when it is an error.
    pub(crate) reason: Option<String>,
}

/// All that the thread needs.
pub(crate) struct DecodeJob<'j> {
    pub(crate) input: &'j mut Input,
    pub(crate) facts: &'j StreamFacts,
    pub(crate) decoder: Decoder<'j>,
    pub(crate) repeat: Repeat,
    pub(crate) interrupt: &'j Interrupt,
    pub(crate) reopen: &'j (dyn Fn() -> Result<(Input, StreamFacts), Error> + Sync),
    /// Time of the first picture.
    pub(crate) resume_ns: i64,
}

/// The reason for the end of a live source that its server ends.
pub(crate) const HUNG_UP: &str = "the server closed the connection";

/// The receiver has ended: it needs no more frames.
struct Enough;

impl DecodeJob<'_> {
    /// Runs until the last round ends, the receiver goes or the interrupt is set.
    pub(crate) fn run(mut self, mut feed: Feed<'_, Decoded>) -> Report {
        let mut report = Report::default();
        let mut times = Times::new(self.input.start_ns(), self.facts, self.resume_ns);
        loop {
            let before = report.pictures;
            if self.round(&mut feed, &mut report, &mut times).is_err() || self.interrupt.is_set() {
                return report;
            }
            report.rounds += 1;
            self.check_length(&mut report, &times);
            // A round without pictures would be followed by others like it, endlessly.
            if report.pictures == before || !self.repeat.more_after(report.rounds) {
                return report;
            }
            times.next_round();
            let input = report.reopened.as_mut().map_or(&mut *self.input, |(input, _)| input);
            if input.rewind().is_err() {
                match (self.reopen)() {
                    Ok(reopened) => report.reopened = Some(reopened),
                    Err(error) => {
                        report.warnings.push(format!("cannot play it again: {}", error.message()));
                        return report;
                    }
                }
            }
            self.decoder.flush();
        }
    }

    /// From here to the end of the input.
    fn round(
        &mut self,
        feed: &mut Feed<'_, Decoded>,
        report: &mut Report,
        times: &mut Times,
    ) -> Result<(), Enough> {
        let (Ok(mut packet), Ok(mut frame)) = (Packet::new(), Frame::new()) else { return Err(Enough) };
        let mut reopened = report.reopened.take();
        let input = reopened.as_mut().map_or(&mut *self.input, |(input, _)| input);
        let mut result = Ok(());
        let animated = self.facts.codec == "webp";
        loop {
            match input.read(&mut packet) {
                Ok(true) => {}
                Ok(false) => {
                    if let Some(error) = input.io_error() {
                        report.cut_off(&error);
                    }
                    break;
                }
                Err(_) if self.interrupt.is_set() => {
                    result = Err(Enough);
                    break;
                }
                Err(error) => {
                    report.cut_off(&error);
                    break;
                }
            }
            if packet.stream_index() == self.facts.index as std::ffi::c_int {
                report.damaged_packets += u64::from(packet.corrupt());
                report.animated_webp |= animated && is_animated_webp(packet.bytes());
                if let Err(error) = self.decoder.send(Some(&mut packet)) {
                    report.decode_error(&error);
                }
                result = Self::drain(&mut self.decoder, feed, report, times, &mut frame);
            } else {
                times.see(input.end_ns(&packet));
            }
            packet.unref();
            if result.is_err() {
                break;
            }
        }
        // What the decoder still has in hand. It drains even where this call reports an error of an earlier
        // packet.
        if result.is_ok() {
            if let Err(error) = self.decoder.send(None) {
                report.decode_error(&error);
            }
            result = Self::drain(&mut self.decoder, feed, report, times, &mut frame);
        }
        report.reopened = reopened;
        result
    }

    /// Takes all pictures that the decoder has ready.
    fn drain(
        decoder: &mut Decoder<'_>,
        feed: &mut Feed<'_, Decoded>,
        report: &mut Report,
        times: &mut Times,
        frame: &mut Frame,
    ) -> Result<(), Enough> {
        // Errors in a row, to end a decoder that returns nothing else.
        let mut errors = 0;
        loop {
            match decoder.receive(frame) {
                Ok(Received::Picture) => {
                    errors = 0;
                    report.pictures += 1;
                    let info = times.info(frame);
                    let display = times.display(frame);
                    let Ok(next) = Frame::new() else { return Err(Enough) };
                    let frame = std::mem::replace(frame, next);
                    feed.push(info.pts_ns, |paced| Decoded { frame, info, paced, display })
                        .map_err(|_| Enough)?;
                }
                Ok(Received::NeedsPacket | Received::End) => return Ok(()),
                Err(error) => {
                    report.decode_error(&error);
                    errors += 1;
                    if errors > 64 {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// A file that ends long before its stated length was cut off, even where the demuxer does not notice.
    fn check_length(&self, report: &mut Report, times: &Times) {
        let Some(expected_ns) = self.facts.length_ns else { return };
        let missing_ns = (expected_ns as i64).saturating_sub(times.round_ns().max(times.others_end_ns));
        if !report.cut && missing_ns > 250_000_000 && missing_ns > expected_ns as i64 / 10 {
            report.cut = true;
            report.warnings.push(format!(
                "the video ends after {:.1} s, expected {:.1} s: the file may have been cut off",
                times.round_ns() as f64 / 1e9,
                expected_ns as f64 / 1e9
            ));
        }
    }
}

impl Report {
    /// The decoder returned an error. The first one is reported.
    fn decode_error(&mut self, error: &Error) {
        if self.decode_errors == 0 {
            self.warnings.push(error.message().to_owned());
            self.unsupported = error.kind() == ErrorKind::InvalidOption;
        }
        self.decode_errors += 1;
    }

    /// The input ended with an error.
    fn cut_off(&mut self, error: &Error) {
        self.cut = true;
        self.warnings.push(format!("the input ends early, it may have been cut off: {}", error.message()));
        // FFmpeg's HTTP reports this for a stream without an end: it expected more than possible.
        let hung_up = error.message().contains("Stream ends prematurely");
        self.reason = Some(if hung_up { HUNG_UP.to_owned() } else { error.message().to_owned() });
    }
}

/// The flag of animations in the header of a WebP file (RFC 9649, 2.7.1).
fn is_animated_webp(bytes: &[u8]) -> bool {
    bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0)
}

/// Turns the stream's times into positions in the media, which grow from one round to the next.
struct Times {
    time_base: (i64, i64),
    /// For frames without a duration.
    frame_ns: i64,
    start_ns: Option<i64>,
    display: Display,
    display_persists: bool,
    /// Start of this round, and end of the last picture so far.
    round_start_ns: i64,
    end_ns: i64,
    /// End of the packets of other streams in this round, counted from the start of the media.
    others_end_ns: i64,
}

impl Times {
    fn new(start_ns: Option<i64>, facts: &StreamFacts, resume_ns: i64) -> Self {
        let fps = facts.fps.unwrap_or(25.0);
        Times {
            time_base: facts.time_base,
            frame_ns: (1e9 / fps) as i64,
            start_ns,
            display: facts.display_of_stream,
            display_persists: facts.display_persists(),
            round_start_ns: resume_ns,
            end_ns: resume_ns,
            others_end_ns: 0,
        }
    }

    fn info(&mut self, frame: &Frame) -> FrameInfo {
        let own_duration = frame.duration();
        let duration_ns = if own_duration > 0 { to_ns(own_duration, self.time_base) } else { self.frame_ns };
        let pts_ns = if let Some(pts) = frame.pts() {
            let in_stream_ns = to_ns(pts, self.time_base);
            let start_ns = *self.start_ns.get_or_insert(in_stream_ns);
            in_stream_ns.saturating_sub(start_ns).saturating_add(self.round_start_ns)
        } else {
            self.end_ns
        };
        self.end_ns = self.end_ns.max(pts_ns.saturating_add(duration_ns));
        FrameInfo::default()
            .with_pts_ns(pts_ns)
            .with_duration_ns(u64::try_from(duration_ns).ok())
            .with_keyframe(frame.keyframe())
    }

    /// The picture's own display matrix, else the stream's.
    fn display(&mut self, frame: &Frame) -> Display {
        let display = frame.display().unwrap_or(self.display);
        if self.display_persists {
            self.display = display;
        }
        display
    }

    /// Another stream has a packet that ends here, in its own times.
    fn see(&mut self, end_ns: Option<i64>) {
        if let Some(end_ns) = end_ns {
            let from_start_ns = end_ns.saturating_sub(self.start_ns.unwrap_or(0));
            self.others_end_ns = self.others_end_ns.max(from_start_ns);
        }
    }

    fn next_round(&mut self) {
        self.others_end_ns = 0;
        self.round_start_ns = self.end_ns;
    }

    /// Returns the length of this round so far.
    fn round_ns(&self) -> i64 {
        self.end_ns - self.round_start_ns
    }
}
