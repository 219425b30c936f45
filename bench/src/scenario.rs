//! The scenario file, as the Rust side uses it.

use serde::Deserialize;

/// `scenarios.toml`, without the entries that only Python uses.
#[derive(Clone, Debug, Deserialize)]
pub struct Scenarios {
    /// The frame that all peers transfer.
    pub frame: Frame,
    /// Paced hand-off.
    pub handoff: Handoff,
    /// Hand-off as fast as possible.
    pub free_running: FreeRunning,
    /// Copies as fast as possible.
    pub copy: Copy,
    /// Our settings.
    pub framelane: Framelane,
    /// The peer's settings.
    pub iceoryx2: Iceoryx2,
}

/// The frame.
#[derive(Clone, Debug, Deserialize)]
pub struct Frame {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes of the payload.
    pub bytes: usize,
}

/// Paced hand-off.
#[derive(Clone, Debug, Deserialize)]
pub struct Handoff {
    /// Frames a second.
    pub fps: u32,
    /// Frames that are not counted, at the start of every run.
    pub warmup_frames: u32,
    /// Length of a run.
    pub seconds_per_round: u32,
    /// Runs of each peer.
    pub rounds: usize,
    /// Numbers of readers to try.
    pub readers: Vec<usize>,
    /// Highest ratio of times.
    pub target_one_reader: f64,
    /// The same with eight readers.
    pub target_eight_readers: f64,
}

/// Hand-off as fast as possible.
#[derive(Clone, Debug, Deserialize)]
pub struct FreeRunning {
    /// Length of a run.
    pub seconds_per_round: f64,
    /// Runs of each peer.
    pub rounds: usize,
    /// Lowest ratio of rates.
    pub target: f64,
}

/// Copies as fast as possible.
#[derive(Clone, Debug, Deserialize)]
pub struct Copy {
    /// Length of a run.
    pub seconds_per_round: f64,
    /// Runs of each side.
    pub rounds: usize,
    /// Lowest ratio of rates.
    pub target: f64,
}

/// Our settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Framelane {
    /// Slots of the ring.
    pub slots: usize,
}

/// iceoryx2's settings, named as its functions.
#[derive(Clone, Debug, Deserialize)]
pub struct Iceoryx2 {
    pub subscriber_max_buffer_size: usize,
    pub subscriber_max_borrowed_samples: usize,
    pub publisher_max_loaned_samples: usize,
    pub history_size: usize,
}

impl Scenarios {
    /// Those of the file that `BENCH_SCENARIOS` names, else of the one next to `Cargo.toml`, compiled in.
    pub fn load() -> Self {
        let text = match std::env::var_os("BENCH_SCENARIOS") {
            Some(path) => std::fs::read_to_string(path).expect("the file in BENCH_SCENARIOS"),
            None => include_str!("../scenarios.toml").to_owned(),
        };
        toml::from_str(&text).expect("scenarios")
    }
}
