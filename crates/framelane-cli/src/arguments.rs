//! Secrets on the command line: hidden from `ps`, and read from elsewhere.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::Path;

use framelane::{Error, ErrorKind, redact};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Holds the secret for `***` in a source.
pub const SECRET_VARIABLE: &str = "FRAMELANE_SECRET";

/// Overwrites this process's arguments in memory, so that `ps` and `/proc/PID/cmdline` show no secrets.
///
/// The arguments stay visible from the start of the process until this call. Without `/proc` nothing changes.
/// Must run before other threads exist, and after the last use of `std::env::args_os`.
pub fn hide(arguments: &[OsString]) {
    let hidden: Vec<_> = hidden(arguments);
    if hidden != arguments {
        // Without the overwrite, `ps` shows the secrets, as SECURITY.md states.
        let _ = overwrite(arguments, &hidden);
    }
}

/// Returns the arguments without secrets.
pub fn hidden(arguments: &[OsString]) -> Vec<OsString> {
    let mut is_option = false;
    let mut hide = |argument: &OsString| {
        // Bytes that are no text are kept: a URL is text.
        let text = argument.to_string_lossy();
        let after_option = std::mem::replace(&mut is_option, argument == "--ffmpeg-option");
        let shown = match text.strip_prefix("--ffmpeg-option=") {
            Some(assignment) => Cow::Owned(format!("--ffmpeg-option={}", redact::assignment(assignment))),
            None if after_option => redact::assignment(&text),
            None => redact::url(&text),
        };
        if shown == text { argument.clone() } else { OsString::from(&*shown) }
    };
    arguments.iter().map(&mut hide).collect()
}

/// Returns whether this process has a secret: in its arguments, in its environment, or for a link.
pub fn have_secrets(arguments: &[OsString]) -> bool {
    let brings_secret = |argument: &OsString| {
        let argument = argument.as_bytes();
        let schemes = [&b"tls:"[..], b"tcp:", b"unix:"];
        // A link is a whole argument, or the value of one: `--detections=tls://…`.
        argument.starts_with(b"--secret-file")
            || argument.split(|&byte| byte == b'=').any(|part| {
                schemes.iter().any(|scheme| {
                    part.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                })
            })
    };
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    arguments.iter().any(brings_secret)
        || hidden(arguments) != arguments
        || is_set(SECRET_VARIABLE)
        || is_set(framelane_net::security::TOKEN_VARIABLE)
}

/// Limits core dumps of this process, and of its children, to 0 bytes. `prlimit` can raise the limit again.
pub fn forbid_core_dumps() {
    let limit = getrlimit(Resource::Core);
    // Lowering it is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..limit });
}

/// Writes through `/proc/self/mem`, which needs no unsafe code and fails when the place is not as expected.
fn overwrite(arguments: &[OsString], hidden: &[OsString]) -> io::Result<()> {
    let joined = |arguments: &[OsString]| -> Vec<u8> {
        arguments.iter().flat_map(|argument| [argument.as_bytes(), b"\0"].concat()).collect()
    };
    let (old, mut new) = (joined(arguments), joined(hidden));
    // A mask may be longer than its secret. The end of the last argument is cut off then.
    new.resize(old.len(), 0);
    if let Some(last) = new.last_mut() {
        *last = 0;
    }
    let start = argument_address()?;
    let memory = OpenOptions::new().read(true).write(true).open("/proc/self/mem")?;
    let mut found = vec![0; old.len()];
    memory.read_exact_at(&mut found, start)?;
    if found != old {
        return Err(io::Error::other("the arguments are elsewhere"));
    }
    memory.write_all_at(&new, start)
}

/// Returns the address of the arguments: field 48 of `/proc/self/stat`, see `proc(5)`.
fn argument_address() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field, the name in brackets, may contain spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let address = fields.split_whitespace().nth(48 - 3).and_then(|field| field.parse().ok());
    address.filter(|&address| address != 0).ok_or_else(|| io::Error::other("no address of the arguments"))
}

/// Replaces each `***` of a URL with the secret of `$FRAMELANE_SECRET`, or of a file, percent-encoded.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] for `***` without a secret, and for a secret file without `***`. Those of
/// [`read_secret_file`](framelane_net::security::read_secret_file).
pub fn with_secret<'s>(source: &'s str, file: Option<&Path>) -> Result<Cow<'s, str>, Error> {
    let has_place = source.contains("://") && source.contains(redact::HIDDEN);
    let secret = match file {
        Some(file) if has_place => Some(read_secret(file)?),
        Some(file) => {
            let message = format!("expected *** in a URL for the secret of {}, found none", file.display());
            return Err(Error::new(ErrorKind::InvalidOption, message)
                .with_hint("write *** where the secret belongs, as in 'rtsp://admin:***@HOST/live'"));
        }
        None if has_place => std::env::var_os(SECRET_VARIABLE).map(OsString::into_vec),
        None => return Ok(Cow::Borrowed(source)),
    };
    let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("expected a secret for *** in {}, found none", redact::url(source)),
        )
        .with_hint(format!("set {SECRET_VARIABLE}, or give a file with --secret-file")));
    };
    Ok(Cow::Owned(source.replace(redact::HIDDEN, &percent_encoded(&secret))))
}

/// The first line of a file that no other user may read.
fn read_secret(file: &Path) -> Result<Vec<u8>, Error> {
    let text = framelane_net::security::read_secret_file(file, "the secret file")?;
    Ok(text.lines().next().unwrap_or_default().as_bytes().to_vec())
}

fn percent_encoded(secret: &[u8]) -> String {
    let mut out = String::new();
    for &byte in secret {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn arguments_with_secrets_are_hidden() {
        let line = ["framelane", "publish", "rtsp://me:secret@h/", "cam0", "--ffmpeg-option"];
        let rest = ["headers=Authorization: x", "--ffmpeg-option=key=secret", "--size", "4x4"];
        let all: Vec<OsString> = line.iter().chain(&rest).map(OsString::from).collect();
        let shown: Vec<_> = hidden(&all).into_iter().map(|text| text.into_string().unwrap()).collect();
        assert_eq!(
            shown,
            [
                "framelane",
                "publish",
                "rtsp://me:***@h/",
                "cam0",
                "--ffmpeg-option",
                "headers=***",
                "--ffmpeg-option=key=***",
                "--size",
                "4x4",
            ]
        );
    }

    #[test]
    fn links_in_arguments_are_secrets() {
        let have =
            |arguments: &[&str]| have_secrets(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        for link in ["tls://h/cam0", "TLS://h/cam0", "tcp://127.0.0.1:9/cam0", "unix:/run/s?channel=c"] {
            assert!(have(&["framelane", "receive", link, "cam0"]), "{link}");
            assert!(have(&["framelane", "run", &format!("--detections={link}"), "--", "true"]), "{link}");
        }
        assert!(have(&["framelane", "publish", "--secret-file=x", "a", "b"]));
        assert!(!have(&["framelane", "run", "--detections=cam0/tls", "--", "true"]));
    }

    #[test]
    fn secret_of_a_file_is_put_into_the_url() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "p@ss/ü\nsecond line\n").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o440)).unwrap();
        let filled = with_secret("rtsp://me:***@h/?token=***", Some(&file)).unwrap();
        assert_eq!(filled, "rtsp://me:p%40ss%2F%C3%BC@h/?token=p%40ss%2F%C3%BC");
        let error = with_secret("rtsp://h/", Some(&file)).unwrap_err();
        assert!(error.message().contains("expected *** in a URL"), "{error}");
        assert_eq!(with_secret("a***.mp4", None).unwrap(), "a***.mp4");
    }

    #[test]
    fn secret_of_a_pipe_is_put_into_the_url() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"p@ss\n").unwrap();
        drop(writer);
        let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        assert_eq!(with_secret("rtsp://me:***@h/", Some(&path)).unwrap(), "rtsp://me:p%40ss@h/");
        // Empty by now, as when the command in the shell has failed.
        let error = with_secret("rtsp://me:***@h/", Some(&path)).unwrap_err();
        assert!(error.message().contains("expected a secret"), "{error}");
    }

    #[test]
    fn secret_of_a_fifo_comes_from_its_later_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&path, "p@ss"));
            assert_eq!(with_secret("rtsp://me:***@h/", Some(&path)).unwrap(), "rtsp://me:p%40ss@h/");
        });
        std::fs::set_permissions(&path, Permissions::from_mode(0o622)).unwrap();
        let error = with_secret("rtsp://me:***@h/", Some(&path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }

    #[test]
    fn secret_file_that_others_may_use_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "p@ss").unwrap();
        for mode in [0o644, 0o604, 0o602, 0o620, 0o660, 0o666] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let error = with_secret("rtsp://me:***@h/", Some(&file)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{mode:o}");
            let text = error.to_string();
            assert!(text.contains(&format!("the secret file {}", file.display())), "{text}");
            assert!(text.contains("chmod 600") && !text.contains("p@ss"), "{text}");
        }
        let error = with_secret("rtsp://me:***@h/", Some(directory.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
    }
}
