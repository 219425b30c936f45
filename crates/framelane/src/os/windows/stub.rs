//! The 64 bytes of a stub file, which names a section.

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;
use std::os::windows::io::OwnedHandle;

use windows_sys::Win32::Foundation::ERROR_FILE_NOT_FOUND;
use windows_sys::Win32::System::Memory::OpenFileMappingW;

use super::strings::{is, owned, wide};
use super::users::Others;

const MAGIC: [u8; 8] = *b"FRMLSECT";
const VERSION: u32 = 1;
const STUB_BYTES: usize = 64;
/// The right to read a section's memory, `SECTION_MAP_READ`.
const MAP_READ: u32 = 4;

/// A stub: the name, the length and the rights of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stub {
    /// Random. No two sections ever have the same.
    pub id: u128,
    /// Bytes of the section.
    pub len: u64,
    pub others: Others,
    /// The process that created it. For people.
    pub pid: u32,
}

impl Stub {
    /// Reads an open file. `None` if it is no stub.
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; STUB_BYTES];
        let mut len = 0;
        while len < STUB_BYTES {
            match file.seek_read(&mut bytes[len..], len as u64) {
                Ok(0) => return Ok(None),
                Ok(count) => len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8; STUB_BYTES]) -> Option<Self> {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        if bytes[..8] != MAGIC || number(8) != VERSION {
            return None;
        }
        Some(Stub {
            others: Others::of_number(number(12))?,
            id: u128::from_le_bytes(bytes[16..32].try_into().expect("16 bytes")),
            len: u64::from_le_bytes(bytes[32..40].try_into().expect("8 bytes")),
            pid: number(40),
        })
    }

    /// Writes the stub to the start of a file.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let bytes = self.bytes();
        let written = file.seek_write(&bytes, 0)?;
        if written == STUB_BYTES { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn bytes(&self) -> [u8; STUB_BYTES] {
        let mut bytes = [0; STUB_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.others as u32).to_le_bytes());
        bytes[16..32].copy_from_slice(&self.id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.len.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.pid.to_le_bytes());
        bytes
    }

    /// The name of the section, in the session of the user.
    pub(super) fn section_name(&self) -> Vec<u16> {
        wide(format!(r"Local\framelane-{:032x}", self.id))
    }

    /// The name of the event of a sleeper.
    pub(super) fn event_name(&self, sleeper: usize) -> Vec<u16> {
        wide(format!(r"Local\framelane-{:032x}-{sleeper}", self.id))
    }

    /// Opens the section with these rights. `NotFound` once no process has it.
    pub(super) fn open_section(&self, rights: u32) -> io::Result<OwnedHandle> {
        let name = self.section_name();
        // SAFETY: the name ends with a zero.
        let handle = unsafe { OpenFileMappingW(rights, 0, name.as_ptr()) };
        // SAFETY: the call has opened the handle for us.
        unsafe { owned(handle) }
    }

    /// Returns whether the section is gone. Then it never returns.
    pub(super) fn is_dead(&self) -> bool {
        self.open_section(MAP_READ).is_err_and(|error| is(&error, ERROR_FILE_NOT_FOUND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stub_that_is_written_reads_back() {
        let stub = Stub { id: 1 << 127 | 5, len: 1 << 40, others: Others::Write, pid: 77 };
        let mut bytes = stub.bytes();
        assert_eq!(Stub::parse(&bytes), Some(stub));
        let name = String::from_utf16(&stub.section_name()).unwrap();
        assert_eq!(name, "Local\\framelane-80000000000000000000000000000005\0");
        for at in [0, 8, 12] {
            bytes[at] ^= 64;
            assert_eq!(Stub::parse(&bytes), None, "byte {at}");
            bytes[at] ^= 64;
        }
    }
}
