//! The files of a channel, kept while its publisher closes it: what a killed publisher leaves.

use std::path::{Path, PathBuf};

use crate::Memory;

/// Copies of all files of a directory.
pub struct Kept(Vec<Copy>);

struct Copy {
    path: PathBuf,
    bytes: Vec<u8>,
    memory: Option<(Memory, Vec<u8>)>,
}

impl Kept {
    /// Copies them.
    ///
    /// # Panics
    /// When the directory or a file cannot be read.
    pub fn of(directory: &Path) -> Self {
        let paths =
            std::fs::read_dir(directory).expect("the directory").map(|entry| entry.expect("a name").path());
        let copy = |path: PathBuf| {
            let bytes = std::fs::read(&path).expect("a file");
            // Where the memory is not in the file, it lives as long as this is kept.
            let memory = if cfg!(windows) { Memory::open(&path) } else { None };
            let memory = memory.map(|memory| {
                let mut bytes = vec![0; memory.len() as usize];
                memory.read(&mut bytes, 0);
                (memory, bytes)
            });
            Copy { path, bytes, memory }
        };
        Kept(paths.map(copy).collect())
    }

    /// Writes the copies to the same names.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn put_back(&self) {
        for Copy { path, bytes, memory } in &self.0 {
            std::fs::write(path, bytes).expect("a file that takes bytes");
            if let Some((memory, bytes)) = memory {
                memory.write(bytes, 0);
            }
        }
    }
}
