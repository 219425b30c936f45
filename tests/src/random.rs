//! Random numbers that a printed seed brings back.

/// The increment of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64. The numbers of a seed are the same in `tests/python/pattern.py`.
pub struct Random(u64);

impl Random {
    /// Numbers that follow from the seed alone.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// Numbers of the seed in `$FRAMELANE_SEED`, else of 1. Prints the seed.
    pub fn printed(test: &str) -> Self {
        let seed = std::env::var("FRAMELANE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("{test}: FRAMELANE_SEED={seed}");
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// Keeps the processor busy for a random time below `micros` microseconds.
    pub fn spin(&mut self, micros: u64) {
        let time = std::time::Duration::from_nanos(self.below(micros * 1000));
        let start = std::time::Instant::now();
        while start.elapsed() < time {
            std::hint::spin_loop();
        }
    }
}

/// SplitMix64's output function.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
