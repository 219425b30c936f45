//! Frames to payloads.

use std::fmt;

use framelane::{Color, Error, ErrorKind, FrameInfo, Layout, PixelFormat};

use crate::codec::Codec;
use crate::convert::{Stage, color_after};
use crate::{jpeg, lz4, planes};

/// Encodes frames of any size and format, one after the other.
pub struct Encoder {
    codec: Codec,
    size: Option<(u32, u32)>,
    scale: Stage,
    engine: Engine,
    wants_keyframe: bool,
}

enum Engine {
    Raw,
    Lz4(lz4::Compressor),
    Jpeg(Box<Jpeg>),
    #[cfg(feature = "video")]
    H264(Box<framelane_video::H264Encoder>),
}

struct Jpeg {
    compressor: jpeg::Compressor,
    convert: Stage,
    quality: u8,
}

/// Description of the frame that the decoder will return for a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoded {
    /// Size and format, without padding.
    pub layout: Layout,
    /// Metadata of the frame, with the colour that the decoded frame has.
    pub info: FrameInfo,
    /// True if the payload can be decoded without those before it.
    pub keyframe: bool,
}

impl Encoder {
    /// `size` is what frames are scaled to first (bicubic); detections are left as they are.
    ///
    /// # Errors
    /// [`InvalidOption`](ErrorKind::InvalidOption) when a setting is out of range, when this program was
    /// built without the feature `video` and `size` or H.264 is asked for, and when the FFmpeg there is has
    /// no libx264.
    pub fn new(codec: Codec, size: Option<(u32, u32)>) -> Result<Self, Error> {
        if let Some((width @ 0, height) | (width, height @ 0)) = size {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("expected a size of at least one pixel, found {width}x{height}"),
            ));
        }
        #[cfg(not(feature = "video"))]
        if size.is_some() {
            return Err(crate::convert::without_video("scaling"));
        }
        let engine = match codec.check()? {
            Codec::Raw => Engine::Raw,
            Codec::Lz4 => Engine::Lz4(lz4::Compressor::new()),
            Codec::Jpeg { quality } => Engine::Jpeg(Box::new(Jpeg {
                compressor: jpeg::Compressor::new()?,
                convert: Stage::default(),
                quality,
            })),
            #[cfg(feature = "video")]
            Codec::H264 { bits_per_second } => {
                Engine::H264(Box::new(framelane_video::H264Encoder::new(bits_per_second)?))
            }
            #[cfg(not(feature = "video"))]
            Codec::H264 { .. } => return Err(crate::convert::without_video("H.264")),
        };
        Ok(Encoder { codec, size, scale: Stage::default(), engine, wants_keyframe: false })
    }

    /// The codec that it was made for.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Makes the next payload a keyframe, which can be decoded without those before it. Only H.264 has other
    /// payloads.
    pub fn request_keyframe(&mut self) {
        self.wants_keyframe = true;
    }

    /// Encodes one frame and replaces the content of `out`. Blocks until the frame is encoded, and keeps no
    /// reference to `bytes`.
    ///
    /// # Errors
    /// [`InvalidOption`](ErrorKind::InvalidOption) when the codec does not take such frames,
    /// [`InvalidFrame`](ErrorKind::InvalidFrame) when `bytes` are fewer than the layout says. `out` is empty
    /// then.
    pub fn encode(
        &mut self,
        layout: &Layout,
        info: &FrameInfo,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Encoded, Error> {
        out.clear();
        let bytes = whole(layout, bytes)?;
        let scaled = match self.size {
            Some((width, height))
                if layout.format() != PixelFormat::Detections
                    && (width, height) != (layout.width(), layout.height()) =>
            {
                Some(Layout::packed(layout.format(), width, height)?)
            }
            _ => None,
        };
        let mut info = info.clone();
        let (layout, bytes) = match &scaled {
            None => (layout, bytes),
            Some(scaled) => {
                let (from, to) = (planes::as_video(layout, "scaling")?, planes::as_video(scaled, "scaling")?);
                let bytes = self.scale.run((&from, color_of(layout, &info), bytes), &to)?;
                info.color = color_after(info.color, layout.format());
                (scaled, bytes)
            }
        };
        let mut encoded = Encoded {
            layout: Layout::packed(layout.format(), layout.width(), layout.height())?,
            info,
            keyframe: true,
        };
        let result = self.engine.encode(layout, bytes, self.wants_keyframe, &mut encoded, out);
        match result {
            Ok(()) => self.wants_keyframe &= !encoded.keyframe,
            Err(_) => out.clear(),
        }
        result.map(|()| encoded)
    }
}

/// Copies a frame to `out` with its rows next to each other, and replaces what `out` held. Returns the layout
/// of the copy.
///
/// For frames in a slot that is needed again before they are encoded. The copy takes as much memory as the
/// frame has pixels, however far its rows lie apart.
///
/// # Errors
/// [`InvalidFrame`](ErrorKind::InvalidFrame) when `bytes` are fewer than the layout says.
pub fn pack(layout: &Layout, bytes: &[u8], out: &mut Vec<u8>) -> Result<Layout, Error> {
    out.clear();
    let bytes = whole(layout, bytes)?;
    planes::pack(layout, bytes, out);
    Layout::packed(layout.format(), layout.width(), layout.height())
}

fn whole<'b>(layout: &Layout, bytes: &'b [u8]) -> Result<&'b [u8], Error> {
    bytes.get(..layout.size_bytes()).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidFrame,
            format!("expected {} bytes of a frame, found {}", layout.size_bytes(), bytes.len()),
        )
    })
}

/// A matrix has no colour, even if the publisher names one.
fn color_of(layout: &Layout, info: &FrameInfo) -> Color {
    if matches!(layout.format(), PixelFormat::Matrix(_)) { Color::default() } else { info.color }
}

impl Engine {
    fn encode(
        &mut self,
        layout: &Layout,
        bytes: &[u8],
        keyframe: bool,
        encoded: &mut Encoded,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        // Only H.264 has keyframes.
        #[cfg(not(feature = "video"))]
        let _ = keyframe;
        match self {
            Engine::Raw => {
                planes::pack(layout, bytes, out);
                Ok(())
            }
            Engine::Lz4(compressor) => compressor.encode(layout, bytes, out),
            Engine::Jpeg(jpeg) => jpeg.encode(layout, bytes, encoded, out),
            #[cfg(feature = "video")]
            Engine::H264(encoder) => {
                let video = planes::as_video(layout, "h264")?;
                let frame = (&video, color_of(layout, &encoded.info), bytes);
                if keyframe {
                    encoder.request_keyframe();
                }
                encoded.keyframe = encoder.encode(frame, encoded.info.timestamp_ns, out)?;
                encoded.info.keyframe = encoded.keyframe;
                if layout.format() == PixelFormat::Gray16 {
                    encoded.info.color = color_after(encoded.info.color, PixelFormat::Gray16);
                }
                Ok(())
            }
        }
    }
}

impl Jpeg {
    fn encode(
        &mut self,
        layout: &Layout,
        bytes: &[u8],
        encoded: &mut Encoded,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if jpeg::takes(layout.format()) {
            return self.compressor.encode(layout, bytes, self.quality, out);
        }
        let video = planes::as_video(layout, "jpeg")?;
        let format = match video.format() {
            PixelFormat::Gray16 => PixelFormat::Gray8,
            _ => PixelFormat::I420,
        };
        let to = Layout::packed(format, layout.width(), layout.height())?;
        let converted = self.convert.run((&video, encoded.info.color, bytes), &to)?;
        self.compressor.encode(&to, converted, self.quality, out)?;
        encoded.info.color = color_after(encoded.info.color, format);
        encoded.layout = to;
        Ok(())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("codec", &self.codec)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
