//! Users, and their rights to our files, sections and events.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetKernelObjectSecurity, GetTokenInformation, OWNER_SECURITY_INFORMATION,
    SECURITY_ATTRIBUTES, SetKernelObjectSecurity, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::strings::{checked, owned, wide};

/// A user, as a security identifier: `S-1-5-21-...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User(String);

impl User {
    /// The user of this process.
    pub(super) fn current() -> io::Result<&'static User> {
        static CURRENT: OnceLock<User> = OnceLock::new();
        if let Some(user) = CURRENT.get() {
            return Ok(user);
        }
        let found = Self::of_this_process()?;
        Ok(CURRENT.get_or_init(|| found))
    }

    fn of_this_process() -> io::Result<User> {
        // SAFETY: has no conditions. The result is a constant that is never closed.
        let process = unsafe { GetCurrentProcess() };
        let mut token = null_mut();
        // SAFETY: `process` is this process, and `token` may be written to.
        checked(unsafe { OpenProcessToken(process, TOKEN_QUERY, &mut token) })?;
        // SAFETY: the call has opened it for us.
        let token = unsafe { owned(token) }?;
        let mut bytes = [0_u64; 32];
        let mut len = 0;
        let (start, size) = (bytes.as_mut_ptr(), size_of_val(&bytes) as u32);
        let (handle, start) = (token.as_raw_handle(), start.cast());
        // SAFETY: the token is open for queries, and `bytes` may be written to for `size` bytes.
        checked(unsafe { GetTokenInformation(handle, TokenUser, start, size, &mut len) })?;
        // SAFETY: the call has written a `TOKEN_USER` there, and a `u64` is aligned as it must be.
        let user = unsafe { &*bytes.as_ptr().cast::<TOKEN_USER>() };
        // The identifier lies in the same buffer.
        let offset = (user.User.Sid as usize).wrapping_sub(bytes.as_ptr() as usize);
        let bytes: Vec<u8> = bytes.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.get(offset..).and_then(Self::parse).ok_or_else(unknown)
    }

    /// The owner of a file, section or event that is open with the right to read its descriptor.
    pub(super) fn owner_of(object: impl AsHandle) -> io::Result<User> {
        let mut bytes = [0_u8; 1024];
        let mut len = 0;
        let handle = object.as_handle().as_raw_handle();
        let (start, size) = (bytes.as_mut_ptr().cast(), bytes.len() as u32);
        // SAFETY: the handle is open, and `bytes` may be written to for `size` bytes.
        checked(unsafe {
            GetKernelObjectSecurity(handle, OWNER_SECURITY_INFORMATION, start, size, &mut len)
        })?;
        // A self-relative descriptor: the owner's offset is its second word.
        let offset = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
        bytes.get(offset..).filter(|_| offset != 0).and_then(Self::parse).ok_or_else(unknown)
    }

    /// Reads a security identifier: revision, count, authority in 6 bytes, numbers.
    fn parse(bytes: &[u8]) -> Option<User> {
        let (&[revision, count], rest) = bytes.split_first_chunk::<2>()?;
        let (authority, rest) = rest.split_first_chunk::<6>()?;
        let authority = authority.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        let mut text = format!("S-{revision}-{authority}");
        for number in rest.get(..usize::from(count) * 4)?.chunks_exact(4) {
            text += &format!("-{}", u32::from_le_bytes(number.try_into().ok()?));
        }
        Some(User(text))
    }

    /// Returns whether it is the system itself, or the group of administrators.
    pub(super) fn is_system(&self) -> bool {
        matches!(&*self.0, "S-1-5-18" | "S-1-5-32-544")
    }

    /// The hint to run a command as this user.
    pub(crate) fn hint_to_run(&self, command: &str) -> String {
        format!("run `{command}` as that user")
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn unknown() -> io::Error {
    io::Error::other("expected a security identifier, found something else")
}

/// The rights of users other than the owner, who has all. Authenticated users of this machine have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    None = 0,
    Read = 1,
    Write = 2,
}

impl Others {
    /// The rights that a mode of group and others stands for.
    pub(super) fn of_mode(mode: u32) -> Self {
        match mode {
            _ if mode & 0o022 != 0 => Others::Write,
            _ if mode & 0o044 != 0 => Others::Read,
            _ => Others::None,
        }
    }

    /// The rights with this number.
    pub(super) fn of_number(number: u32) -> Option<Self> {
        [Others::None, Others::Read, Others::Write].into_iter().find(|&others| others as u32 == number)
    }

    /// Of a stub file. Only its owner writes to one.
    pub(super) fn on_file(self) -> io::Result<Descriptor> {
        self.descriptor("FA", ["FR", "FR"])
    }

    /// Of a section: query and map for reading, or for writing too.
    pub(super) fn on_section(self) -> io::Result<Descriptor> {
        self.descriptor("GA", ["0x5", "0x7"])
    }

    /// Of an event: set it, and wait for it. Readers wake a publisher, and it wakes them.
    pub(super) fn on_event(self) -> io::Result<Descriptor> {
        self.descriptor("GA", ["0x100002", "0x100002"])
    }

    /// Of a directory, for the files in it too.
    pub(super) fn on_directory() -> io::Result<Descriptor> {
        let user = User::current()?;
        Descriptor::new(&format!("O:{user}D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;{user})"))
    }

    fn descriptor(self, all: &str, [read, write]: [&str; 2]) -> io::Result<Descriptor> {
        let user = User::current()?;
        // The owner is named: that of an elevated process would be the group of administrators.
        let mut text = format!("O:{user}D:P(A;;{all};;;SY)(A;;{all};;;{user})");
        match self {
            Others::None => {}
            Others::Read => text += &format!("(A;;{read};;;AU)"),
            Others::Write => text += &format!("(A;;{write};;;AU)"),
        }
        Descriptor::new(&text)
    }
}

/// A security descriptor in memory of the system.
pub(super) struct Descriptor(NonNull<std::ffi::c_void>);

impl Descriptor {
    fn new(text: &str) -> io::Result<Self> {
        let text = wide(text);
        let mut made = null_mut();
        let (start, size) = (text.as_ptr(), null_mut());
        // SAFETY: `text` ends with a zero, and `made` may be written to. No size is asked for.
        let converted = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(start, SDDL_REVISION_1, &mut made, size)
        };
        checked(converted)?;
        NonNull::new(made).map(Descriptor).ok_or_else(io::Error::last_os_error)
    }

    /// For calls that create an object. Valid as long as the descriptor.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0.as_ptr(),
            bInheritHandle: 0,
        }
    }

    /// Sets the rights to an object that is open with `WRITE_DAC`.
    pub(super) fn apply(&self, object: impl AsHandle) -> io::Result<()> {
        let handle = object.as_handle().as_raw_handle();
        // SAFETY: the handle is open, and the descriptor is complete.
        checked(unsafe { SetKernelObjectSecurity(handle, DACL_SECURITY_INFORMATION, self.0.as_ptr()) })
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the conversion has allocated it so, and it is freed once.
        unsafe { LocalFree(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_identifier_is_read_from_its_bytes() {
        let bytes = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0, 9];
        let user = User::parse(&bytes).unwrap();
        assert_eq!(user.to_string(), "S-1-5-32-544");
        assert!(user.is_system());
        assert!(User::parse(&bytes[..15]).is_none());
    }

    #[test]
    fn current_user_owns_what_it_creates() {
        let user = User::current().unwrap();
        assert!(user.to_string().starts_with("S-1-5-"), "{user}");
    }

    #[test]
    fn mode_of_a_group_gives_rights_to_others() {
        let found = [0o600, 0o640, 0o604, 0o660, 0o622].map(Others::of_mode);
        assert_eq!(found, [Others::None, Others::Read, Others::Read, Others::Write, Others::Write]);
    }
}
