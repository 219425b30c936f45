//! Limits of an input: the protocols and formats that may open other files and addresses.
//!
//! A playlist is recognised by its content, with any name. Without limits, a file from elsewhere that is
//! called `holiday.mp4` would play local files of its choice.

use std::ffi::CStr;
use std::ptr;

use ffmpeg_sys_next as ff;
use framelane::{Error, ErrorKind};

use super::dictionary::Dictionary;

const PROTOCOLS: &str = "protocol_whitelist";
const FORMATS: &str = "format_whitelist";

/// FFmpeg's formats that name other files or addresses, or run scripts.
const REFERRING: [&str; 9] =
    ["hls", "applehttp", "dash", "webm_dash_manifest", "concat", "imf", "sdp", "vobsub", "avisynth"];

/// Protocols of a stream from the network: no files of this machine, no pipes, no sockets of this machine.
const NETWORK: &str = "http,https,httpproxy,tls,dtls,tcp,udp,udplite,sctp,rtp,srtp,srt,rist,rtmp,rtmpe,rtmps,rtmpt,\
                       rtmpte,rtmpts,ffrtmphttp,ffrtmpcrypt,ftp,sftp,smb,gopher,gophers,mmsh,mmst,icecast,ipfs,ipns,amqp,\
                       zmq,prompeg,crypto,data";

/// Resources that an input may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The file or pipe alone.
    Itself,
    /// Other addresses on the network.
    Network,
    /// The default of FFmpeg: the user has named a format that refers to other files.
    Default,
}

impl Reach {
    /// For a source that the user has given with this format.
    pub(crate) fn of(is_network: bool, format: Option<&str>) -> Self {
        let refers = format.is_some_and(|format| format.split(',').any(|name| REFERRING.contains(&name)));
        match is_network {
            true => Reach::Network,
            false if refers => Reach::Default,
            false => Reach::Itself,
        }
    }

    /// Sets the options of FFmpeg that limit the reach. Options of the user win.
    pub(super) fn limit(
        self,
        options: &mut Dictionary,
        given: &[(String, String)],
        url: &str,
        has_format: bool,
    ) -> Result<(), Error> {
        let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
        let protocols = match self {
            Reach::Itself => format!("file{}", schemes(url)),
            Reach::Network => format!("{NETWORK}{}", schemes(url)),
            Reach::Default => return Ok(()),
        };
        if !is_given(PROTOCOLS) {
            options.set(PROTOCOLS, &protocols)?;
        }
        if self == Reach::Itself && !has_format && !is_given(FORMATS) {
            options.set(FORMATS, &self_contained())?;
        }
        Ok(())
    }
}

/// The protocols that a URL names, each after a comma: `,cache,http` of `cache:http://host`.
fn schemes(url: &str) -> String {
    let is_scheme = |text: &&str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'))
    };
    let mut parts = url.split(':').map(|part| part.split(',').next().unwrap_or(part)).collect::<Vec<_>>();
    // What follows the last colon is no protocol.
    parts.pop();
    let names = parts.into_iter().take_while(is_scheme).flat_map(|part| part.split('+'));
    names.map(|name| format!(",{name}")).collect()
}

/// The names of all formats that refer to nothing else.
fn self_contained() -> String {
    let mut place = ptr::null_mut();
    let mut names = Vec::new();
    loop {
        // SAFETY: the place is a local that only this call writes to.
        let format = unsafe { ff::av_demuxer_iterate(&mut place) };
        // SAFETY: null at the end, else a constant of FFmpeg.
        let Some(format) = (unsafe { format.as_ref() }) else { return names.join(",") };
        // SAFETY: its name is a constant string that ends with a zero.
        let name = unsafe { CStr::from_ptr(format.name) }.to_string_lossy();
        if !name.split(',').any(|name| REFERRING.contains(&name)) {
            names.push(name.into_owned());
        }
    }
}

/// The error for an input that was refused because it reaches further, as FFmpeg's log says.
pub(super) fn refused(name: &str, lines: &[String]) -> Option<Error> {
    let line = lines.iter().find(|line| line.contains("not on whitelist"))?;
    let fault = match line.split_once("Protocol '") {
        Some((_, rest)) => {
            let protocol = rest.split('\'').next().unwrap_or_default();
            format!("cannot open {name}: it refers to another source by the protocol {protocol}")
        }
        None => format!(
            "cannot open {name}: expected a file with video, found a playlist or another list of sources"
        ),
    };
    Some(Error::new(ErrorKind::InvalidOption, fault).with_hint(
        "if you trust what it refers to, name its format (`--input-format hls`, `dash`, `concat` or `sdp`), or allow \
         the protocol (`--ffmpeg-option protocol_whitelist=…`)",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_of_a_url_are_its_protocols() {
        for (url, protocols) in [
            ("film.mp4", ""),
            ("/a:b/film.mp4", ""),
            ("file:film.mp4", ",file"),
            ("http://host:80/a:b", ",http"),
            ("cache:http://host/", ",cache,http"),
            ("hls+http://host/", ",hls,http"),
            ("concat:a.ts|b.ts", ",concat"),
            ("subfile,,start,1,end,2,,:a.ts", ",subfile"),
        ] {
            assert_eq!(schemes(url), protocols, "{url}");
        }
    }

    #[test]
    fn self_contained_formats_exclude_lists_of_sources() {
        let names = self_contained();
        let names: Vec<_> = names.split(',').collect();
        assert!(["mp4", "matroska", "image2", "mpegts"].iter().all(|name| names.contains(name)));
        assert!(REFERRING.iter().all(|name| !names.contains(name)));
    }

    #[test]
    fn reach_follows_source_and_named_format() {
        assert_eq!(Reach::of(true, Some("hls")), Reach::Network);
        assert_eq!(Reach::of(false, Some("hls")), Reach::Default);
        assert_eq!(Reach::of(false, Some("mp4")), Reach::Itself);
        assert_eq!(Reach::of(false, None), Reach::Itself);
    }
}
