//! `AVFormatContext`: opening a file, a stream or a device, and reading packets.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use ffmpeg_sys_next as ff;
use framelane::{Error, ErrorKind};

use super::dictionary::{Dictionary, c_string};
use super::error::{check, make, no_memory};
use super::frame::Packet;
use super::reach::{self, Reach};
use super::{log, open_error};
use crate::interrupt::Interrupt;

/// The option of FFmpeg's HLS demuxer for the segment to start with.
const LIVE_START: &str = "live_start_index";
/// Option of the image reader that decides whether a name is a pattern.
const PATTERN: &str = "pattern_type";
/// Media that probing reads at most before it decides, by default.
const PROBE: Duration = Duration::from_secs(5);
/// `AVClassCategory` of video, audio and other input devices.
const DEVICE_INPUTS: [c_int; 3] = [
    ff::AVClassCategory::AV_CLASS_CATEGORY_DEVICE_VIDEO_INPUT as c_int,
    ff::AVClassCategory::AV_CLASS_CATEGORY_DEVICE_AUDIO_INPUT as c_int,
    ff::AVClassCategory::AV_CLASS_CATEGORY_DEVICE_INPUT as c_int,
];
/// Packets of other streams that may precede the first picture.
const MOST_AHEAD: usize = 64;

/// An input and its options.
pub(crate) struct Request<'a> {
    pub(crate) url: &'a OsStr,
    /// Texts that no message may show.
    pub(crate) secrets: Vec<String>,
    /// Name of the input in messages.
    pub(crate) name: &'a str,
    /// FFmpeg's name of the demuxer or device, when it must not be guessed.
    pub(crate) format: Option<&'a str>,
    pub(crate) options: &'a [(String, String)],
    pub(crate) interrupt: Interrupt,
    /// Read from here instead of `url`.
    pub(crate) reader: Option<Box<dyn Read + Send>>,
    /// Time limit of a read.
    pub(crate) read_timeout: Option<Duration>,
    /// Opening waits for another program, for as long as it takes.
    pub(crate) listens: bool,
    /// Reads do not wait inside the device, where nothing can interrupt them.
    pub(crate) nonblocking: bool,
    /// The url is the name of one existing file, even if it looks like a pattern for several.
    pub(crate) one_file: bool,
    /// Resources that it may open in addition.
    pub(crate) reach: Reach,
}

/// An open container. Reading blocks, and ends with an error once the interrupt is set.
pub(crate) struct Input {
    pub(super) context: *mut ff::AVFormatContext,
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
        let literal = request.one_file && request.options.iter().all(|(name, _)| name != PATTERN);
        if literal {
            options.set(PATTERN, "none")?;
        }
        let text = request.url.to_string_lossy();
        request.reach.limit(&mut options, request.options, &text, request.format.is_some())?;
        // SAFETY: allocates, or returns null.
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
        // SAFETY: the context is from avformat_alloc_context, and freed and set to null by the call when it
        // fails; url ends with a zero; format is null or a constant of FFmpeg; the options are ours.
        let code =
            unsafe { ff::avformat_open_input(&mut context, url.as_ptr(), format, options.as_mut_ptr()) };
        if code < 0 && code != ff::AVERROR_EXIT && reader.as_ref().is_some_and(|reader| !reader.has_read()) {
            return Err(late(&interrupt, request.name, request.read_timeout)
                .unwrap_or_else(|| open_error::empty(request.name)));
        }
        if code < 0 {
            return Err(late(&interrupt, request.name, request.read_timeout)
                .or_else(|| reach::refused(request.name, &log::lines()))
                .unwrap_or_else(|| open_error::at_open(request.name, code)));
        }
        let input = Input {
            context,
            interrupt,
            read_timeout: request.read_timeout,
            ahead: VecDeque::new(),
            _reader: reader,
        };
        if literal {
            // Other readers than the one of images do not take it.
            options.remove(c"pattern_type");
        }
        if let Some(name) = options.first_name().filter(|name| !(starts_last && name == LIVE_START)) {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("FFmpeg has no option {name:?} for {}", request.name),
            )
            .with_hint(
                "see `ffmpeg -h demuxer=NAME` and `ffmpeg -h protocol=NAME` for the options there are",
            ));
        }
        input.interrupt.set_limit(request.read_timeout.map(|timeout| timeout * 2 + PROBE));
        // SAFETY: an open context; null stands for no options.
        let code = unsafe { ff::avformat_find_stream_info(input.context, ptr::null_mut()) };
        if code < 0 || input.interrupt.is_late() {
            return Err(late(&input.interrupt, request.name, request.read_timeout)
                .or_else(|| reach::refused(request.name, &log::lines()))
                .unwrap_or_else(|| open_error::of(request.name, code)));
        }
        input.interrupt.set_limit(None);
        Ok(input)
    }

    pub(super) fn raw(&self) -> &ff::AVFormatContext {
        // SAFETY: open() returns a valid context, which is changed only by calls that take &mut self.
        unsafe { &*self.context }
    }

    pub(super) fn stream(&self, index: usize) -> Option<&ff::AVStream> {
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

    /// Returns true if the input has a length in bytes.
    pub(crate) fn has_length(&self) -> bool {
        // SAFETY: null, or the I/O context of this open input, which nothing else uses meanwhile.
        !self.raw().pb.is_null() && unsafe { ff::avio_size(self.raw().pb) } > 0
    }

    /// Returns true if the demuxer is a capture device.
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

    /// Allows for data in segments.
    pub(crate) fn extend_read_timeout(&mut self) {
        self.read_timeout = self.read_timeout.map(|timeout| timeout * 3);
    }

    /// Returns the start of the media, in nanoseconds.
    pub(crate) fn start_ns(&self) -> Option<i64> {
        let start = self.raw().start_time;
        (start != ff::AV_NOPTS_VALUE).then(|| start.saturating_mul(1000))
    }

    /// When the packet ends, on the clock of the whole input.
    pub(crate) fn end_ns(&self, packet: &Packet) -> Option<i64> {
        let stream = self.stream(usize::try_from(packet.stream_index()).ok()?)?;
        let time_base = (i64::from(stream.time_base.num), i64::from(stream.time_base.den.max(1)));
        packet.end().map(|end| super::to_ns(end, time_base))
    }

    /// Returns true if the input is a numbered or named sequence of pictures.
    pub(crate) fn is_sequence(&self) -> bool {
        self.container() == "image2"
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

    /// Returns an I/O error that the demuxer did not report; such a file was cut off.
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
        // In transport streams a search by time may end behind the first picture, so they go back by byte (as
        // in ffplay.c); containers without an index (raw H.264, y4m) cannot go by time at all.
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
        // SAFETY: an open context, closed once; the reader and the interrupt it refers to are dropped after
        // this.
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
        .with_hint("`ffmpeg -formats` and `ffmpeg -devices` list those it has"));
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
    Some(Error::new(ErrorKind::Timeout, message).with_hint(
        "check that the camera or server runs and sends, and firewalls between, or allow more time \
         (--read-timeout)",
    ))
}

fn no_data(timeout: Option<Duration>) -> String {
    format!("no data for {} s", timeout.unwrap_or_default().as_secs_f64())
}
