//! `AVFormatContext`: opening a file, a stream or a device, and reading packets.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use ffmpeg_sys_next as ff;
use framelane::{Color, Error, ErrorKind};

use super::dictionary::{Dictionary, c_string};
use super::error::{check, make, no_memory};
use super::frame::Packet;
use super::orientation::{self, Display};
use super::{log, open_error, pixel};
use crate::interrupt::Interrupt;

/// The option of FFmpeg's HLS demuxer for the segment to start with.
const LIVE_START: &str = "live_start_index";
/// Media that probing reads at most before it decides, unless an option says otherwise.
const PROBE: Duration = Duration::from_secs(5);
/// `AVClassCategory` of video, audio and other input devices.
const DEVICE_INPUTS: [c_int; 3] = [
    ff::AVClassCategory::AV_CLASS_CATEGORY_DEVICE_VIDEO_INPUT as c_int,
    ff::AVClassCategory::AV_CLASS_CATEGORY_DEVICE_AUDIO_INPUT as c_int,
    ff::AVClassCategory::AV_CLASS_CATEGORY_DEVICE_INPUT as c_int,
];
/// Packets of other streams that may come before the first picture.
const MOST_AHEAD: usize = 64;

/// What to open, and how.
pub(crate) struct Request<'a> {
    pub(crate) url: &'a OsStr,
    /// Texts that no message may show.
    pub(crate) secrets: Vec<String>,
    /// How messages call it.
    pub(crate) name: &'a str,
    /// FFmpeg's name of the demuxer or device, when it must not be guessed.
    pub(crate) format: Option<&'a str>,
    pub(crate) options: &'a [(String, String)],
    pub(crate) interrupt: Interrupt,
    /// Read from here instead of `url`.
    pub(crate) reader: Option<Box<dyn Read + Send>>,
    /// How long a read may take.
    pub(crate) read_timeout: Option<Duration>,
    /// Opening waits for another program, for as long as it takes.
    pub(crate) listens: bool,
    /// Reads do not wait inside the device, where nothing can interrupt them.
    pub(crate) nonblocking: bool,
}

/// An open container. Reading blocks, and ends with an error once the interrupt is set.
pub(crate) struct Input {
    context: *mut ff::AVFormatContext,
    /// Read by the callback inside the context: counted, so that its address stays.
    interrupt: Arc<Interrupt>,
    read_timeout: Option<Duration>,
    /// Packets that were read ahead, for the next reads.
    ahead: VecDeque<Packet>,
    /// Freed after the context, in Drop of this type.
    _reader: Option<super::reader::ReaderIo>,
}

// SAFETY: a format context has no tie to the thread that made it; it is used by one owner at a time.
unsafe impl Send for Input {}

/// What is known of a video stream before it is decoded.
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
    /// How long the input must last unless it was cut off: a guess from the bit rate says nothing of that.
    pub(crate) length_ns: Option<u64>,
    pub(crate) color: Color,
    /// Of the first picture, as far as it is known.
    pub(crate) display: Display,
    /// Of pictures that have none of their own.
    pub(crate) display_of_stream: Display,
    pub(crate) time_base: (i64, i64),
    pub(crate) level: i32,
    /// Pictures that the decoder holds back to put them into order.
    pub(crate) delay: usize,
}

impl StreamFacts {
    /// Whether a picture's display matrix holds for the pictures after it (ITU-T H.264, D.2.27). EXIF data do not.
    pub(crate) fn display_persists(&self) -> bool {
        ["h264", "hevc"].contains(&self.codec.as_str())
    }
}

impl Input {
    /// Opens, and reads as far as it takes to know the streams. Blocks; ends when the interrupt is set.
    pub(crate) fn open(request: Request<'_>) -> Result<Self, Error> {
        super::init();
        log::hide(request.secrets);
        log::take();
        let interrupt = Arc::new(request.interrupt);
        let mut reader = request.reader.map(super::reader::ReaderIo::new).transpose()?;
        let url = CString::new(request.url.as_bytes()).map_err(|_| {
            Error::new(
                ErrorKind::InvalidOption,
                format!("expected a name without zero bytes, found {}", request.name),
            )
        })?;
        let format = request.format.map(find_format).transpose()?.unwrap_or(ptr::null());
        let mut options = Dictionary::new();
        for (name, value) in request.options {
            options.set(name, value)?;
        }
        // A playlist without an end is played from its newest segment.
        let starts_last = request.url.to_string_lossy().contains(".m3u8")
            && request.options.iter().all(|(name, _)| name != LIVE_START);
        if starts_last {
            options.set(LIVE_START, "-1")?;
        }
        // SAFETY: allocates, or gives null.
        let mut context = unsafe { ff::avformat_alloc_context() };
        // SAFETY: null, or a context that nothing else refers to yet.
        let Some(fields) = (unsafe { context.as_mut() }) else { return Err(no_memory("opening")) };
        fields.interrupt_callback = ff::AVIOInterruptCB {
            callback: Some(interrupted),
            opaque: Arc::as_ptr(&interrupt).cast_mut().cast(),
        };
        if let Some(reader) = &mut reader {
            fields.pb = reader.as_mut_ptr();
        }
        if request.nonblocking {
            fields.flags |= ff::AVFMT_FLAG_NONBLOCK as c_int;
        }
        interrupt.set_limit(request.read_timeout.filter(|_| !request.listens));
        // SAFETY: the context is from avformat_alloc_context, and freed and set to null by the call when it fails;
        // url ends with a zero; format is null or a constant of FFmpeg; the options are ours.
        let code =
            unsafe { ff::avformat_open_input(&mut context, url.as_ptr(), format, options.as_mut_ptr()) };
        if code < 0 && code != ff::AVERROR_EXIT && reader.as_ref().is_some_and(|reader| !reader.has_read()) {
            return Err(late(&interrupt, request.name, request.read_timeout)
                .unwrap_or_else(|| open_error::empty(request.name)));
        }
        if code < 0 {
            return Err(late(&interrupt, request.name, request.read_timeout)
                .unwrap_or_else(|| open_error::at_open(request.name, code)));
        }
        let input = Input {
            context,
            interrupt,
            read_timeout: request.read_timeout,
            ahead: VecDeque::new(),
            _reader: reader,
        };
        if let Some(name) = options.first_name().filter(|name| !(starts_last && name == LIVE_START)) {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("FFmpeg has no option {name:?} for {}", request.name),
            )
            .with_remedy(
                "see `ffmpeg -h demuxer=NAME` and `ffmpeg -h protocol=NAME` for the options there are",
            ));
        }
        input.interrupt.set_limit(request.read_timeout.map(|timeout| timeout * 2 + PROBE));
        // SAFETY: an open context; null stands for no options.
        let code = unsafe { ff::avformat_find_stream_info(input.context, ptr::null_mut()) };
        if code < 0 || input.interrupt.is_late() {
            return Err(late(&input.interrupt, request.name, request.read_timeout)
                .unwrap_or_else(|| open_error::of(request.name, code)));
        }
        input.interrupt.set_limit(None);
        Ok(input)
    }

    fn raw(&self) -> &ff::AVFormatContext {
        // SAFETY: open() gives a valid context, which is changed only by calls that take &mut self.
        unsafe { &*self.context }
    }

    fn stream(&self, index: usize) -> Option<&ff::AVStream> {
        if index >= self.raw().nb_streams as usize {
            return None;
        }
        // SAFETY: streams points to nb_streams pointers, and index is below that.
        let stream = unsafe { self.raw().streams.add(index) };
        // SAFETY: an element of that array, see above.
        let stream = unsafe { stream.read() };
        // SAFETY: every element points to a stream that lives as long as the context.
        unsafe { stream.as_ref() }
    }

    /// FFmpeg's short name of the container, as in `matroska,webm`.
    pub(crate) fn container(&self) -> String {
        // SAFETY: an open input has a format, a constant of FFmpeg.
        let Some(format) = (unsafe { self.raw().iformat.as_ref() }) else { return String::new() };
        // SAFETY: its name is a constant string that ends with a zero.
        unsafe { CStr::from_ptr(format.name) }.to_string_lossy().into_owned()
    }

    pub(crate) fn seekable(&self) -> bool {
        // SAFETY: null for formats that do not read through it, else valid as long as the context.
        unsafe { self.raw().pb.as_ref() }
            .is_some_and(|io| io.seekable & ff::AVIO_SEEKABLE_NORMAL as c_int != 0)
    }

    /// Whether the input has a length in bytes.
    pub(crate) fn has_length(&self) -> bool {
        // SAFETY: null, or the I/O context of this open input, which nothing else uses meanwhile.
        !self.raw().pb.is_null() && unsafe { ff::avio_size(self.raw().pb) } > 0
    }

    /// Whether the demuxer is a capture device.
    pub(crate) fn is_device(&self) -> bool {
        // SAFETY: an open input has a format, a constant of FFmpeg.
        let class = unsafe { self.raw().iformat.as_ref() }.map_or(ptr::null(), |format| format.priv_class);
        // SAFETY: null, or a constant of FFmpeg.
        let Some(class) = (unsafe { class.as_ref() }) else { return false };
        // Read as a number: a later FFmpeg may have categories that the enum of the bindings lacks.
        let category: *const c_int = (&raw const class.category).cast();
        // SAFETY: the pointer comes from a reference to an initialised field of the size of a C int.
        let category = unsafe { category.read() };
        DEVICE_INPUTS.contains(&category)
    }

    /// Allows for data that comes in segments.
    pub(crate) fn extend_read_timeout(&mut self) {
        self.read_timeout = self.read_timeout.map(|timeout| timeout * 3);
    }

    /// Where the media starts, in nanoseconds.
    pub(crate) fn start_ns(&self) -> Option<i64> {
        let start = self.raw().start_time;
        (start != ff::AV_NOPTS_VALUE).then(|| start.saturating_mul(1000))
    }

    /// The wanted stream, else the one FFmpeg thinks best; all others are no longer read.
    pub(crate) fn select_video(&mut self, wanted: Option<usize>, source: &str) -> Result<StreamFacts, Error> {
        let wanted = match wanted {
            None => -1,
            Some(nth) => self.video_streams().get(nth).map(|index| *index as c_int).ok_or_else(|| {
                let count = self.video_streams().len();
                Error::new(
                    ErrorKind::InvalidOption,
                    format!("{source} has {count} video streams (numbered from 0), found a request for number {nth}"),
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

    /// How long a stream is by what the container says of it.
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

    /// When the packet ends, on the clock of the whole input.
    pub(crate) fn end_ns(&self, packet: &Packet) -> Option<i64> {
        let stream = self.stream(usize::try_from(packet.stream_index()).ok()?)?;
        let time_base = (i64::from(stream.time_base.num), i64::from(stream.time_base.den.max(1)));
        packet.end().map(|end| super::to_ns(end, time_base))
    }

    /// Whether the input is a numbered or named sequence of pictures.
    pub(crate) fn is_sequence(&self) -> bool {
        self.container() == "image2"
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
        .with_remedy("give a file or stream with pictures; `ffprobe SOURCE` lists what there is")
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
        // SAFETY: gives a constant string that ends with a zero for any number.
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
            decoder: super::decoder::decoder_name(parameters),
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

    /// The coded parameters of a stream, for a decoder.
    pub(crate) fn parameters_ptr(&self, index: usize) -> *const ff::AVCodecParameters {
        self.stream(index).map_or(ptr::null(), |stream| stream.codecpar.cast_const())
    }

    /// Reads the next packet of any stream. `Ok(false)` at the end. Blocks.
    pub(crate) fn read(&mut self, packet: &mut Packet) -> Result<bool, Error> {
        if let Some(mut ahead) = self.ahead.pop_front() {
            packet.take(&mut ahead);
            return Ok(true);
        }
        self.read_next(packet)
    }

    /// The first packet of a stream, which [`Input::read`] returns all the same. Blocks.
    pub(crate) fn peek(&mut self, index: usize) -> Option<&mut Packet> {
        for _ in 0..MOST_AHEAD {
            let mut packet = Packet::new().ok()?;
            if !self.read_next(&mut packet).ok()? {
                return None;
            }
            let found = packet.stream_index() == index as c_int;
            self.ahead.push_back(packet);
            if found {
                return self.ahead.back_mut();
            }
        }
        None
    }

    fn read_next(&mut self, packet: &mut Packet) -> Result<bool, Error> {
        self.interrupt.set_limit(self.read_timeout);
        let read = self.read_within_limit(packet);
        self.interrupt.set_limit(None);
        read
    }

    fn read_within_limit(&mut self, packet: &mut Packet) -> Result<bool, Error> {
        loop {
            // SAFETY: an open context and a valid packet, both used by this call alone.
            let code = unsafe { ff::av_read_frame(self.context, packet.as_mut_ptr()) };
            match code {
                0.. => return Ok(true),
                // The second after a read that the time limit ended, too.
                code if (self.interrupt.is_late() || code == ff::AVERROR_EXIT)
                    && !self.interrupt.is_set() =>
                {
                    log::take();
                    return Err(Error::new(ErrorKind::Timeout, no_data(self.read_timeout)));
                }
                ff::AVERROR_EOF => return Ok(false),
                // Some devices have nothing yet rather than waiting themselves.
                code if code == -rustix::io::Errno::AGAIN.raw_os_error() => {
                    if self.interrupt.is_set() {
                        return Err(make("reading", ff::AVERROR_EXIT));
                    }
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                code => return Err(make("reading", code)),
            }
        }
    }

    /// What the demuxer has met without an error of its own; such a file was cut off.
    pub(crate) fn io_error(&self) -> Option<Error> {
        // SAFETY: null, or valid as long as the context.
        let io = unsafe { self.raw().pb.as_ref() }?;
        match io.error {
            0.. | ff::AVERROR_EOF => None,
            // The time limit has ended a read from which the demuxer still made a packet.
            ff::AVERROR_EXIT => Some(Error::new(ErrorKind::Timeout, no_data(self.read_timeout))),
            code => Some(make("reading", code)),
        }
    }

    /// Goes back to the first picture.
    pub(crate) fn rewind(&mut self) -> Result<(), Error> {
        self.ahead.clear();
        let start = match self.raw().start_time {
            ff::AV_NOPTS_VALUE => 0,
            start => start,
        };
        // In transport streams a search by time may end behind the first picture, so they go back by byte (as in
        // ffplay.c); containers without an index (raw H.264, y4m) cannot go by time at all.
        let by_time = (i64::MIN, start, 0);
        let by_byte = (0, 0, ff::AVSEEK_FLAG_BYTE as c_int);
        let ways = if self.starts_by_byte() { [by_byte, by_time] } else { [by_time, by_byte] };
        let mut code = 0;
        for (least, target, flags) in ways {
            // SAFETY: an open context; for stream -1 the numbers are in units of AV_TIME_BASE, or bytes.
            code = unsafe { ff::avformat_seek_file(self.context, -1, least, target, target, flags) };
            if code >= 0 {
                return Ok(());
            }
        }
        check("going back to the start", code).map(drop)
    }

    fn starts_by_byte(&self) -> bool {
        // SAFETY: an open input has a format, a constant of FFmpeg.
        let flags = unsafe { self.raw().iformat.as_ref() }.map_or(0, |format| format.flags);
        flags & ff::AVFMT_NO_BYTE_SEEK as c_int == 0
            && flags & ff::AVFMT_TS_DISCONT as c_int != 0
            && self.container() != "ogg"
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // SAFETY: an open context, closed once; the reader and the interrupt it refers to are dropped after this.
        unsafe { ff::avformat_close_input(&mut self.context) };
    }
}

fn find_format(name: &str) -> Result<*const ff::AVInputFormat, Error> {
    let c_name = c_string(name)?;
    // SAFETY: a string that ends with a zero.
    let format = unsafe { ff::av_find_input_format(c_name.as_ptr()) };
    if format.is_null() {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("this FFmpeg has no input format {name:?}"),
        )
        .with_remedy("`ffmpeg -formats` and `ffmpeg -devices` list those it has"));
    }
    Ok(format)
}

unsafe extern "C" fn interrupted(opaque: *mut c_void) -> c_int {
    // SAFETY: the opaque pointer is the counted interrupt of the Input, which outlives the context.
    let interrupt = unsafe { &*opaque.cast::<Interrupt>() };
    c_int::from(interrupt.is_set() || interrupt.is_late())
}

/// The error of a source that was too slow to open.
fn late(interrupt: &Interrupt, name: &str, timeout: Option<Duration>) -> Option<Error> {
    if !interrupt.is_late() || interrupt.is_set() {
        return None;
    }
    log::take();
    let message = format!("cannot open {name}: {}", no_data(timeout));
    Some(Error::new(ErrorKind::Timeout, message).with_remedy(
        "check that the camera or server runs and sends, and firewalls between, or allow more time (--read-timeout)",
    ))
}

fn no_data(timeout: Option<Duration>) -> String {
    format!("no data for {} s", timeout.unwrap_or_default().as_secs_f64())
}
