//! Payloads to frames.

use std::fmt;

use framelane::{Error, ErrorKind, Layout};

use crate::codec::Codec;
use crate::{jpeg, lz4, planes};

/// Decodes the payloads of one [`Encoder`](crate::Encoder), in their order.
pub struct Decoder {
    codec: Codec,
    engine: Engine,
}

enum Engine {
    Raw,
    Lz4(lz4::Decompressor),
    Jpeg(jpeg::Decompressor),
    #[cfg(feature = "video")]
    H264(Box<framelane_video::H264Decoder>),
}

impl Decoder {
    /// The settings of the codec do not matter here.
    ///
    /// # Errors
    /// [`InvalidOption`](ErrorKind::InvalidOption) for H.264 when this program was built without the feature
    /// `video`, or the FFmpeg there is cannot decode it.
    pub fn new(codec: Codec) -> Result<Self, Error> {
        let engine = match codec {
            Codec::Raw => Engine::Raw,
            Codec::Lz4 => Engine::Lz4(lz4::Decompressor::default()),
            Codec::Jpeg { .. } => Engine::Jpeg(jpeg::Decompressor::new()?),
            #[cfg(feature = "video")]
            Codec::H264 { .. } => Engine::H264(Box::new(framelane_video::H264Decoder::new()?)),
            #[cfg(not(feature = "video"))]
            Codec::H264 { .. } => return Err(crate::convert::without_video("H.264")),
        };
        Ok(Decoder { codec, engine })
    }

    /// The codec that it was made for.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Decodes `payload` into `target` with the layout `layout`; that is
    /// [`Encoded::layout`](crate::Encoded::layout), or the same size and format with padding. Blocks until it
    /// is done.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) when the payload does not give such a frame; `target` may hold
    /// anything then. H.264 is refused after that until a keyframe comes.
    /// [`InvalidFrame`](ErrorKind::InvalidFrame) when `target` is shorter than the layout.
    pub fn decode(&mut self, payload: &[u8], layout: &Layout, target: &mut [u8]) -> Result<(), Error> {
        let length = target.len();
        let target = target.get_mut(..layout.size_bytes()).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidFrame,
                format!("expected room for {} bytes, found {length}", layout.size_bytes()),
            )
        })?;
        match &mut self.engine {
            Engine::Raw => {
                let expected = planes::packed_bytes(layout);
                if payload.len() != expected {
                    return Err(Error::new(
                        ErrorKind::Damaged,
                        format!("expected {expected} bytes of a frame, found {}", payload.len()),
                    ));
                }
                planes::unpack(payload, layout, target);
                Ok(())
            }
            Engine::Lz4(decompressor) => decompressor.decode(payload, layout, target),
            Engine::Jpeg(decompressor) => decompressor.decode(payload, layout, target),
            #[cfg(feature = "video")]
            Engine::H264(decoder) => {
                // The layout is the sender's word too.
                let video = planes::as_video(layout, "h264")
                    .map_err(|error| Error::new(ErrorKind::Damaged, error.message().to_owned()))?;
                decoder.decode(payload, &video, target)
            }
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("codec", &self.codec).finish_non_exhaustive()
    }
}
