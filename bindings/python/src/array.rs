//! numpy arrays over memory that a Python object owns, and the memory of arrays that users give.

use std::ffi::{c_int, c_void};

use framelane::{Depth, PixelFormat};
use numpy::npyffi::{NPY_ARRAY_WRITEABLE, NPY_TYPES, NpyTypes, PyArrayObject, get_type_object, npy_intp};
use numpy::{PY_ARRAY_API, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::shape::{View, dtype_name};

fn depths() -> impl Iterator<Item = Depth> {
    Depth::ALL.iter().copied()
}

fn type_number(depth: Depth) -> c_int {
    let number = match depth {
        Depth::U8 => NPY_TYPES::NPY_UBYTE,
        Depth::S8 => NPY_TYPES::NPY_BYTE,
        Depth::U16 => NPY_TYPES::NPY_USHORT,
        Depth::S16 => NPY_TYPES::NPY_SHORT,
        Depth::S32 => NPY_TYPES::NPY_INT,
        Depth::F32 => NPY_TYPES::NPY_FLOAT,
        Depth::F64 => NPY_TYPES::NPY_DOUBLE,
        Depth::F16 => NPY_TYPES::NPY_HALF,
        other => unreachable!("no numpy type for {other}"),
    };
    number as c_int
}

/// An array over foreign memory; `owner` becomes its base and lives as long as any view of it.
///
/// # Safety
/// `payload` points to memory that holds `view` entirely, that stays mapped while `owner` lives, and that
/// may be read (and, when `writable`, written) by any thread in that time.
pub(crate) unsafe fn over<'py>(
    py: Python<'py>,
    payload: *const u8,
    view: &View,
    owner: Bound<'py, PyAny>,
    writable: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let mut dims = view.shape.map(|length| length as npy_intp);
    let mut strides = view.strides.map(|stride| stride as npy_intp);
    // SAFETY: the caller promises that the view, hence its first element, lies within the payload.
    let data = unsafe { payload.add(view.offset_bytes) };
    // SAFETY: attached to the interpreter; the number is one of numpy's own types.
    let descr = unsafe { PY_ARRAY_API.PyArray_DescrFromType(py, type_number(view.depth)) };
    // SAFETY: attached to the interpreter.
    let class = unsafe { get_type_object(py, NpyTypes::PyArray_Type) };
    // SAFETY: numpy copies `ndim` <= 3 dims and strides from arrays of three; it takes over the reference
    // to `descr`; the memory is valid by the caller's promise for as long as the base, set below, lives.
    let array = unsafe {
        PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            class,
            descr,
            view.ndim as c_int,
            dims.as_mut_ptr(),
            strides.as_mut_ptr(),
            data.cast_mut().cast::<c_void>(),
            if writable { NPY_ARRAY_WRITEABLE } else { 0 },
            std::ptr::null_mut(),
        )
    };
    // SAFETY: a new reference, or null with the exception set.
    let array = unsafe { Bound::from_owned_ptr_or_err(py, array) }?;
    // SAFETY: `array` is an ndarray, made above; numpy takes over the reference to the owner, also on
    // failure.
    let status = unsafe {
        PY_ARRAY_API.PyArray_SetBaseObject(py, array.as_ptr().cast::<PyArrayObject>(), owner.into_ptr())
    };
    if status == 0 { Ok(array) } else { Err(PyErr::fetch(py)) }
}

/// A new array with its own memory, not initialised.
pub(crate) fn empty<'py>(
    py: Python<'py>,
    depth: Depth,
    shape: &[usize],
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let mut dims = [1 as npy_intp; 3];
    for (dim, length) in dims.iter_mut().zip(shape) {
        *dim = *length as npy_intp;
    }
    // SAFETY: attached to the interpreter; the number is one of numpy's own types.
    let descr = unsafe { PY_ARRAY_API.PyArray_DescrFromType(py, type_number(depth)) };
    // SAFETY: numpy reads at most three dims and takes over the reference to `descr`.
    let array =
        unsafe { PY_ARRAY_API.PyArray_Empty(py, shape.len().min(3) as c_int, dims.as_mut_ptr(), descr, 0) };
    // SAFETY: a new reference, or null with the exception set.
    let array = unsafe { Bound::from_owned_ptr_or_err(py, array) }?;
    Ok(array.cast_into::<PyUntypedArray>()?)
}

/// The first element of an array.
pub(crate) fn data_of(array: &Bound<'_, PyUntypedArray>) -> *mut u8 {
    // SAFETY: a live ndarray of the running interpreter, whose fields numpy keeps valid.
    unsafe { (*array.as_array_ptr()).fields.data.cast::<u8>() }
}

/// The element type of an array.
///
/// # Errors
/// `TypeError` for types that no frame has, and for foreign byte order.
pub(crate) fn depth_of(array: &Bound<'_, PyUntypedArray>) -> PyResult<Depth> {
    let dtype = array.dtype();
    let number = dtype.num();
    let native = dtype.is_native_byteorder() != Some(false);
    // int32 is C's int or, on some systems, its long: compare kind and size in addition to the number.
    let found = depths().find(|&depth| type_number(depth) == number).or_else(|| {
        depths().find(|&depth| {
            let kind = dtype_name(depth).as_bytes().first().copied();
            Some(dtype.kind()) == kind && dtype.itemsize() == depth.size_bytes()
        })
    });
    found.filter(|_| native).ok_or_else(|| wrong_dtype(array.dtype().as_any()))
}

fn wrong_dtype(dtype: &Bound<'_, PyAny>) -> PyErr {
    let names = depths().map(dtype_name).collect::<Vec<_>>().join(", ");
    let message = format!("dtype: expected {names} in native byte order, found {dtype}");
    let text = |name: &str| -> Option<String> { dtype.getattr(name).ok()?.str().ok()?.extract().ok() };
    let (name, kind) = (text("name").unwrap_or_default(), text("kind").unwrap_or_default());
    let native = text("isnative").is_none_or(|native| native == "True");
    let known = depths().any(|depth| dtype_name(depth) == name);
    // None of these may change a value without saying so.
    let hint = match (name.as_str(), kind.as_str()) {
        _ if known && !native => "image.astype(image.dtype.newbyteorder(\"=\")) keeps every value",
        (_, "b") => "image.astype(\"uint8\") makes 0 and 1 of it",
        ("uint32", _) => "image.astype(\"float64\") keeps every value",
        (_, "i" | "u") => {
            "image.astype(\"int32\") keeps values from -2147483648 to 2147483647: check image.min() and image.max() \
             first. Larger ones, up to 2**53, are kept by image.astype(\"float64\")"
        }
        ("complex64", _) => "image.view(\"float32\").reshape(*image.shape, 2) has both parts as channels",
        ("complex128", _) => "image.view(\"float64\").reshape(*image.shape, 2) has both parts as channels",
        (_, "f") => "image.astype(\"float64\") keeps 53 bits of each value",
        _ => "send an array of numbers",
    };
    PyTypeError::new_err(format!("{message}. Hint: {hint}"))
}

/// The element type that `dtype`, anything numpy takes as one, names.
pub(crate) fn depth_named(py: Python<'_>, dtype: &Bound<'_, PyAny>) -> PyResult<Depth> {
    static DTYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class =
        DTYPE.get_or_try_init(py, || Ok::<_, PyErr>(py.import("numpy")?.getattr("dtype")?.unbind()))?;
    let dtype = class.bind(py).call1((dtype,))?;
    let name: String = dtype.getattr("name")?.extract()?;
    let native: bool = dtype.getattr("isnative")?.extract()?;
    depths().find(|&depth| native && dtype_name(depth) == name).ok_or_else(|| wrong_dtype(&dtype))
}

/// The format of a PIL image, whose samples have another order than OpenCV's; `None` for everything else and
/// for modes that are plain arrays.
///
/// # Errors
/// `ValueError` for modes whose numbers are no colours that a format has.
pub(crate) fn format_of_pil(image: &Bound<'_, PyAny>) -> PyResult<Option<PixelFormat>> {
    let is_pil =
        image.get_type().mro().iter().any(|class| {
            class.getattr("__module__").is_ok_and(|module| module.eq("PIL.Image").unwrap_or(false))
        });
    if !is_pil {
        return Ok(None);
    }
    let mode: String = image.getattr("mode")?.extract()?;
    Ok(Some(match mode.as_str() {
        "RGB" => PixelFormat::Rgb8,
        "RGBA" => PixelFormat::Rgba8,
        "L" | "LA" | "I" | "F" | "I;16" => return Ok(None),
        _ => {
            let to = if mode == "1" {
                "L"
            } else if mode == "RGBa" || mode == "PA" {
                "RGBA"
            } else {
                "RGB"
            };
            return Err(PyValueError::new_err(format!(
                "image: expected a PIL image of mode L, LA, RGB, RGBA, I, I;16 or F, found mode {mode}. \
                 Hint: image.convert(\"{to}\")"
            )));
        }
    }))
}

/// Returns `image` as an array: itself, or the result of its `__array__` (a torch CPU tensor, a PIL image).
///
/// # Errors
/// `TypeError` for anything else, lists included.
pub(crate) fn from_user<'py>(image: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = image.cast::<PyUntypedArray>() {
        return Ok(array.clone());
    }
    let py = image.py();
    if image.hasattr("__array__")? {
        let array = py.import("numpy")?.call_method1("asarray", (image,))?;
        return Ok(array.cast_into::<PyUntypedArray>()?);
    }
    Err(PyTypeError::new_err(format!(
        "image: expected a numpy array or something with __array__, found {}. \
         Hint: numpy.asarray(image), with a dtype that holds its values",
        image.get_type().name()?
    )))
}

/// Takes the right to write from an array object (not from views made of it before).
pub(crate) fn make_read_only(array: &Bound<'_, PyAny>) -> PyResult<()> {
    array.getattr("flags")?.setattr("writeable", false)
}

/// Returns the number of references to `object`, without the one passed in.
///
/// # Errors
/// The errors of `sys.getrefcount`.
pub(crate) fn other_references(object: &Bound<'_, PyAny>) -> PyResult<usize> {
    static COUNT: PyOnceLock<(Py<PyAny>, usize)> = PyOnceLock::new();
    let py = object.py();
    // What the call itself adds differs between versions of Python, so it is measured once.
    let (count, own) = COUNT.get_or_try_init(py, || {
        let count = py.import("sys")?.getattr("getrefcount")?;
        let probe = empty(py, Depth::U8, &[1])?.into_any();
        let own: usize = count.call1((&probe,))?.extract()?;
        Ok::<_, PyErr>((count.unbind(), own))
    })?;
    let all: usize = count.bind(py).call1((object,))?.extract()?;
    Ok(all.saturating_sub(*own))
}

/// An array given by the user: a raw view for copying without the interpreter.
pub(crate) struct Source {
    pub(crate) data: *const u8,
    pub(crate) item_bytes: usize,
    /// Rows, pixels, channels.
    pub(crate) shape: [usize; 3],
    pub(crate) strides: [isize; 3],
}

// SAFETY: a plain description; its reader promises that the array lives and is read only by copying.
unsafe impl Send for Source {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Source {}

impl Source {
    /// Describes `array`, which the caller keeps alive while it uses the result.
    ///
    /// # Errors
    /// `ValueError` unless it has two or three axes.
    pub(crate) fn of(array: &Bound<'_, PyUntypedArray>, depth: Depth) -> PyResult<Source> {
        let (shape, strides) = match (array.shape(), array.strides()) {
            (&[h, w], &[sh, sw]) => ([h, w, 1], [sh, sw, 0]),
            (&[h, w, c], &[sh, sw, sc]) => ([h, w, c], [sh, sw, sc]),
            (shape, _) => {
                let message =
                    format!("shape: expected (H, W) or (H, W, C), found {}", crate::shape::shape_text(shape));
                return Err(PyValueError::new_err(message));
            }
        };
        Ok(Source { data: data_of(array), item_bytes: depth.size_bytes(), shape, strides })
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.item_bytes
    }
}
