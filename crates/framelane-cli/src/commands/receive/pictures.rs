//! JPEGs of `legacy://` senders into frames of a channel, upright as `cv2.imdecode` returns them.

use framelane::{Error, ErrorKind, FrameInfo, Layout, LoanError, PixelFormat, Publisher};
use framelane_codec::jpeg::{self, Decompressor};
use framelane_video::Orientation;

use crate::failure::Failure;

/// The fate of a JPEG.
pub enum Picture {
    Published,
    /// All slots are held. The publisher counts it.
    Dropped,
    /// It is no picture, or a larger one than is allowed.
    Broken(Error),
}

/// Decodes JPEGs into slots, with memory that is kept from one to the next.
pub struct Pictures {
    decompressor: Decompressor,
    max_size: (u32, u32),
    /// The size of the largest frame that was decoded: the ring has room for it.
    known_bytes: usize,
    /// Pictures that are not decoded straight into a slot.
    scratch: Vec<u8>,
}

impl Pictures {
    /// `max_size`: pictures have at most as many pixels.
    pub fn new(max_size: (u32, u32)) -> Result<Self, Error> {
        let decompressor = Decompressor::new()?;
        Ok(Pictures { decompressor, max_size, known_bytes: 0, scratch: Vec::new() })
    }

    /// Publishes a JPEG.
    ///
    /// # Errors
    /// When the channel fails. What is wrong with the picture is [`Picture::Broken`].
    pub fn publish(&mut self, jpeg: &[u8], publisher: &mut Publisher) -> Result<Picture, Failure> {
        match self.decode(jpeg, publisher) {
            Ok(picture) => Ok(picture),
            Err(error) => match error.kind() {
                ErrorKind::Damaged
                | ErrorKind::InvalidFrame
                | ErrorKind::NoSpace
                | ErrorKind::FrameTooLarge => Ok(Picture::Broken(error)),
                _ => Err(error.into()),
            },
        }
    }

    fn decode(&mut self, jpeg: &[u8], publisher: &mut Publisher) -> Result<Picture, Error> {
        let coded = self.layout(jpeg::header(jpeg)?)?;
        let orientation = Orientation::of_exif(jpeg::orientation(jpeg));
        let upright = orientation.layout(&coded)?;
        let is_known = upright.size_bytes() <= self.known_bytes;
        // Straight into a slot, unless that is turned later, or would first make a larger ring: a few bytes
        // may claim gigabytes and be no picture.
        let is_direct = is_known && orientation == Orientation::UPRIGHT;
        if is_direct {
            self.scratch = Vec::new();
        } else {
            self.scratch.resize(coded.size_bytes(), 0);
            self.decompressor.decode(jpeg, &coded, &mut self.scratch)?;
        }
        let mut loan = match publisher.loan(&upright) {
            Ok(loan) => loan,
            Err(LoanError::NoFreeSlot) => return Ok(Picture::Dropped),
            Err(error) => return Err(error.into()),
        };
        if is_direct {
            self.decompressor.decode(jpeg, &coded, loan.bytes_mut())?;
        } else {
            orientation.turn(&coded, &self.scratch, &upright, loan.bytes_mut())?;
        }
        loan.publish(&FrameInfo::default());
        self.known_bytes = self.known_bytes.max(upright.size_bytes());
        Ok(Picture::Published)
    }

    /// The frame that a JPEG becomes, as it is stored.
    fn layout(&self, header: jpeg::Header) -> Result<Layout, Error> {
        let jpeg::Header { width, height, is_gray, .. } = header;
        let most = self.max_size;
        let pixels = |(width, height)| u64::from(width) * u64::from(height);
        if pixels((width, height)) > pixels(most) {
            let message =
                format!("expected a picture of at most {}x{} pixels, found {width}x{height}", most.0, most.1);
            return Err(Error::new(ErrorKind::FrameTooLarge, message)
                .with_hint("if the sender is right, allow more (--max-size)"));
        }
        Layout::packed(if is_gray { PixelFormat::Gray8 } else { PixelFormat::Bgr8 }, width, height)
    }
}
