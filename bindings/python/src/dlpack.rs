//! DLPack 1.0: frames as tensors for torch, jax, numpy and others, without a copy.
//!
//! The structures are those of `dlpack.h`, version 1.0 (github.com/dmlc/dlpack, Apache-2.0).

use std::ffi::{CStr, c_void};
use std::sync::Arc;

use framelane::Depth;
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::array;
use crate::shape::View;

/// Device type and number of the CPU.
pub(crate) const CPU: (i32, i32) = (1, 0);

const FLAG_READ_ONLY: u64 = 1;
const FLAG_IS_COPIED: u64 = 2;
const NAME_VERSIONED: &CStr = c"dltensor_versioned";
const NAME_LEGACY: &CStr = c"dltensor";

#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct ManagedVersioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut ManagedVersioned)>,
    flags: u64,
    tensor: Tensor,
}

#[repr(C)]
struct ManagedLegacy {
    tensor: Tensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut ManagedLegacy)>,
}

/// Keeps the memory of a tensor alive. The importer may drop it on any thread.
enum Owner {
    Lease { _frame: Arc<framelane::Frame> },
    Array { _array: Py<PyUntypedArray> },
}

/// Everything behind one capsule, in one allocation; `context` points to it.
struct Export<M> {
    managed: M,
    shape: [i64; 3],
    strides: [i64; 3],
    _owner: Owner,
}

/// The two generations of the managed structure.
trait Managed: Sized {
    const NAME: &'static CStr;
    fn new(flags: u64) -> Self;
    fn tensor_mut(&mut self) -> &mut Tensor;
    fn set_context(&mut self, context: *mut c_void);
    fn context(&self) -> *mut c_void;
}

const EMPTY: Tensor = Tensor {
    data: std::ptr::null_mut(),
    device_type: CPU.0,
    device_id: CPU.1,
    ndim: 0,
    code: 0,
    bits: 0,
    lanes: 1,
    shape: std::ptr::null_mut(),
    strides: std::ptr::null_mut(),
    byte_offset: 0,
};

impl Managed for ManagedVersioned {
    const NAME: &'static CStr = NAME_VERSIONED;

    fn new(flags: u64) -> Self {
        ManagedVersioned {
            major: 1,
            minor: 0,
            context: std::ptr::null_mut(),
            deleter: Some(delete::<Self>),
            flags,
            tensor: EMPTY,
        }
    }

    fn tensor_mut(&mut self) -> &mut Tensor {
        &mut self.tensor
    }

    fn set_context(&mut self, context: *mut c_void) {
        self.context = context;
    }

    fn context(&self) -> *mut c_void {
        self.context
    }
}

impl Managed for ManagedLegacy {
    const NAME: &'static CStr = NAME_LEGACY;

    fn new(_flags: u64) -> Self {
        ManagedLegacy { tensor: EMPTY, context: std::ptr::null_mut(), deleter: Some(delete::<Self>) }
    }

    fn tensor_mut(&mut self) -> &mut Tensor {
        &mut self.tensor
    }

    fn set_context(&mut self, context: *mut c_void) {
        self.context = context;
    }

    fn context(&self) -> *mut c_void {
        self.context
    }
}

/// The deleter that importers call once.
///
/// # Safety
/// `managed` comes from [`export`] and was not deleted before; or is null.
unsafe extern "C" fn delete<M: Managed>(managed: *mut M) {
    if managed.is_null() {
        return;
    }
    // SAFETY: not null, and not deleted before: it points to the `managed` of a live export.
    let context = unsafe { (*managed).context() };
    // SAFETY: `export` has stored there the box of this type that it leaked, and this is the one time that
    // it is taken back.
    let export = unsafe { Box::from_raw(context.cast::<Export<M>>()) };
    drop(export);
}

/// Called when a capsule is collected: frees what no importer has taken over.
///
/// # Safety
/// Called by the interpreter with a capsule made by [`export`].
unsafe extern "C" fn collect<M: Managed>(capsule: *mut ffi::PyObject) {
    // SAFETY: a live capsule. An importer that takes the tensor over renames the capsule.
    let unused = unsafe { ffi::PyCapsule_IsValid(capsule, M::NAME.as_ptr()) };
    if unused == 1 {
        // SAFETY: a live capsule of this name.
        let managed = unsafe { ffi::PyCapsule_GetPointer(capsule, M::NAME.as_ptr()) };
        // SAFETY: still ours, by its name, so it was not deleted.
        unsafe { delete(managed.cast::<M>()) };
    }
}

fn export<'py, M: Managed>(
    py: Python<'py>,
    data: *mut u8,
    view: &View,
    owner: Owner,
    flags: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let item = view.depth.size_bytes();
    let mut export = Box::new(Export {
        managed: M::new(flags),
        shape: view.shape.map(|length| length as i64),
        strides: view.strides.map(|bytes| (bytes / item) as i64),
        _owner: owner,
    });
    let (shape, strides) = (export.shape.as_mut_ptr(), export.strides.as_mut_ptr());
    *export.managed.tensor_mut() = Tensor {
        data: data.cast::<c_void>(),
        ndim: view.ndim as i32,
        code: match view.depth {
            Depth::S8 | Depth::S16 | Depth::S32 => 0,
            Depth::U8 | Depth::U16 => 1,
            _ => 2,
        },
        bits: (item * 8) as u8,
        shape,
        strides,
        ..EMPTY
    };
    let leaked = Box::into_raw(export);
    // SAFETY: just leaked, and not shared yet.
    unsafe { (*leaked).managed.set_context(leaked.cast::<c_void>()) };
    // SAFETY: as above.
    let managed = unsafe { &raw mut (*leaked).managed };
    // SAFETY: attached to the interpreter; the name is static; the destructor is for capsules of this type.
    let capsule =
        unsafe { ffi::PyCapsule_New(managed.cast::<c_void>(), M::NAME.as_ptr(), Some(collect::<M>)) };
    // SAFETY: a new reference, or null with the exception set.
    let capsule = unsafe { Bound::from_owned_ptr_or_err(py, capsule) };
    capsule.inspect_err(|_| {
        // SAFETY: no capsule, so no other owner can delete it.
        unsafe { delete(managed) };
    })
}

/// A tensor over a lease, read-only unless the frame is writable; `versioned` unless the importer uses DLPack
/// before 1.0, which cannot express read-only.
///
/// # Errors
/// `ValueError` when a stride is no multiple of the element, which DLPack cannot express; `MemoryError`.
pub(crate) fn export_lease<'py>(
    py: Python<'py>,
    frame: Arc<framelane::Frame>,
    view: &View,
    versioned: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let item = view.depth.size_bytes();
    if view.strides.iter().any(|stride| stride % item != 0) {
        return Err(pyo3::exceptions::PyBufferError::new_err(format!(
            "the rows of this frame are {} bytes apart, no multiple of its {item}-byte elements. Hint: \
             frame.copy()",
            view.strides[0]
        )));
    }
    let payload = frame.as_mut_ptr().unwrap_or_else(|| frame.bytes().as_ptr().cast_mut());
    let data = payload.wrapping_add(view.offset_bytes);
    let flags = if frame.is_writable() { 0 } else { FLAG_READ_ONLY };
    let owner = Owner::Lease { _frame: frame.clone() };
    if versioned {
        export::<ManagedVersioned>(py, data, view, owner, flags)
    } else {
        export::<ManagedLegacy>(py, data, view, owner, 0)
    }
}

/// A writable tensor over a copy.
///
/// # Errors
/// `MemoryError`.
pub(crate) fn export_copy<'py>(
    py: Python<'py>,
    copied: Bound<'py, PyUntypedArray>,
    depth: Depth,
    versioned: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let view = View::contiguous(depth, copied.shape());
    let data = array::data_of(&copied);
    let owner = Owner::Array { _array: copied.unbind() };
    if versioned {
        export::<ManagedVersioned>(py, data, &view, owner, FLAG_IS_COPIED)
    } else {
        export::<ManagedLegacy>(py, data, &view, owner, 0)
    }
}
