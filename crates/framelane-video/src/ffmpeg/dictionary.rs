//! `AVDictionary`: options by name.

use std::ffi::{CStr, CString};
use std::ptr;

use ffmpeg_sys_next as ff;
use framelane::{Error, ErrorKind};

/// Options for FFmpeg; the library takes out those that it uses.
pub(crate) struct Dictionary(*mut ff::AVDictionary);

impl Dictionary {
    pub(crate) fn new() -> Self {
        Dictionary(ptr::null_mut())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let name = c_string(name)?;
        let value = c_string(value)?;
        // SAFETY: self.0 is null or a dictionary that this type owns; both strings end with a zero and are
        // copied.
        let code = unsafe { ff::av_dict_set(&mut self.0, name.as_ptr(), value.as_ptr(), 0) };
        super::error::check("cannot set an FFmpeg option", code).map(drop)
    }

    /// Takes the option out, if it is there.
    pub(crate) fn remove(&mut self, name: &CStr) {
        // SAFETY: self.0 is null or a dictionary that this type owns; the name ends with a zero; a null value
        // removes the entry.
        unsafe { ff::av_dict_set(&mut self.0, name.as_ptr(), ptr::null(), 0) };
    }

    /// For calls that take out the options they know.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut *mut ff::AVDictionary {
        &mut self.0
    }

    /// The name of an option that is still there.
    pub(crate) fn first_name(&self) -> Option<String> {
        // SAFETY: self.0 is null or a dictionary that this type owns; with this flag the empty name matches
        // any.
        let entry = unsafe { ff::av_dict_get(self.0, c"".as_ptr(), ptr::null(), ff::AV_DICT_IGNORE_SUFFIX) };
        // SAFETY: the entry is null or valid until the dictionary changes, which &self forbids meanwhile.
        let entry = unsafe { entry.as_ref() }?;
        // SAFETY: the key of an entry is a string that ends with a zero and lives as long as the entry.
        Some(unsafe { CStr::from_ptr(entry.key) }.to_string_lossy().into_owned())
    }
}

impl Drop for Dictionary {
    fn drop(&mut self) {
        // SAFETY: self.0 is null or a dictionary that this type owns; the call sets it to null.
        unsafe { ff::av_dict_free(&mut self.0) };
    }
}

/// A string for C.
pub(crate) fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| {
        Error::new(ErrorKind::InvalidOption, format!("expected text without zero bytes, found {text:?}"))
    })
}
