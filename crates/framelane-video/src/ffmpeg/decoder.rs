//! `AVCodecContext` for decoding.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_sys_next as ff;
use framelane::{Error, ErrorKind};

use super::error::{make, no_memory};
use super::frame::{Frame, Packet};
use super::hardware::{self, Device};
use super::hooks::{self, Hooks};
use super::input::Input;
use super::slots::{self, SlotPool};
use super::streams::StreamFacts;

/// Result of a call of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A picture.
    Picture,
    /// It needs another packet first.
    NeedsPacket,
    /// It has been drained.
    End,
}

/// Decodes one stream, with separate threads.
pub(crate) struct Decoder<'p> {
    context: *mut ff::AVCodecContext,
    /// From Box::into_raw; freed after the context.
    hooks: *mut Hooks<'p>,
}

// SAFETY: a codec context has no tie to the thread that made it; it is used by one owner at a time.
unsafe impl Send for Decoder<'_> {}

impl<'p> Decoder<'p> {
    /// `low_delay` keeps pictures from waiting for each other in several threads, for live sources.
    pub(crate) fn open(
        input: &Input,
        facts: &StreamFacts,
        low_delay: bool,
        device: Option<Device>,
        pool: Option<&'p SlotPool<'p>>,
    ) -> Result<Self, Error> {
        let parameters = input.parameters_ptr(facts.index);
        // SAFETY: null, or parameters that live as long as the input.
        let Some(coded) = (unsafe { parameters.as_ref() }) else {
            return Err(Error::new(ErrorKind::Damaged, "the video stream has no parameters"));
        };
        // SAFETY: looks in a constant table.
        let codec = unsafe { ff::avcodec_find_decoder(coded.codec_id) };
        if codec.is_null() {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("this FFmpeg has no decoder for {}", facts.codec),
            )
            .with_hint(
                "install an FFmpeg with it (`ffmpeg -decoders` lists them), or convert the file first",
            ));
        }
        // SAFETY: a constant of FFmpeg.
        let context = unsafe { ff::avcodec_alloc_context3(codec) };
        if context.is_null() {
            return Err(no_memory("a decoder"));
        }
        let mut decoder = Decoder { context, hooks: Box::into_raw(Box::new(Hooks { pool, device })) };
        // SAFETY: both valid, from the calls above.
        let code = unsafe { ff::avcodec_parameters_to_context(decoder.context, parameters) };
        super::error::check("the parameters of the video stream", code)?;
        decoder.configure(facts, low_delay, codec)?;
        // SAFETY: a context made for this codec, not opened yet.
        let code = unsafe { ff::avcodec_open2(decoder.context, codec, ptr::null_mut()) };
        if code < 0 {
            return Err(make(format_args!("cannot open the decoder for {}", facts.codec), code));
        }
        Ok(decoder)
    }

    fn configure(
        &mut self,
        facts: &StreamFacts,
        low_delay: bool,
        codec: *const ff::AVCodec,
    ) -> Result<(), Error> {
        // SAFETY: made in open(), and nothing else refers to it yet.
        let context = unsafe { &mut *self.context };
        context.opaque = self.hooks.cast();
        context.pkt_timebase =
            ff::AVRational { num: facts.time_base.0 as c_int, den: facts.time_base.1 as c_int };
        // 0: as many threads as FFmpeg thinks right for the processors there are.
        context.thread_count = 0;
        context.thread_type = if low_delay {
            ff::FF_THREAD_SLICE as c_int
        } else {
            ff::FF_THREAD_FRAME as c_int | ff::FF_THREAD_SLICE as c_int
        };
        // A separate setting makes this decoder keep pictures back. In others the flag upsets the order of
        // B-frames.
        if low_delay && facts.decoder == "libdav1d" {
            context.flags |= ff::AV_CODEC_FLAG_LOW_DELAY as c_int;
        }
        // SAFETY: made in open(); no callback runs before the decoder is open.
        let hooks = unsafe { &mut *self.hooks };
        if let Some(device) = &mut hooks.device {
            hardware::attach(context, codec, device)?;
            context.get_format = Some(hooks::choose_format);
        }
        // SAFETY: a constant of FFmpeg.
        let codec = unsafe { &*codec };
        if hooks.pool.is_some() && slots::suits(&facts.decoder, codec.capabilities) {
            context.get_buffer2 = Some(hooks::get_buffer);
            // Before FFmpeg 6 a callback had to declare that it may be called from any thread.
            #[cfg(not(ffmpeg_6_0))]
            {
                context.thread_safe_callbacks = 1;
            }
        }
        Ok(())
    }

    /// Passes a packet to the decoder, or `None` at the end of the stream.
    pub(crate) fn send(&mut self, packet: Option<&mut Packet>) -> Result<(), Error> {
        let packet = packet.map_or(ptr::null_mut(), Packet::as_mut_ptr);
        // SAFETY: an open decoder; null drains it.
        let code = unsafe { ff::avcodec_send_packet(self.context, packet) };
        super::error::check("decoding", code).map(drop)
    }

    /// Takes the next picture. Blocks while the decoder's threads work on it.
    pub(crate) fn receive(&mut self, frame: &mut Frame) -> Result<Received, Error> {
        // SAFETY: an open decoder and a valid frame, whose old buffers the call releases.
        match unsafe { ff::avcodec_receive_frame(self.context, frame.as_mut_ptr()) } {
            0.. => {}
            ff::AVERROR_EOF => return Ok(Received::End),
            code if code == -rustix::io::Errno::AGAIN.raw_os_error() => return Ok(Received::NeedsPacket),
            code => return Err(make("decoding", code)),
        }
        if super::pixel::facts(frame.format()).is_some_and(|facts| facts.hardware) {
            hardware::download(frame)?;
        }
        Ok(Received::Picture)
    }

    /// Makes it ready for packets from another place of the stream.
    pub(crate) fn flush(&mut self) {
        // SAFETY: an open decoder.
        unsafe { ff::avcodec_flush_buffers(self.context) };
    }
}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        // SAFETY: made by avcodec_alloc_context3 and freed once; ends the decoder's threads, so that no
        // callback runs any more when the hooks are dropped.
        unsafe { ff::avcodec_free_context(&mut self.context) };
        // SAFETY: from Box::into_raw in open(), freed once.
        drop(unsafe { Box::from_raw(self.hooks) });
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::ffmpeg::input::Request;
    use crate::interrupt::Interrupt;

    /// The most packets that the decoder is ahead of its pictures; `None` without such an encoder.
    fn delay(codec: &str, low_delay: bool) -> Option<usize> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.mkv").to_str().unwrap().to_owned();
        let made = Command::new("ffmpeg")
            .args("-loglevel error -nostdin -f lavfi -i testsrc2=size=128x96:rate=25 -frames:v 40".split(' '))
            .args(["-pix_fmt", if codec == "mjpeg" { "yuvj420p" } else { "yuv420p" }, "-c:v"])
            .args(codec.split(' '))
            .arg(&file)
            .status();
        if !made.is_ok_and(|status| status.success()) {
            framelane_test_kit::skip("encoder", format_args!("ffmpeg cannot encode {codec}"));
            return None;
        }
        let mut input = Input::open(Request {
            url: file.as_ref(),
            name: &file,
            secrets: Vec::new(),
            format: None,
            options: &[],
            interrupt: Interrupt::new(framelane::CancelToken::new()),
            reader: None,
            read_timeout: None,
            listens: false,
            nonblocking: false,
            one_file: true,
            reach: crate::ffmpeg::reach::Reach::Default,
        })
        .unwrap();
        let facts = input.select_video(None, &file).unwrap();
        let mut decoder = Decoder::open(&input, &facts, low_delay, None, None).unwrap();
        let (mut packet, mut frame) = (Packet::new().unwrap(), Frame::new().unwrap());
        let (mut ahead, mut most) = (0, 0);
        while input.read(&mut packet).unwrap() {
            decoder.send(Some(&mut packet)).unwrap();
            packet.unref();
            ahead += 1;
            while decoder.receive(&mut frame).unwrap() == Received::Picture {
                ahead -= 1;
            }
            most = most.max(ahead);
        }
        Some(most)
    }

    #[test]
    fn live_decoder_returns_each_picture_with_its_packet() {
        for (codec, expected) in [
            ("libx264 -bf 0", 0),
            ("libx265 -bf 0 -x265-params log-level=none", 0),
            // Its decoder cannot know that no B-frame follows.
            ("mpeg2video -bf 0", 1),
            ("mpeg4 -bf 0", 0),
            ("mjpeg", 0),
            ("libvpx -deadline realtime", 0),
            ("libvpx-vp9 -deadline realtime -cpu-used 8", 0),
            ("libsvtav1 -preset 12", 0),
        ] {
            if let Some(delay) = delay(codec, true) {
                assert_eq!(delay, expected, "{codec}");
            }
        }
    }
}
