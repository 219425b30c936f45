//! The streams of an open input: the stream to play, and its facts before decoding.

use std::ffi::{CStr, c_int};
use std::ptr;

use ffmpeg_sys_next as ff;
use framelane::{Color, Error, ErrorKind};

use super::input::Input;
use super::orientation::{self, Display};
use super::pixel;

/// Facts about a video stream before it is decoded.
#[derive(Clone, Debug)]
pub(crate) struct StreamFacts {
    pub(crate) index: usize,
    pub(crate) codec: String,
    /// FFmpeg's name of the decoder, as in `libdav1d`.
    pub(crate) decoder: String,
    pub(crate) format: c_int,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) fps: Option<f64>,
    pub(crate) frames: Option<u64>,
    pub(crate) duration_ns: Option<u64>,
    /// Length of the input unless it was cut off. Unknown if it is a guess from the bit rate.
    pub(crate) length_ns: Option<u64>,
    pub(crate) color: Color,
    /// Of the first picture, as far as it is known.
    pub(crate) display: Display,
    /// For pictures without one.
    pub(crate) display_of_stream: Display,
    pub(crate) time_base: (i64, i64),
    pub(crate) level: i32,
    /// Pictures that the decoder holds back to put them into order.
    pub(crate) delay: usize,
}

impl StreamFacts {
    /// Returns true if a picture's display matrix holds for the pictures after it (ITU-T H.264, D.2.27). EXIF
    /// data do not.
    pub(crate) fn display_persists(&self) -> bool {
        ["h264", "hevc"].contains(&self.codec.as_str())
    }
}

impl Input {
    /// The wanted stream, else the one FFmpeg thinks best; all others are no longer read.
    pub(crate) fn select_video(&mut self, wanted: Option<usize>, source: &str) -> Result<StreamFacts, Error> {
        let wanted = match wanted {
            None => -1,
            Some(nth) => self.video_streams().get(nth).map(|index| *index as c_int).ok_or_else(|| {
                let count = self.video_streams().len();
                Error::new(
                    ErrorKind::InvalidOption,
                    format!(
                        "{source} has {count} video streams (numbered from 0), found a request for \
                             number {nth}"
                    ),
                )
            })?,
        };
        // SAFETY: an open context; null stands for "no decoder wanted".
        let index = unsafe {
            ff::av_find_best_stream(
                self.context,
                ff::AVMediaType::AVMEDIA_TYPE_VIDEO,
                wanted,
                -1,
                ptr::null_mut(),
                0,
            )
        };
        let Ok(index) = usize::try_from(index) else { return Err(self.no_video(source)) };
        let facts = self.facts(index).ok_or_else(|| self.no_video(source))?;
        for other in 0..self.raw().nb_streams as usize {
            // Where only the whole input has a length, sound may be what lasts to its end.
            let sound = self
                .parameters(other)
                .is_some_and(|stream| stream.codec_type == ff::AVMediaType::AVMEDIA_TYPE_AUDIO);
            let lasts = sound && facts.length_ns.is_some() && self.stream_length_ns(index).is_none();
            self.discard_unless(other, other == index || lasts);
        }
        Ok(facts)
    }

    /// Returns the length of a stream in the container.
    fn stream_length_ns(&self, index: usize) -> Option<i64> {
        let stream = self.stream(index)?;
        let time_base = (i64::from(stream.time_base.num), i64::from(stream.time_base.den.max(1)));
        if stream.duration > 0 {
            return Some(super::to_ns(stream.duration, time_base));
        }
        // Matroska has it as a tag.
        // SAFETY: null, or a dictionary that lives as long as the stream; the name ends with a zero.
        let entry = unsafe { ff::av_dict_get(stream.metadata, c"DURATION".as_ptr(), ptr::null(), 0) };
        // SAFETY: null, or an entry of that dictionary.
        let entry = unsafe { entry.as_ref() }?;
        let mut length_us = 0;
        // SAFETY: a string that ends with a zero; the number is a local.
        let code = unsafe { ff::av_parse_time(&mut length_us, entry.value, 1) };
        (code >= 0 && length_us > 0).then(|| length_us.saturating_mul(1000))
    }

    fn video_streams(&self) -> Vec<usize> {
        (0..self.raw().nb_streams as usize)
            .filter(|&index| {
                self.parameters(index).is_some_and(|p| p.codec_type == ff::AVMediaType::AVMEDIA_TYPE_VIDEO)
            })
            .collect()
    }

    fn parameters(&self, index: usize) -> Option<&ff::AVCodecParameters> {
        // SAFETY: null, or parameters that live as long as their stream.
        unsafe { self.stream(index)?.codecpar.as_ref() }
    }

    fn discard_unless(&mut self, index: usize, keep: bool) {
        let Some(stream) = self.stream(index) else { return };
        let stream = ptr::from_ref(stream).cast_mut();
        let discard = if keep { ff::AVDiscard::AVDISCARD_DEFAULT } else { ff::AVDiscard::AVDISCARD_ALL };
        // SAFETY: a stream of this context, which &mut self owns alone.
        unsafe { (*stream).discard = discard };
    }

    fn no_video(&self, source: &str) -> Error {
        let streams = self.raw().nb_streams;
        Error::new(
            ErrorKind::Damaged,
            format!(
                "{source} has no video: expected a video stream, found {streams} streams, none of them video"
            ),
        )
        .with_hint("give a file or stream with pictures; `ffprobe SOURCE` lists what there is")
    }

    fn facts(&self, index: usize) -> Option<StreamFacts> {
        let stream = self.stream(index)?;
        let parameters = self.parameters(index)?;
        let time_base = (i64::from(stream.time_base.num), i64::from(stream.time_base.den.max(1)));
        let fps = [stream.avg_frame_rate, stream.r_frame_rate]
            .into_iter()
            .find(|rate| rate.num > 0 && rate.den > 0)
            .map(|rate| f64::from(rate.num) / f64::from(rate.den));
        let duration_ns = if stream.duration > 0 {
            super::to_ns(stream.duration, time_base)
        } else {
            self.raw().duration.saturating_mul(1000)
        };
        let duration_ns = u64::try_from(duration_ns).ok().filter(|duration| *duration > 0);
        let frames = u64::try_from(stream.nb_frames)
            .ok()
            .filter(|frames| *frames > 0)
            .or_else(|| Some((duration_ns? as f64 / 1e9 * fps?).round() as u64));
        // SAFETY: returns a constant string that ends with a zero for any number.
        let codec = unsafe { ff::avcodec_get_name(parameters.codec_id) };
        // SAFETY: see above.
        let codec = unsafe { CStr::from_ptr(codec) }.to_string_lossy().into_owned();
        let read = |field: *const c_int| {
            // SAFETY: the pointer comes from a reference to an initialised field of the size of a C int.
            unsafe { field.read() }
        };
        let display = self.display(stream, parameters).unwrap_or_default();
        let guessed = self.raw().duration_estimation_method as c_int
            == ff::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE as c_int;
        Some(StreamFacts {
            index,
            codec,
            decoder: decoder_name(parameters),
            format: parameters.format,
            width: u32::try_from(parameters.width).unwrap_or(0),
            height: u32::try_from(parameters.height).unwrap_or(0),
            fps,
            frames,
            duration_ns,
            length_ns: self
                .stream_length_ns(index)
                .or_else(|| Some(self.raw().duration.saturating_mul(1000)))
                .and_then(|length| u64::try_from(length).ok())
                .filter(|length| *length > 0 && !guessed),
            color: pixel::color(
                read((&raw const parameters.color_space).cast()),
                read((&raw const parameters.color_primaries).cast()),
                read((&raw const parameters.color_trc).cast()),
                read((&raw const parameters.color_range).cast()),
            ),
            display,
            display_of_stream: display,
            time_base,
            level: parameters.level,
            delay: usize::try_from(parameters.video_delay).unwrap_or(0),
        })
    }

    #[cfg(ffmpeg_6_1)]
    fn display(&self, _stream: &ff::AVStream, parameters: &ff::AVCodecParameters) -> Option<Display> {
        // SAFETY: the array and its length belong to the parameters.
        let data = unsafe {
            ff::av_packet_side_data_get(
                parameters.coded_side_data,
                parameters.nb_coded_side_data,
                ff::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX,
            )
        };
        // SAFETY: null, or an entry of that array.
        let data = unsafe { data.as_ref() }?;
        orientation::of_matrix(data.data, data.size)
    }

    #[cfg(not(ffmpeg_6_1))]
    fn display(&self, stream: &ff::AVStream, _parameters: &ff::AVCodecParameters) -> Option<Display> {
        let mut size_bytes = 0_usize;
        // SAFETY: a stream of this context; the length is written to a local.
        let matrix = unsafe {
            ff::av_stream_get_side_data(
                stream,
                ff::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX,
                (&raw mut size_bytes).cast(),
            )
        };
        orientation::of_matrix(matrix, size_bytes)
    }
}

/// FFmpeg's name of the decoder that it would take for these parameters, as in `libdav1d`.
fn decoder_name(parameters: &ff::AVCodecParameters) -> String {
    // SAFETY: looks in a constant table.
    let codec = unsafe { ff::avcodec_find_decoder(parameters.codec_id) };
    // SAFETY: null, or a constant of FFmpeg.
    let Some(codec) = (unsafe { codec.as_ref() }) else { return String::new() };
    // SAFETY: a constant string that ends with a zero.
    unsafe { CStr::from_ptr(codec.name) }.to_string_lossy().into_owned()
}
