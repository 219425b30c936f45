//! The memory of a channel's file, for tests that read it or damage it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The memory that a file of a channel stands for: the file itself.
pub struct Memory(File);

impl Memory {
    /// Opens the memory. `None` if it is gone.
    pub fn open(path: &Path) -> Option<Self> {
        File::options().read(true).write(true).open(path).ok().map(Memory)
    }

    /// Its bytes.
    ///
    /// # Panics
    /// When the file cannot be asked.
    pub fn len(&self) -> u64 {
        self.0.metadata().expect("an open file").len()
    }

    /// Returns whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads at an offset.
    ///
    /// # Panics
    /// Beyond the end.
    pub fn read(&self, bytes: &mut [u8], offset: u64) {
        self.0.read_exact_at(bytes, offset).expect("bytes of the file");
    }

    /// Writes at an offset.
    ///
    /// # Panics
    /// When the file does not take the bytes.
    pub fn write(&self, bytes: &[u8], offset: u64) {
        self.0.write_all_at(bytes, offset).expect("a file that takes bytes");
    }
}
