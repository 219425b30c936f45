//! Options of a dashboard.

use std::fs::OpenOptions;
use std::io::{ErrorKind as IoKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use framelane::{CancelToken, Error, ErrorKind};
use framelane_net::security::Token;

/// Options of a [`Dashboard`](crate::Dashboard).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DashboardOptions {
    /// Address to listen on, on a loopback interface. Port 0 selects a free port.
    pub listen: SocketAddr,
    /// Directory of the channels. `None`: the default one.
    pub directory: Option<PathBuf>,
    /// Token that every client must present. `None` (the default) admits all clients.
    pub token: Option<Token>,
    /// Most pages and streams at once, default 64.
    pub max_clients: usize,
    /// Longest time for the head of a request, and between two requests of a connection. Default 10 s.
    pub head_timeout: Duration,
    /// Ends [`Dashboard::run`](crate::Dashboard::run).
    pub cancel: CancelToken,
}

impl DashboardOptions {
    /// Returns the defaults for an address.
    pub fn new(listen: SocketAddr) -> Self {
        DashboardOptions {
            listen,
            directory: None,
            token: None,
            max_clients: 64,
            head_timeout: Duration::from_secs(10),
            cancel: CancelToken::new(),
        }
    }

    /// Refuses addresses that other machines can reach.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        let port = self.listen.port();
        Err(Error::new(
            ErrorKind::InvalidOption,
            format!("expected a loopback address such as 127.0.0.1:{port}, found {}", self.listen),
        )
        .with_hint(format!(
            "listen on 127.0.0.1:{port}, and forward the port from the other machine: \
             `ssh -L {port}:127.0.0.1:{port} HOST`"
        )))
    }
}

/// Reads the token in a file. Creates the file with a new token, readable by its owner only, if it does not
/// exist.
///
/// # Errors
/// If the file cannot be read or created, other users may read it, or it holds no token.
pub fn token_from_file(path: &Path) -> Result<Token, Error> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let token = Token::generate()?;
            let failed = |error| Error::from_io(format!("cannot write {}", path.display()), error);
            writeln!(file, "{}", token.expose()).map_err(failed)?;
            Ok(token)
        }
        Err(error) if error.kind() == IoKind::AlreadyExists => Token::from_file(path),
        Err(error) => Err(Error::from_io(format!("cannot create {}", path.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_beyond_loopback_is_refused_with_a_hint() {
        for address in ["0.0.0.0:7480", "192.168.1.2:7480", "[::]:7480", "[fe80::1]:7480"] {
            let error = DashboardOptions::new(address.parse().unwrap()).check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption);
            assert!(error.hint().unwrap().contains("ssh -L 7480:127.0.0.1:7480"), "{error}");
        }
        for address in ["127.0.0.1:0", "127.1.2.3:80", "[::1]:7480"] {
            DashboardOptions::new(address.parse().unwrap()).check().unwrap();
        }
    }

    #[test]
    fn token_file_is_created_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let created = token_from_file(&path).unwrap();
        assert_eq!(token_from_file(&path).unwrap().expose(), created.expose());
        std::fs::write(&path, "no token").unwrap();
        assert!(token_from_file(&path).is_err());
    }
}
