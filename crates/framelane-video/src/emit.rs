//! The common end of all sources: pace, publish, count, report to the caller.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use framelane::{Error, FrameInfo, Layout};

use crate::interrupt::Interrupt;
use crate::options::SourceOptions;
use crate::pace::Pacer;
use crate::progress::{End, Progress, Summary};
use crate::sink::{Fill, Put, Sink};

/// The callback of the caller.
pub(crate) type OnFrame<'f> = dyn FnMut(&Progress<'_>) -> ControlFlow<()> + 'f;

/// Publishes frames of one run of a source.
pub(crate) struct Emitter<'e> {
    on_frame: &'e mut OnFrame<'e>,
    pacer: Pacer,
    interrupt: Interrupt,
    limit: Option<u64>,
    began: Instant,
    /// Media time at the end of the last frame.
    end_ns: i64,
    pub(crate) summary: Summary,
}

/// Decision after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    /// `fill` had no frame.
    Nothing,
    /// Enough; the reason is in the summary.
    End,
}

impl<'e> Emitter<'e> {
    pub(crate) fn new(options: &SourceOptions, interrupt: Interrupt, on_frame: &'e mut OnFrame<'e>) -> Self {
        Emitter {
            on_frame,
            pacer: Pacer::new(options.rate),
            interrupt,
            limit: options.count,
            began: Instant::now(),
            end_ns: 0,
            summary: Summary {
                frames: 0,
                dropped: 0,
                direct: 0,
                damaged_packets: 0,
                decode_errors: 0,
                concealed: 0,
                rounds: 0,
                skipped: 0,
                reason: None,
                elapsed: Duration::ZERO,
                end: End::Finished,
                warnings: Vec::new(),
            },
        }
    }

    /// Waits until a frame with this media time is due, when it is `paced` or has a rate of the user's.
    /// False: the end.
    pub(crate) fn wait(&mut self, pts_ns: Option<i64>, paced: bool) -> bool {
        let due = if paced || self.pacer.has_own_rate() {
            self.pacer.wait(pts_ns.unwrap_or(0), &self.interrupt)
        } else {
            !self.interrupt.is_set()
        };
        if !due {
            self.summary.end = End::Stopped;
        }
        due
    }

    /// Returns true if frames have a rate of the user's.
    pub(crate) fn has_own_rate(&self) -> bool {
        self.pacer.has_own_rate()
    }

    /// Media time at which the frames of a new connection begin: after all frames so far.
    pub(crate) fn end_ns(&self) -> i64 {
        self.end_ns
    }

    /// Counts the outage in media time, after a live source was lost and opened again.
    pub(crate) fn resume(&mut self) {
        self.end_ns = self.end_ns.max(i64::try_from(self.began.elapsed().as_nanos()).unwrap_or(i64::MAX));
    }

    /// Publishes one frame through `put`, which calls the look it is given just before readers see the frame.
    pub(crate) fn publish(
        &mut self,
        layout: &Layout,
        info: &FrameInfo,
        put: impl FnOnce(&mut dyn FnMut(u64, &[u8])) -> Result<Put, Error>,
    ) -> Result<Next, Error> {
        let mut flow = ControlFlow::Continue(());
        let (frames, dropped, elapsed) = (self.summary.frames, self.summary.dropped, self.began.elapsed());
        let duration_ns = info.duration_ns.and_then(|duration| i64::try_from(duration).ok());
        self.end_ns = self.end_ns.max(info.pts_ns.unwrap_or(0).saturating_add(duration_ns.unwrap_or(0)));
        let on_frame = &mut *self.on_frame;
        let outcome = put(&mut |sequence, bytes| {
            flow = on_frame(&Progress {
                sequence: Some(sequence),
                layout,
                info,
                bytes: Some(bytes),
                frames: frames + 1,
                dropped,
                elapsed,
            });
        })?;
        match outcome {
            Put::Published => self.summary.frames += 1,
            Put::Dropped => {
                self.summary.dropped += 1;
                tracing::debug!(dropped = dropped + 1, "frame dropped: no free slot");
                flow = on_frame(&Progress {
                    sequence: None,
                    layout,
                    info,
                    bytes: None,
                    frames,
                    dropped: dropped + 1,
                    elapsed,
                });
            }
            Put::Nothing => return Ok(Next::Nothing),
            Put::Interrupted => {
                self.summary.end = End::Stopped;
                return Ok(Next::End);
            }
        }
        if flow.is_break() {
            self.summary.end = End::Broken;
            return Ok(Next::End);
        }
        let given = self.summary.frames + self.summary.dropped;
        Ok(if self.limit.is_some_and(|limit| given >= limit) { Next::End } else { Next::Continue })
    }

    /// Waits until the frame is due, and publishes what `fill` writes.
    pub(crate) fn emit(
        &mut self,
        sink: &mut dyn Sink,
        layout: &Layout,
        info: &FrameInfo,
        fill: &mut Fill<'_>,
    ) -> Result<Next, Error> {
        if !self.wait(info.pts_ns, true) {
            return Ok(Next::End);
        }
        self.publish(layout, info, |look| sink.put(layout, info, fill, look))
    }

    pub(crate) fn finish(mut self) -> Summary {
        self.summary.elapsed = self.began.elapsed();
        self.summary
    }
}
