//! The exceptions, made from the core's table of kinds, and how core errors become them.

use framelane::{Error, ErrorKind};
use pyo3::exceptions::{
    PyFileNotFoundError, PyOSError, PyPermissionError, PyTimeoutError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

/// The value of an option with this name. The ValueError for another name lists all of them.
pub(crate) fn named<T: std::str::FromStr<Err = Error>>(name: &str) -> PyResult<T> {
    name.parse().map_err(|error: Error| PyValueError::new_err(error.message().to_owned()))
}

/// The number that `errno` has in exceptions of a kind that are OSErrors; of other kinds, `None`.
fn errno(kind: ErrorKind, error: &Error) -> Option<i32> {
    let usual = match kind {
        ErrorKind::NotFound => libc::ENOENT,
        ErrorKind::NoSpace => libc::ENOSPC,
        ErrorKind::PermissionDenied => libc::EACCES,
        ErrorKind::Timeout => libc::ETIMEDOUT,
        ErrorKind::SystemFailure => libc::EIO,
        _ => return None,
    };
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    Some(source.and_then(std::io::Error::raw_os_error).unwrap_or(usual))
}

/// The built-in exception that the class of a kind is as well, if one fits.
fn builtin(py: Python<'_>, kind: ErrorKind) -> Option<Bound<'_, PyType>> {
    Some(match kind {
        ErrorKind::InvalidName
        | ErrorKind::FrameTooLarge
        | ErrorKind::InvalidFrame
        | ErrorKind::InvalidOption => py.get_type::<PyValueError>(),
        ErrorKind::NotFound => py.get_type::<PyFileNotFoundError>(),
        ErrorKind::PermissionDenied => py.get_type::<PyPermissionError>(),
        ErrorKind::Timeout => py.get_type::<PyTimeoutError>(),
        ErrorKind::NoSpace | ErrorKind::SystemFailure => py.get_type::<PyOSError>(),
        _ => return None,
    })
}

struct Classes {
    base: Py<PyType>,
    by_kind: Vec<(ErrorKind, Py<PyType>)>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

fn make_class<'py>(
    py: Python<'py>,
    (name, doc): (&str, &str),
    bases: &Bound<'py, PyTuple>,
    kind: Option<ErrorKind>,
) -> PyResult<Bound<'py, PyType>> {
    let dict = PyDict::new(py);
    dict.set_item("__module__", "framelane")?;
    dict.set_item("__doc__", doc)?;
    dict.set_item("code", kind.map_or(0, ErrorKind::code))?;
    dict.set_item("kind", kind.map_or("error", ErrorKind::name))?;
    dict.set_item("hint", kind.map(ErrorKind::hint))?;
    // That of OSError begins with the number as soon as there is one.
    dict.set_item("__str__", py.get_type::<pyo3::exceptions::PyBaseException>().getattr("__str__")?)?;
    Ok(py.get_type::<PyType>().call1((name, bases, dict))?.cast_into::<PyType>()?)
}

fn classes(py: Python<'_>) -> PyResult<&Classes> {
    CLASSES.get_or_try_init(py, || {
        let root = PyTuple::new(py, [py.get_type::<pyo3::exceptions::PyException>()])?;
        let doc = "The base of all exceptions of framelane.\n\n`code` and `kind` are stable and the same in every \
                   language. `hint` is what to do about the error.";
        let base = make_class(py, ("Error", doc), &root, None)?;
        let mut by_kind = Vec::new();
        for &kind in ErrorKind::ALL {
            let bases = match builtin(py, kind) {
                None => PyTuple::new(py, [&base])?,
                Some(builtin) => PyTuple::new(py, [&base, &builtin])?,
            };
            let class = make_class(py, (kind.type_name(), kind.meaning()), &bases, Some(kind))?;
            by_kind.push((kind, class.unbind()));
        }
        Ok(Classes { base: base.unbind(), by_kind })
    })
}

/// Makes the exception object of an error.
fn make(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let (kind, text) = (error.kind(), error.to_string());
    let classes = classes(py)?;
    let class = classes.by_kind.iter().find(|entry| entry.0 == kind).map_or(&classes.base, |entry| &entry.1);
    let value = class.bind(py).call1((&text,))?;
    value.setattr("hint", error.advice())?;
    if let Some(errno) = errno(kind, error) {
        // Into the dictionary as well, which is what pickling carries.
        let pickled = value.getattr("__dict__")?;
        for (name, what) in
            [("errno", errno.into_pyobject(py)?.as_any()), ("strerror", text.into_pyobject(py)?.as_any())]
        {
            value.setattr(name, what)?;
            pickled.set_item(name, what)?;
        }
    }
    Ok(PyErr::from_value(value))
}

/// The exception for an error of the core; its text is the whole message with the hint.
pub(crate) fn raise(py: Python<'_>, error: impl Into<Error>) -> PyErr {
    make(py, &error.into()).unwrap_or_else(|failed| failed)
}

/// The exception for an attempt to pickle or copy an object that cannot leave its process.
pub(crate) fn not_picklable(what: &str, because: &str, hint: &str) -> PyErr {
    PyTypeError::new_err(format!("cannot pickle or copy a framelane.{what}: {because}. Hint: {hint}"))
}

/// The same for an error found here.
pub(crate) fn raise_new(py: Python<'_>, kind: ErrorKind, message: &str, hint: Option<&str>) -> PyErr {
    let error = Error::new(kind, message);
    raise(
        py,
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        },
    )
}

/// Returns true if `error` is the exception of `kind`.
pub(crate) fn is_kind(py: Python<'_>, error: &PyErr, kind: ErrorKind) -> bool {
    classes(py).is_ok_and(|classes| {
        classes.by_kind.iter().any(|entry| entry.0 == kind && error.is_instance(py, entry.1.bind(py)))
    })
}

/// Name, number, class name, hint and class of every kind of the core, for the tests.
#[pyfunction]
#[pyo3(name = "_error_table")]
#[expect(clippy::type_complexity, reason = "a row of the table")]
pub(crate) fn error_table(
    py: Python<'_>,
) -> PyResult<Vec<(&'static str, u32, &'static str, &'static str, Py<PyType>)>> {
    Ok(classes(py)?
        .by_kind
        .iter()
        .map(|(kind, class)| (kind.name(), kind.code(), kind.type_name(), kind.hint(), class.clone_ref(py)))
        .collect())
}

/// Raises the error that a kind becomes, for the tests.
#[pyfunction]
#[pyo3(name = "_raise_kind")]
pub(crate) fn raise_kind(py: Python<'_>, code: u32) -> PyResult<()> {
    match ErrorKind::ALL.iter().find(|kind| kind.code() == code) {
        Some(&kind) => Err(raise_new(py, kind, "found a test", Some("none is needed"))),
        None => Ok(()),
    }
}

pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let classes = classes(py)?;
    let base = classes.base.bind(py);
    module.add("Error", base)?;
    for (_, class) in &classes.by_kind {
        let class = class.bind(py);
        module.add(class.name()?, class)?;
    }
    module.add_function(wrap_pyfunction!(error_table, module)?)?;
    module.add_function(wrap_pyfunction!(raise_kind, module)?)
}
