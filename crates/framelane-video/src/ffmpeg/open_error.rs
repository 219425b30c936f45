//! Errors for sources that cannot be opened: the hint depends on the kind of source.

use std::ffi::c_int;

use ffmpeg_sys_next as ff;
use framelane::{Error, ErrorKind};

use super::error::{logged, make};

#[derive(Clone, Copy)]
enum Kind {
    Camera,
    Stream,
    File,
}

fn kind_of(name: &str) -> Kind {
    match name {
        _ if crate::live::is_camera_name(name) => Kind::Camera,
        _ if name.contains("://") => Kind::Stream,
        _ => Kind::File,
    }
}

/// The container could not be opened.
pub(super) fn at_open(name: &str, code: c_int) -> Error {
    // FFmpeg's RTSP returns "invalid data" for any answer that is missing or unknown; no file is damaged
    // then.
    let rtsp = ["rtsp://", "rtsps://"].iter().any(|scheme| name.starts_with(scheme));
    if rtsp && code == ff::AVERROR_INVALIDDATA {
        let message = format!(
            "cannot reach {name}: expected an RTSP server, found none that answers as one{}",
            logged()
        );
        return Error::new(ErrorKind::SystemFailure, message)
            .with_hint("check host, port and path, that the camera or server runs, and firewalls between");
    }
    of(name, code)
}

/// There is nothing in it.
pub(crate) fn empty(name: &str) -> Error {
    let name = if name == "-" { "standard input" } else { name };
    Error::new(ErrorKind::Damaged, format!("cannot open {name}: expected video, found no bytes"))
        .with_hint("check the program that writes it")
}

/// It could not be opened, or its streams not be found out.
pub(super) fn of(name: &str, code: c_int) -> Error {
    let error = make(format_args!("cannot open {name}"), code);
    match hint(name, error.kind()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn hint(name: &str, error: ErrorKind) -> Option<&'static str> {
    Some(match (error, kind_of(name)) {
        (ErrorKind::Interrupted, _) => return None,
        (ErrorKind::NotFound, Kind::Camera) => {
            "`ls /dev/video*` shows the cameras there are; a container needs --device /dev/video0"
        }
        (ErrorKind::NotFound, Kind::Stream) => {
            "check the address: the server is there and has nothing under this path"
        }
        (ErrorKind::NotFound, Kind::File) if name.contains('%') => {
            "check the name; a sequence that does not begin with 0 to 4 needs --ffmpeg-option start_number=N"
        }
        (ErrorKind::NotFound, Kind::File) => "check the name; it is taken relative to the current directory",
        (ErrorKind::PermissionDenied, Kind::Camera) => {
            "put the user into the group video (`sudo usermod -aG video $USER`, then log in again); a container needs \
             --device /dev/video0 --group-add video"
        }
        (ErrorKind::PermissionDenied, Kind::Stream) => {
            "check user and password, as in rtsp://USER:PASSWORD@HOST/"
        }
        (ErrorKind::PermissionDenied, Kind::File) => "check the permissions of the file (`ls -l`)",
        (ErrorKind::Damaged, Kind::Stream) => {
            "expected video that FFmpeg can read, found something else; check the address; `ffprobe SOURCE` \
             shows details"
        }
        (ErrorKind::Damaged, _) => {
            "expected a video that FFmpeg can read, found something else or a file that was cut off; \
             `ffprobe SOURCE` shows details; raw frames need their format and size"
        }
        (_, Kind::Camera) => {
            "check that no other program uses the camera (`fuser /dev/video0`) and that it is plugged in"
        }
        (_, Kind::Stream) => "check the address and that the server runs; `ffprobe SOURCE` shows details",
        (_, Kind::File) => "`ffprobe SOURCE` shows details",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_fit_what_the_source_is() {
        let of = |name, kind| hint(name, kind).unwrap();
        assert!(of("/dev/video0", ErrorKind::NotFound).contains("ls /dev/video*"));
        assert!(of("/dev/v4l/by-id/x", ErrorKind::NotFound).contains("ls /dev/video*"));
        assert!(of("/dev/video0", ErrorKind::NotFound).contains("--device /dev/video0"));
        assert!(of("/dev/video0", ErrorKind::PermissionDenied).contains("group video"));
        assert!(of("http://host/x", ErrorKind::NotFound).contains("check the address"));
        assert!(of("film.mp4", ErrorKind::NotFound).contains("current directory"));
        assert!(hint("film.mp4", ErrorKind::Interrupted).is_none());
    }

    #[test]
    fn an_rtsp_host_that_does_not_answer_is_no_damaged_file() {
        let error = at_open("rtsp://host/x", ff::AVERROR_INVALIDDATA);
        assert_eq!(error.kind(), ErrorKind::SystemFailure);
        assert!(error.message().starts_with("cannot reach rtsp://host/x"), "{error}");
        assert_eq!(at_open("film.mp4", ff::AVERROR_INVALIDDATA).kind(), ErrorKind::Damaged);
    }
}
