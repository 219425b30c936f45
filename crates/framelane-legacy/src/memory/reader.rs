//! Seeing what an old program writes, and when it has changed.
//!
//! The format has no counter and no lock. A change shows in the bytes only: each look compares the header and every 16th
//! row with the frame seen last, another set of rows each time, so that any change is seen after 16 looks at most. A frame
//! that has changed is read whole, and read again until two reads in a row agree: while a writer goes on writing they
//! differ. (A writer that pauses in the middle of a frame for longer than a read takes cannot be told from one that is done.)

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use framelane::{Error, ErrorKind, Layout};

use super::address::Address;
use super::header::{HEADER_BYTES, Header};
use super::{NO_SURPRISE, is_same};

/// One row in this many is compared at a look.
const ROW_STEP: usize = 16;

/// What a look has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// There is no such mapping (any more).
    Missing,
    /// Nothing that could be a frame: all zeros, a text, or nonsense.
    NoFrame(Header),
    /// The frame seen last is still there, as far as this look goes.
    Same,
    /// Something has changed: read it with [`Reader::confirm`].
    Changed(Layout),
}

/// What a second read has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// Two reads in a row agree, and it is not the frame seen last.
    Frame,
    /// Two reads in a row agree on the frame seen last.
    Same,
    /// They differ: the writer is writing. Confirm again.
    Torn,
    /// The header has changed meanwhile, or the mapping is gone: look again.
    LookAgain,
}

/// One that sees the frames in an area of a mapping.
#[derive(Debug)]
pub struct Reader {
    address: Address,
    file: Option<File>,
    /// The frame confirmed last.
    last: Option<Header>,
    last_pixels: Vec<u8>,
    /// The read before this one.
    now: Option<Header>,
    now_pixels: Vec<u8>,
    looks: usize,
}

impl Reader {
    /// Sees what will be at `address`.
    pub fn new(address: &Address) -> Self {
        Reader {
            address: address.clone(),
            file: None,
            last: None,
            last_pixels: Vec::new(),
            now: None,
            now_pixels: Vec::new(),
            looks: 0,
        }
    }

    /// Looks whether there is a new frame. Cheap when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`] and others of opening and reading.
    pub fn look(&mut self) -> Result<Look, Error> {
        if !self.is_current()? {
            return Ok(Look::Missing);
        }
        let Some(header) = self.read_header()? else { return Ok(Look::Missing) };
        let Some(layout) = header.layout(self.address.area_bytes()) else { return Ok(Look::NoFrame(header)) };
        if self.last == Some(header) && self.rows_are_same(&layout)? {
            return Ok(Look::Same);
        }
        self.now_pixels.resize(layout.size_bytes(), 0);
        let mut pixels = std::mem::take(&mut self.now_pixels);
        let read = self.read_at(&mut pixels, HEADER_BYTES);
        self.now_pixels = pixels;
        if !read? {
            return Ok(Look::Missing);
        }
        self.now = Some(header);
        Ok(Look::Changed(layout))
    }

    /// Reads again, into `pixels`, which has the size of the layout that [`Reader::look`] gave.
    ///
    /// # Errors
    /// Those of reading.
    pub fn confirm(&mut self, pixels: &mut [u8]) -> Result<Confirmed, Error> {
        if pixels.len() != self.now_pixels.len() || !self.read_at(pixels, HEADER_BYTES)? {
            return Ok(Confirmed::LookAgain);
        }
        // After the pixels: a writer begins with the header.
        if self.read_header()? != self.now {
            return Ok(Confirmed::LookAgain);
        }
        if pixels != &self.now_pixels[..] {
            self.now_pixels.copy_from_slice(pixels);
            return Ok(Confirmed::Torn);
        }
        if self.now == self.last && self.now_pixels == self.last_pixels {
            return Ok(Confirmed::Same);
        }
        self.accept();
        Ok(Confirmed::Frame)
    }

    /// Takes what was read for seen.
    pub fn accept(&mut self) {
        self.last = self.now;
        std::mem::swap(&mut self.last_pixels, &mut self.now_pixels);
    }

    /// Whether the file is open, and still the one of that name; opens it if not.
    fn is_current(&mut self) -> Result<bool, Error> {
        let path = self.address.path();
        let failed = |error| {
            Error::from_io(format!("opening the mapping {} ({})", self.address.name(), path.display()), error)
        };
        let there = match std::fs::symlink_metadata(&path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.file = None;
                return Ok(false);
            }
            Err(error) => return Err(failed(error)),
        };
        if !there.is_file() {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("expected a mapping at {}, found something else", path.display()),
            ));
        }
        if let Some(file) = &self.file
            && is_same(&file.metadata().map_err(failed)?, &there)
        {
            return Ok(true);
        }
        match File::options().read(true).custom_flags(NO_SURPRISE).open(&path) {
            Ok(file) => self.file = Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
        Ok(true)
    }

    fn read_header(&self) -> Result<Option<Header>, Error> {
        let mut bytes = [0; HEADER_BYTES];
        Ok(self.read_at(&mut bytes, 0)?.then(|| Header::from_bytes(bytes)))
    }

    /// Reads from the area; false when the mapping ends before.
    fn read_at(&self, bytes: &mut [u8], at: usize) -> Result<bool, Error> {
        let Some(file) = &self.file else { return Ok(false) };
        match file.read_exact_at(bytes, self.address.offset_bytes() + at as u64) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(Error::from_io(format!("reading the mapping {}", self.address.name()), error)),
        }
    }

    /// Whether this look's rows are those of the frame seen last.
    fn rows_are_same(&mut self, layout: &Layout) -> Result<bool, Error> {
        let (rows, row_bytes) = layout.format().plane_shape(0, layout.width(), layout.height());
        self.looks = self.looks.wrapping_add(1);
        let mut row_now = vec![0; row_bytes];
        for row in (self.looks % ROW_STEP..rows as usize).step_by(ROW_STEP) {
            let at = row * row_bytes;
            let same = self.read_at(&mut row_now, HEADER_BYTES + at)?
                && self.last_pixels.get(at..at + row_bytes) == Some(&row_now[..]);
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
