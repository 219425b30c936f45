//! Refusal of source options that contradict each other or the source. No option wins silently, and an option
//! without effect on the source is a mistake.

use framelane::{Error, ErrorKind, redact};

use crate::options::{Repeat, SourceOptions};
use crate::testsrc;

/// Protocols whose options FFmpeg reads from the query of a URL. A server never sees them.
const WITH_OPTIONS: [&str; 8] = ["udp", "udplite", "tcp", "rtp", "srtp", "srt", "sctp", "rist"];
/// The words for a transport in the query of an RTSP URL.
const TRANSPORTS: [&str; 4] = ["udp", "multicast", "tcp", "https"];

/// Refuses options that contradict each other or the source.
///
/// # Errors
/// [`ErrorKind::InvalidOption`], which names both.
pub(crate) fn check(options: &SourceOptions, source: &str) -> Result<(), Error> {
    check_kind(options, source)?;
    let given: Vec<_> = options.ffmpeg.0.iter().map(|(name, _)| name.as_str()).collect();
    check_once(&given, &[])?;
    check_query(&given, source)?;
    let live = options.live == Some(true);
    let pairs = [
        (options.live == Some(false) && options.reconnect == Some(true), "--no-live", "--reconnect on"),
        (live && options.repeat != Repeat::default(), "--live", "--loop"),
    ];
    match pairs.into_iter().find(|(clashes, ..)| *clashes) {
        Some((_, one, other)) => Err(clash(one, other)),
        None => Ok(()),
    }
}

/// Options of FFmpeg for what FFmpeg does not open.
fn check_kind(options: &SourceOptions, source: &str) -> Result<(), Error> {
    let is_test = testsrc::is_testsrc(source);
    let (kind, kept) = match (is_test, options.raw.is_some()) {
        (true, true) => return Err(clash("testsrc", "--raw")),
        (true, false) => ("testsrc", false),
        (false, true) => ("--raw", true),
        (false, false) => return Ok(()),
    };
    let given = [
        (options.input_format.is_some(), "--input-format"),
        (!options.ffmpeg.0.is_empty(), "--ffmpeg-option"),
        (options.video_stream.is_some(), "--video-stream"),
        (options.hwaccel.as_deref().is_some_and(|device| device != "auto"), "--hwaccel"),
        // Pipes and files of raw frames have a time limit, a pattern has none.
        (!kept && options.read_timeout.is_some(), "--read-timeout"),
        (!kept && options.reconnect == Some(true), "--reconnect on"),
        (!kept && other_size(options, source), "--size"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => Err(clash(kind, option)),
        None => Ok(()),
    }
}

/// Returns whether a test pattern names a size in its source and gets another one as an option.
fn other_size(options: &SourceOptions, source: &str) -> bool {
    let named = testsrc::parse(source).ok().and_then(|(size, _)| size);
    named.is_some() && options.size.is_some() && named != options.size
}

/// Options in the query of a URL: each once, and not as an option of FFmpeg too.
fn check_query(given: &[&str], source: &str) -> Result<(), Error> {
    let Some((scheme, rest)) = source.split_once("://") else { return Ok(()) };
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let names = query.split('&').map(|part| part.split_once('=').map_or(part, |(name, _)| name));
    if scheme.eq_ignore_ascii_case("rtsp") {
        let transports: Vec<_> = names.filter(|name| TRANSPORTS.contains(name)).collect();
        return match transports[..] {
            [one, other, ..] => Err(clash(&format!("?{one} in the URL"), &format!("?{other} in the URL"))),
            [one] if given.contains(&"rtsp_transport") => {
                Err(clash(&format!("?{one} in the URL"), "--ffmpeg-option rtsp_transport="))
            }
            _ => Ok(()),
        };
    }
    if !WITH_OPTIONS.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        // The query belongs to the server.
        return Ok(());
    }
    check_once(&names.collect::<Vec<_>>(), given)
}

/// Refuses a name that is there twice, or that `others` have too.
fn check_once(names: &[&str], others: &[&str]) -> Result<(), Error> {
    let twice = names
        .iter()
        .enumerate()
        .find(|(index, name)| !name.is_empty() && (names[..*index].contains(name) || others.contains(name)));
    let Some((_, name)) = twice else { return Ok(()) };
    let name = redact::url(name);
    let place = if others.contains(&&*name) { ", in the URL and as an option" } else { "" };
    let message = format!("expected each option of FFmpeg once, found {name} twice{place}");
    Err(Error::new(ErrorKind::InvalidOption, message).with_hint(format!("remove one {name}")))
}

fn clash(one: &str, other: &str) -> Error {
    let message = format!("expected {one} or {other}, found both");
    Error::new(ErrorKind::InvalidOption, message).with_hint(format!("remove {other}"))
}

#[cfg(test)]
mod tests {
    use framelane::PixelFormat;

    use super::*;
    use crate::options::RawFormat;

    fn new() -> SourceOptions {
        SourceOptions::new()
    }

    fn raw() -> SourceOptions {
        let raw = RawFormat { format: PixelFormat::Bgr8, width: 4, height: 4, fps: 1.0 };
        new().raw(Some(raw))
    }

    #[test]
    fn options_against_each_other_are_refused() {
        let twice = new().ffmpeg_option("timeout", "1");
        for (options, source, found) in [
            (twice.clone().ffmpeg_option("timeout", "2"), "a.mp4", "timeout twice"),
            (twice.clone(), "udp://h:1?timeout=2", "timeout twice, in the URL and as an option"),
            (new(), "udp://h:1?ttl=2&ttl=3", "ttl twice"),
            (new(), "SRT://h:1?mode=caller&mode=listener", "mode twice"),
            (new(), "rtsp://h/live?tcp&udp", "?tcp in the URL or ?udp in the URL"),
            (new().ffmpeg_option("rtsp_transport", "tcp"), "rtsp://h/live?udp", "?udp in the URL or"),
            (new().live(Some(false)).reconnect(Some(true)), "rtsp://h/", "--no-live or --reconnect on"),
            (new().live(Some(true)).repeat(Repeat::Forever), "a.mp4", "--live or --loop"),
            (raw(), "testsrc", "testsrc or --raw"),
            (raw().input_format(Some("mp4")), "-", "--raw or --input-format"),
            (raw().video_stream(Some(0)), "-", "--raw or --video-stream"),
            (raw().ffmpeg_option("a", "b"), "-", "--raw or --ffmpeg-option"),
            (new().input_format(Some("mp4")), "testsrc=8x8", "testsrc or --input-format"),
            (new().ffmpeg_option("a", "b"), "testsrc", "testsrc or --ffmpeg-option"),
            (new().video_stream(Some(1)), "testsrc", "testsrc or --video-stream"),
            (new().hwaccel(Some("cuda")), "testsrc", "testsrc or --hwaccel"),
            (new().read_timeout(None), "testsrc", "testsrc or --read-timeout"),
            (new().reconnect(Some(true)), "testsrc", "testsrc or --reconnect on"),
            (new().size(Some((8, 9))), "testsrc=8x8", "testsrc or --size"),
        ] {
            let error = check(&options, source).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption);
            assert!(error.message().contains(found), "{source}: {error}");
        }
    }

    #[test]
    fn options_that_go_together_are_accepted() {
        for (options, source) in [
            (new().ffmpeg_option("timeout", "1").ffmpeg_option("ttl", "1"), "udp://h:1?fifo_size=3"),
            // The query of a server, which may repeat a name.
            (new().ffmpeg_option("a", "b"), "http://h/?a=1&a=2"),
            (new().ffmpeg_option("rtsp_transport", "tcp"), "rtsp://h/live?channel=1&subtype=0"),
            (new().live(Some(true)).reconnect(Some(true)), "rtsp://h/"),
            (raw().live(Some(true)).read_timeout(None), "-"),
            (new().size(Some((8, 8))).hwaccel(Some("auto")), "testsrc=8x8"),
            (new().size(Some((8, 8))), "testsrc"),
            (new(), "what?a=1&a=1"),
        ] {
            check(&options, source).unwrap();
        }
    }
}
