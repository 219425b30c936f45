//! The users at the two ends of a Unix socket. The kernel vouches for them, so no token is needed.

use framelane::{Error, ErrorKind};
use rustix::process::geteuid;

const ROOT: u32 = 0;

/// Refuses a client that is neither this user nor root.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`].
pub(crate) fn check_client(uid: u32) -> Result<(), Error> {
    let ours = geteuid().as_raw();
    if [ours, ROOT].contains(&uid) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!("expected a client of user {ours} or of root on the Unix socket, found user {uid}"),
    )
    .with_hint("connect as the user who runs the server, or over tls:// with a token"))
}

/// Refuses a server that is neither this user nor root nor `allowed`.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`].
pub(crate) fn check_server(uid: u32, allowed: Option<u32>) -> Result<(), Error> {
    let ours = geteuid().as_raw();
    if [ours, ROOT].contains(&uid) || allowed == Some(uid) {
        return Ok(());
    }
    let expected = allowed.unwrap_or(ours);
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!("expected a server of user {expected} or of root at the Unix socket, found user {uid}"),
    )
    .with_hint(format!("if that server is meant, add --server-uid {uid} (server-uid={uid} in a URL)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_of_other_users_are_refused() {
        let ours = geteuid().as_raw();
        let other = ours + 1;
        for uid in [ours, ROOT] {
            assert!(check_client(uid).is_ok() && check_server(uid, None).is_ok());
            assert!(check_server(uid, Some(other)).is_ok());
        }
        for error in [check_client(other), check_server(other, None), check_server(other, Some(other + 1))] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.message().contains(&other.to_string()) && error.hint().is_some(), "{error}");
        }
        assert!(check_server(other, Some(other)).is_ok());
    }
}
