//! A camera: frames of the pattern, at a pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use framelane::{CancelToken, FrameInfo, Layout, LoanError, PixelFormat, Publisher};

use crate::{Pattern, SMALLEST_FRAME};

/// Publishes on a separate thread until it is stopped or dropped; then the channel is closed.
pub struct Camera {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    end: CancelToken,
    /// The newest frame's number; written by the thread after it has published that.
    newest: AtomicU64,
}

impl Camera {
    /// Frames of so many bytes, so many a second.
    ///
    /// # Panics
    /// When a frame cannot be published; then also where it is stopped.
    pub fn start(publisher: Publisher, bytes: usize, fps: f64) -> Self {
        assert!(bytes >= SMALLEST_FRAME, "room for the pattern");
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let run = move || film(publisher, bytes, Duration::from_secs_f64(1.0 / fps), &theirs);
        let thread = std::thread::Builder::new().name("camera".into()).spawn(run).expect("a thread");
        Camera { shared, thread: Some(thread) }
    }

    /// The number of the newest frame.
    pub fn newest(&self) -> u64 {
        self.shared.newest.load(Ordering::Relaxed)
    }

    /// Ends it. Returns the number of the last frame.
    ///
    /// # Panics
    /// If the camera panicked.
    pub fn stop(mut self) -> u64 {
        self.end();
        self.newest()
    }

    fn end(&mut self) {
        self.shared.end.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))) || std::thread::panicking(), "the camera has failed");
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.end();
    }
}

fn film(mut publisher: Publisher, bytes: usize, period: Duration, shared: &Shared) {
    let pattern = Pattern::new();
    let layout = Layout::packed(PixelFormat::Gray8, bytes as u32, 1).expect("a layout");
    let go_on = || !shared.end.is_cancelled();
    publisher.set_cancel_token(shared.end.clone());
    let mut due = Instant::now();
    while go_on() {
        // A camera has a pace; nothing waits for it.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due = (due + period).max(Instant::now());
        let sequence = publisher.sequence() + 1;
        match publisher.loan(&layout) {
            Ok(mut loan) => {
                pattern.fill(loan.bytes_mut(), sequence, false);
                shared.newest.store(loan.publish(&FrameInfo::default()), Ordering::Relaxed);
            }
            Err(LoanError::NoFreeSlot | LoanError::Interrupted) => {}
            Err(error) => panic!("{error}"),
        }
    }
    // A publisher that waits for its readers lets them have the last frames.
    if publisher.backpressure() == framelane::Backpressure::Block {
        publisher.set_cancel_token(CancelToken::new());
        let _ = publisher.drain(Some(Duration::from_secs(60)));
    }
    publisher.close();
}
