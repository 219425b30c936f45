//! The newest frames, kept until their detections arrive.

use std::collections::VecDeque;
use std::sync::Arc;

use framelane::{FrameId, Layout};

/// Room for copies: 5 seconds of 640×272 at 25/s are 65 MB.
const KEPT_BYTES: usize = 128 << 20;

/// A copy of a published frame.
pub(crate) struct Kept {
    pub source: Arc<str>,
    pub epoch: u64,
    pub sequence: u64,
    pub layout: Layout,
    pub bytes: Vec<u8>,
}

/// The newest frames, oldest first.
pub(crate) struct Recent {
    frames: VecDeque<Arc<Kept>>,
    bytes: usize,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Recent { frames: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn remember(&mut self, frame: Kept) {
        self.bytes += frame.bytes.len();
        self.frames.push_back(Arc::new(frame));
        while self.bytes > KEPT_BYTES {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// Returns the frame that detections belong to, if it is still kept.
    pub(crate) fn find(&self, id: &FrameId) -> Option<Arc<Kept>> {
        self.frames.iter().find(|kept| (kept.epoch, kept.sequence) == (id.epoch, id.sequence)).cloned()
    }
}
