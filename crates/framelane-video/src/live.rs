//! The rule by which a source is live: what the input is, not what its address begins with.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The major number of V4L2 devices: cameras under any name or link.
const V4L2_MAJOR: u32 = 81;
/// Demuxers of segmented streams. Frames come in bursts of one segment.
const SEGMENTED: [&str; 2] = ["hls", "dash"];

/// Origin of a source's bytes, as far as it is known before opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A regular file, or a name that only FFmpeg understands.
    File,
    /// Standard input that is no file, a FIFO, a socket, a character device.
    Pipe,
    /// A V4L2 device.
    Camera,
    /// A URL.
    Network,
}

impl Origin {
    pub(crate) fn of(source: &str) -> Self {
        if source == "-" {
            return std::fs::metadata("/proc/self/fd/0")
                .map_or(Origin::Pipe, |found| Origin::of_file(&found));
        }
        match std::fs::metadata(Path::new(source)) {
            Ok(found) => Origin::of_file(&found),
            Err(_) if is_camera_name(source) => Origin::Camera,
            Err(_) => match source.split_once("://") {
                Some(("file", path)) => Origin::of(path),
                Some(_) => Origin::Network,
                None if source.starts_with("pipe:") => Origin::Pipe,
                None => Origin::File,
            },
        }
    }

    fn of_file(found: &Metadata) -> Self {
        let kind = found.file_type();
        Origin::of_kind(kind.is_file() || kind.is_dir() || kind.is_block_device(), {
            kind.is_char_device().then(|| rustix::fs::major(found.rdev()))
        })
    }

    fn of_kind(can_seek: bool, device_major: Option<u32>) -> Self {
        match device_major {
            _ if can_seek => Origin::File,
            Some(V4L2_MAJOR) => Origin::Camera,
            _ => Origin::Pipe,
        }
    }
}

/// Returns true if a path names a camera, also one that is not there.
pub(crate) fn is_camera_name(source: &str) -> bool {
    source.starts_with("/dev/video") || source.starts_with("/dev/v4l/")
}

/// Facts about an open source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) origin: Origin,
    /// FFmpeg's name of the demuxer.
    pub(crate) container: &'a str,
    /// True if the demuxer is a capture device.
    pub(crate) device: bool,
    /// True if the input can go to another place.
    pub(crate) seekable: bool,
    /// True if the input has a length in bytes.
    pub(crate) sized: bool,
    /// True if the media has a duration.
    pub(crate) timed: bool,
}

/// Arrival of the frames, which determines their publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// All at once: frames are paced by their times, none is skipped.
    File,
    /// By a producer that may be live: see [`Arrival`](crate::pace::Arrival).
    Pipe,
    /// Frames arrive when they are made: they are never paced, the newest wins.
    Live,
    /// Frames arrive in bursts of a segment: they are paced by their times.
    Segments,
}

impl Delivery {
    /// Decides; `wanted` overrules what follows from the input.
    pub(crate) fn of(facts: Facts<'_>, wanted: Option<bool>) -> Self {
        let segmented = SEGMENTED.iter().any(|name| facts.container.split(',').any(|found| found == *name));
        match wanted {
            Some(false) => return Delivery::File,
            Some(true) => return if segmented { Delivery::Segments } else { Delivery::Live },
            None => {}
        }
        let generated = facts.container == "lavfi";
        match facts.origin {
            _ if facts.device && !generated => Delivery::Live,
            _ if segmented && !facts.timed => Delivery::Segments,
            Origin::Camera => Delivery::Live,
            Origin::File => Delivery::File,
            _ if facts.timed => Delivery::File,
            Origin::Pipe => Delivery::Pipe,
            // A camera's answer may bear any length.
            Origin::Network if facts.container == "mpjpeg" => Delivery::Live,
            Origin::Network if facts.seekable || facts.sized => Delivery::File,
            Origin::Network => Delivery::Live,
        }
    }

    pub(crate) fn is_live(self) -> bool {
        self != Delivery::File
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const STREAM: Facts<'_> = Facts {
        origin: Origin::Network,
        container: "mpegts",
        device: false,
        seekable: false,
        sized: false,
        timed: false,
    };

    #[test]
    fn origin_follows_links_to_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.mp4");
        std::fs::write(&file, "x").unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        for (target, origin) in
            [(&*file, Origin::File), (&*fifo, Origin::Pipe), (Path::new("/dev/zero"), Origin::Pipe)]
        {
            let link = directory.path().join("by-id");
            symlink(target, &link).unwrap();
            for name in [target, &link] {
                assert_eq!(Origin::of(name.to_str().unwrap()), origin, "{}", name.display());
            }
            assert_eq!(Origin::of(&format!("file://{}", target.display())), origin);
            std::fs::remove_file(link).unwrap();
        }
        assert_eq!(Origin::of_kind(false, Some(V4L2_MAJOR)), Origin::Camera);
        assert_eq!(Origin::of_kind(false, Some(1)), Origin::Pipe);
        for url in ["rtsp://h/x", "http://h/x", "udp://h:1", "srt://h:1", "tcp://h:1"] {
            assert_eq!(Origin::of(url), Origin::Network, "{url}");
        }
        assert_eq!(Origin::of("/dev/video99"), Origin::Camera);
        assert_eq!(Origin::of("/dev/v4l/by-id/usb-missing"), Origin::Camera);
        assert_eq!(Origin::of("missing.mp4"), Origin::File);
    }

    #[test]
    fn delivery_follows_from_the_input() {
        let timed = Facts { timed: true, ..STREAM };
        let file = Facts { origin: Origin::File, seekable: true, sized: true, ..STREAM };
        let pipe = Facts { origin: Origin::Pipe, ..STREAM };
        for (facts, delivery) in [
            (STREAM, Delivery::Live),
            (Facts { container: "rtsp", ..STREAM }, Delivery::Live),
            (timed, Delivery::File),
            (Facts { sized: true, ..STREAM }, Delivery::File),
            (Facts { seekable: true, ..STREAM }, Delivery::File),
            (Facts { container: "mpjpeg", sized: true, ..STREAM }, Delivery::Live),
            (Facts { container: "mpjpeg", ..file }, Delivery::File),
            (file, Delivery::File),
            (pipe, Delivery::Pipe),
            (Facts { timed: true, ..pipe }, Delivery::File),
            (Facts { origin: Origin::Camera, ..STREAM }, Delivery::Live),
            (Facts { origin: Origin::File, device: true, container: "x11grab", ..STREAM }, Delivery::Live),
            (Facts { origin: Origin::File, device: true, container: "lavfi", ..STREAM }, Delivery::File),
            (Facts { container: "hls", ..STREAM }, Delivery::Segments),
            (Facts { container: "hls", ..file }, Delivery::Segments),
            (Facts { container: "hls", ..timed }, Delivery::File),
        ] {
            assert_eq!(Delivery::of(facts, None), delivery, "{facts:?}");
            assert_eq!(Delivery::of(facts, Some(false)), Delivery::File);
            assert!(Delivery::of(facts, Some(true)).is_live());
        }
    }
}
