//! Packets of H.264 to frames.

use std::fmt;

use framelane::{Error, ErrorKind, Layout, PixelFormat};

use super::check_sides;
use super::packet::{Watch, has_keyframe};
use crate::ffmpeg::packet_decoder::{self, PacketDecoder};
use crate::ffmpeg::picture::Picture;
use crate::ffmpeg::pixel;
use crate::ffmpeg::scale::Scaler;

/// Decodes the packets of an [`H264Encoder`](super::H264Encoder). The sender need not be trusted.
///
/// Pictures are never guessed: after an error, or when a packet is missing, each packet is refused until a
/// keyframe comes. A keyframe decodes to the same picture after any packets.
pub struct H264Decoder {
    open: Option<(u32, u32, PacketDecoder)>,
    watch: Watch,
    scaler: Scaler,
}

impl H264Decoder {
    /// Opens nothing yet: the first packet has the size.
    ///
    /// # Errors
    /// [`InvalidOption`](ErrorKind::InvalidOption) when this FFmpeg cannot decode H.264.
    pub fn new() -> Result<Self, Error> {
        packet_decoder::find()?;
        Ok(H264Decoder { open: None, watch: Watch::default(), scaler: Scaler::new("bicubic")? })
    }

    /// Decodes one packet into `target` with the layout `layout`, of any video format.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) when the packet does not hold a picture of the layout's size that
    /// follows the one before; then `target` may hold anything.
    pub fn decode(&mut self, packet: &[u8], layout: &Layout, target: &mut [u8]) -> Result<(), Error> {
        let result = self.decode_next(packet, layout, target);
        if result.is_err() {
            self.open = None;
            self.watch = Watch::default();
        }
        result
    }

    fn decode_next(&mut self, packet: &[u8], layout: &Layout, target: &mut [u8]) -> Result<(), Error> {
        check_sides(layout).map_err(|error| Error::new(ErrorKind::Damaged, error.message()))?;
        let (width, height) = (layout.width().next_multiple_of(2), layout.height().next_multiple_of(2));
        if self.open.as_ref().is_some_and(|open| (open.0, open.1) != (width, height)) {
            self.open = None;
            self.watch = Watch::default();
        }
        let keyframe = self.watch.accept(packet, width, height).map_err(|reason| {
            let error = Error::new(ErrorKind::Damaged, format!("a packet of H.264: {reason}"));
            if has_keyframe(packet) { error } else { error.with_hint("ask for a keyframe") }
        })?;
        // FFmpeg keeps what a damaged parameter set claimed, also over `avcodec_flush_buffers`: a delay for
        // reordering, in which later pictures stay, or a colour that later sets do not name. A new decoder
        // knows nothing of it.
        if keyframe {
            self.open = None;
        }
        let decoder = match &mut self.open {
            Some((_, _, decoder)) => decoder,
            none => &mut none.insert((width, height, PacketDecoder::open(width, height)?)).2,
        };
        let frame = decoder.decode(packet)?;
        if (frame.width(), frame.height()) != (width, height)
            || pixel::from_av(frame.format()) != Some(PixelFormat::I420)
        {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("expected a picture of {width}x{height}, found {}x{}", frame.width(), frame.height()),
            ));
        }
        let mut picture = Picture::of_frame(frame).cropped(layout.width(), layout.height());
        if matches!(layout.format(), PixelFormat::Gray8 | PixelFormat::Gray16) {
            picture = picture.luminance();
        }
        self.scaler.convert(&picture, layout, target)
    }
}

impl fmt::Debug for H264Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H264Decoder").finish_non_exhaustive()
    }
}
