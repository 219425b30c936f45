//! Writing frames as an old program does: header, then pixels, over what was there.

use std::fs::File;
use std::os::unix::fs::FileExt;

use framelane::{Error, ErrorKind, Layout};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::address::Address;
use super::header::{HEADER_BYTES, Header};
use super::owner::Owner;
use super::place::Place;

/// The state of the mapping before it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is ours: its end is ours too.
    New,
    /// Another program made it.
    Found,
}

/// One that writes frames into an area of a mapping.
#[derive(Debug)]
pub struct Writer {
    address: Address,
    place: Place,
    file: File,
    made: Made,
}

impl Writer {
    /// Opens the mapping, or makes it, for this user alone.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] when the mapping that is there is too small for the area;
    /// [`ErrorKind::NoSpace`]; [`ErrorKind::PermissionDenied`], also when it does not belong to the expected
    /// user (that of this process, or [`Address::owner`]).
    pub fn open(address: &Address) -> Result<Self, Error> {
        let path = address.path();
        let failed = |error: std::io::Error| {
            Error::from_io(format!("opening the mapping {} ({})", address.name(), path.display()), error)
        };
        let place = Place::open(&path).map_err(|error| failed(error.into()))?;
        let (file, made) = loop {
            match place.open_file() {
                Ok(file) => break (file, Made::Found),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error.into())),
            }
            match place.make_file() {
                Ok(file) => break (file, Made::New),
                // Another program was faster: it is the one to use.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error.into())),
            }
        };
        let there = file.metadata().map_err(failed)?;
        if !there.is_file() {
            let message = format!("expected a mapping at {}, found something else", path.display());
            return Err(
                Error::new(ErrorKind::Damaged, message).with_hint("remove it, or choose another name")
            );
        }
        // Of the open file: the frames go there, regardless of the file that has the name by now.
        let expected = address.owner().unwrap_or_else(|| geteuid().as_raw());
        if made == Made::Found {
            Owner::of(&file).map_err(failed)?.check(address, "write to", expected)?;
        }
        let found = there.len();
        let wanted = address.total_bytes();
        if found == 0 {
            if let Err(error) = file.set_len(wanted) {
                if made == Made::New {
                    place.remove(&file);
                }
                return Err(failed(error));
            }
        } else if found < address.offset_bytes() + address.area_bytes() as u64 {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("expected the mapping {} to have {wanted} bytes, found {found}", address.name()),
            )
            .with_hint(format!(
                "give ?size= and ?streams= of the program that made it, or end that program and remove {}",
                path.display()
            )));
        }
        Ok(Writer { address: address.clone(), place, file, made })
    }

    /// Returns the state of the mapping before it was opened.
    pub fn made(&self) -> Made {
        self.made
    }

    /// The owner and permissions of the mapping.
    ///
    /// # Errors
    /// Those of the system.
    pub fn owner(&self) -> Result<Owner, Error> {
        Owner::of(&self.file).map_err(|error| Error::from_io("reading the owner of a mapping", error))
    }

    /// Writes a frame: the header, then the rows without padding.
    ///
    /// # Errors
    /// [`ErrorKind::FrameTooLarge`] when the area has no room; [`ErrorKind::InvalidFrame`] when the format
    /// has no OpenCV type; [`ErrorKind::NoSpace`] when shared memory is full. Nothing is written in the first
    /// two cases.
    pub fn write(&mut self, layout: &Layout, bytes: &[u8]) -> Result<(), Error> {
        let header = Header::of(layout, self.address.opencv()).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidFrame,
                format!(
                    "expected frames with an OpenCV type (bgr8, gray8, a matrix), found {}",
                    layout.format()
                ),
            )
        })?;
        let (rows, row_bytes) = layout.format().plane_shape(0, layout.width(), layout.height());
        let pixels = row_bytes * rows as usize;
        let room = self.address.area_bytes() - HEADER_BYTES;
        if pixels > room {
            let (width, height) = self.address.size();
            return Err(Error::new(
                ErrorKind::FrameTooLarge,
                format!(
                    "a frame of {}x{} {} has {pixels} bytes, an area of {width}x{height} has room for {room}",
                    layout.width(),
                    layout.height(),
                    layout.format()
                ),
            )
            .with_hint("give a larger ?size= on both sides, or let frames be scaled"));
        }
        if !self.place.is_of(&self.file) {
            // Removed, or created again by another program: readers look there now.
            *self = Writer::open(&self.address)?;
        }
        let failed = |error| Error::from_io(format!("writing to the mapping {}", self.address.name()), error);
        let start = self.address.offset_bytes();
        self.file.write_all_at(&header.to_bytes(), start).map_err(failed)?;
        let pixels_at = start + HEADER_BYTES as u64;
        let plane = layout.planes()[0];
        let bytes = bytes.get(plane.offset_bytes..layout.size_bytes()).unwrap_or_default();
        if plane.stride_bytes == row_bytes {
            return self.file.write_all_at(&bytes[..pixels], pixels_at).map_err(failed);
        }
        for (row, bytes) in bytes.chunks(plane.stride_bytes).take(rows as usize).enumerate() {
            self.file
                .write_all_at(&bytes[..row_bytes], pixels_at + (row * row_bytes) as u64)
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Removes the mapping if it is ours, and ours alone: other streams may be other programs'. Programs that
    /// have it open keep what they see.
    pub fn remove_if_made(self) {
        if self.made == Made::New && self.address.streams() == 1 {
            self.place.remove(&self.file);
        }
    }
}
