//! Owners of files.

/// A user, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User(u32);

impl User {
    pub(super) fn new(uid: u32) -> Self {
        User(uid)
    }

    /// The hint to run a command as this user.
    pub(crate) fn hint_to_run(&self, command: &str) -> String {
        format!("run `{command}` as that user (`sudo -u '#{}'`)", self.0)
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
