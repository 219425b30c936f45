//! Opening what FFmpeg reads: a file, a stream, a camera, a pipe.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use framelane::{Error, ErrorKind, redact};

use crate::ffmpeg::input::{Input, Request};
use crate::ffmpeg::open_error;
use crate::ffmpeg::reach::Reach;
use crate::ffmpeg::streams::StreamFacts;
use crate::interrupt::Interrupt;
use crate::live::{Delivery, Facts, Origin};
use crate::options::{Rate, SourceOptions};
use crate::stdin::{Pipe, Producer};
use crate::upright;

/// Default time limit for a read of a stream or a camera.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// An open input with its facts.
pub(crate) struct Opened {
    pub(crate) input: Input,
    pub(crate) facts: StreamFacts,
    pub(crate) delivery: Delivery,
    /// The producer behind a pipe.
    pub(crate) producer: Option<Arc<Producer>>,
}

/// Opens a source once.
pub(crate) fn open(options: &SourceOptions, source: &str, interrupt: &Interrupt) -> Result<Opened, Error> {
    let path = options.path(source);
    // Some demuxers of FFmpeg take directories; what they would make of one is no film.
    if options.input_format.is_none() && path.is_dir() {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("expected a file, a stream or a camera, found that {source} is a directory"),
        )
        .with_hint("give a file in it"));
    }
    let name = redact::url(source);
    let origin = Origin::of(source);
    let camera = origin == Origin::Camera;
    let pipe = match origin {
        _ if source == "-" => Some(Pipe::stdin(interrupt.clone())),
        Origin::Pipe if options.input_format.is_none() && is_fifo(source) => Some(
            Pipe::open(source, interrupt.clone())
                .map_err(|error| Error::from_io(format_args!("cannot open {name}"), error))?,
        ),
        _ => None,
    };
    let producer = pipe.as_ref().map(Pipe::producer);
    let url = match source {
        "-" => Cow::Borrowed(OsStr::new("standard input")),
        // FFmpeg interprets text before a colon as a protocol.
        _ if source.contains(':') && path.exists() => {
            let mut url = OsString::from("file:");
            url.push(path);
            Cow::Owned(url)
        }
        _ => Cow::Borrowed(path.as_os_str()),
    };
    let mut ffmpeg_options = Cow::Borrowed(&options.ffmpeg.0);
    let glob = options.input_format.is_none() && origin == Origin::File && is_glob(source) && !path.exists();
    if glob {
        ffmpeg_options.to_mut().insert(0, ("pattern_type".to_owned(), "glob".to_owned()));
    }
    let mut input = Input::open(Request {
        url: &url,
        secrets: secrets(options, source),
        name: &name,
        format: options
            .input_format
            .as_deref()
            .or(camera.then_some("video4linux2"))
            .or(glob.then_some("image2")),
        options: &ffmpeg_options,
        interrupt: interrupt.clone(),
        reader: pipe.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        read_timeout: read_timeout(options, origin),
        listens: listens(options, source),
        nonblocking: camera,
        one_file: origin == Origin::File && is_one_file(path, source),
        reach: Reach::of(origin == Origin::Network, options.input_format.as_deref()),
    })
    .map_err(|error| {
        let empty = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0);
        if empty { open_error::empty(&name) } else { error }
    })?;
    let mut facts = input.select_video(options.video_stream, &name)?;
    upright::look_ahead(&mut input, &mut facts);
    let container = input.container();
    let delivery = Delivery::of(
        Facts {
            origin,
            container: &container,
            device: input.is_device(),
            seekable: input.seekable(),
            sized: input.has_length(),
            timed: facts.duration_ns.is_some(),
        },
        options.live,
    );
    // Another rate than the source's own asks for all frames of a file.
    let delivery = match delivery {
        Delivery::Pipe if options.rate != Rate::Realtime => Delivery::File,
        Delivery::Segments => {
            input.extend_read_timeout();
            delivery
        }
        _ => delivery,
    };
    Ok(Opened { input, facts, delivery, producer })
}

/// Returns true if the name matches several files, as in a shell.
fn is_glob(source: &str) -> bool {
    source.contains(['*', '?', '['])
}

/// Returns whether a file has this name, even if it looks like a pattern for several.
fn is_one_file(path: &Path, source: &str) -> bool {
    path.is_file() || source.strip_prefix("file:").is_some_and(|path| Path::new(path).is_file())
}

pub(crate) fn is_fifo(source: &str) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(source).is_ok_and(|found| found.file_type().is_fifo())
}

/// A pipe may be silent without limit, unless the user limits it: its end is known.
fn read_timeout(options: &SourceOptions, origin: Origin) -> Option<Duration> {
    let default = match origin {
        Origin::Network | Origin::Camera => Some(READ_TIMEOUT),
        Origin::File | Origin::Pipe => None,
    };
    options.read_timeout.unwrap_or(default)
}

/// Returns true if opening waits for another program to connect to us.
fn listens(options: &SourceOptions, source: &str) -> bool {
    source.contains("listen")
        || options.ffmpeg.0.iter().any(|(name, value)| name.contains("listen") || value.contains("listen"))
}

/// The texts that no message of FFmpeg may show.
fn secrets(options: &SourceOptions, source: &str) -> Vec<String> {
    let of_options = options.ffmpeg.0.iter().flat_map(|(name, value)| {
        if redact::is_secret_option(name) { vec![value.clone()] } else { redact::secrets(value) }
    });
    redact::secrets(source).into_iter().chain(of_options).collect()
}
