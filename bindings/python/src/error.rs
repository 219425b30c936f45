//! The exceptions, made from one table, and how core errors become them.

use framelane::{Error, ErrorKind};
use pyo3::exceptions::{
    PyFileNotFoundError, PyOSError, PyPermissionError, PyTimeoutError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

/// The class of a kind, and the built-in exception that it is as well.
struct Row {
    class: &'static str,
    builtin: Option<fn(Python<'_>) -> Bound<'_, PyType>>,
    doc: &'static str,
}

/// The number that `errno` has in exceptions of a kind that are OSErrors; of other kinds, `None`.
fn errno(kind: ErrorKind, error: &Error) -> Option<i32> {
    let usual = match kind {
        ErrorKind::NotFound => libc::ENOENT,
        ErrorKind::NoSpace => libc::ENOSPC,
        ErrorKind::Permission => libc::EACCES,
        ErrorKind::Timeout => libc::ETIMEDOUT,
        ErrorKind::Io => libc::EIO,
        _ => return None,
    };
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    Some(source.and_then(std::io::Error::raw_os_error).unwrap_or(usual))
}

fn value_error(py: Python<'_>) -> Bound<'_, PyType> {
    py.get_type::<PyValueError>()
}

/// The one table from kinds to classes; `None` only for a kind that this version does not know.
fn row(kind: ErrorKind) -> Option<Row> {
    let plain = |class, doc| Row { class, builtin: None, doc };
    let value = |class, doc| Row { class, builtin: Some(value_error), doc };
    Some(match kind {
        ErrorKind::InvalidName => value("InvalidName", "The channel's name breaks the rules for names."),
        ErrorKind::ChannelBusy => plain("ChannelBusy", "Another live publisher holds the channel."),
        ErrorKind::NotFound => Row {
            class: "ChannelNotFound",
            builtin: Some(|py| py.get_type::<PyFileNotFoundError>()),
            doc: "There is no such channel, file or device.",
        },
        ErrorKind::NoSpace => Row {
            class: "NoSpace",
            builtin: Some(|py| py.get_type::<PyOSError>()),
            doc: "The file system of the channel directory has no room.",
        },
        ErrorKind::Permission => Row {
            class: "AccessDenied",
            builtin: Some(|py| py.get_type::<PyPermissionError>()),
            doc: "The operating system refuses access.",
        },
        ErrorKind::LayoutVersion => {
            plain("IncompatibleVersion", "The channel was made by an incompatible version of framelane.")
        }
        ErrorKind::Damaged => plain("Damaged", "A file or shared memory does not hold what it must."),
        ErrorKind::FrameTooLarge => value("FrameTooLarge", "The frame is larger than framelane allows."),
        ErrorKind::InvalidFrame => {
            value("InvalidFrame", "Size, format, planes and bytes of a frame do not fit together.")
        }
        ErrorKind::TooManySubscribers => {
            plain("TooManySubscribers", "All subscriber records of the channel are taken.")
        }
        ErrorKind::TooManyLeases => {
            plain("TooManyLeases", "The subscriber already holds as many frames as it may.")
        }
        ErrorKind::NoFreeSlot => plain("NoFreeSlot", "Every slot is leased, held or newest."),
        ErrorKind::Timeout => Row {
            class: "Timeout",
            builtin: Some(|py| py.get_type::<PyTimeoutError>()),
            doc: "The time given has passed.",
        },
        ErrorKind::Closed => {
            plain("ChannelClosed", "The publisher, or this program, has closed the channel.")
        }
        ErrorKind::Interrupted => plain("Interrupted", "The wait was ended by this program."),
        ErrorKind::Forked => plain("Forked", "The handle was opened before this process was forked."),
        ErrorKind::InvalidOption => value("InvalidOption", "An option or argument is outside its range."),
        ErrorKind::Io => Row {
            class: "SystemFailure",
            builtin: Some(|py| py.get_type::<PyOSError>()),
            doc: "The operating system reports another error.",
        },
        ErrorKind::ChannelRemoved => {
            plain("ChannelRemoved", "Another program removed the files of the channel.")
        }
        ErrorKind::Misuse => plain("Misuse", "The program calls an object that cannot be called here."),
        ErrorKind::Internal => plain("InternalError", "A fault of framelane itself: please report it."),
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
    name: &str,
    bases: &Bound<'py, PyTuple>,
    doc: &str,
    code: u32,
    kind: &str,
) -> PyResult<Bound<'py, PyType>> {
    let dict = PyDict::new(py);
    dict.set_item("__module__", "framelane")?;
    dict.set_item("__doc__", doc)?;
    dict.set_item("code", code)?;
    dict.set_item("kind", kind)?;
    dict.set_item("hint", py.None())?;
    // That of OSError begins with the number as soon as there is one.
    dict.set_item("__str__", py.get_type::<pyo3::exceptions::PyBaseException>().getattr("__str__")?)?;
    Ok(py.get_type::<PyType>().call1((name, bases, dict))?.cast_into::<PyType>()?)
}

fn classes(py: Python<'_>) -> PyResult<&Classes> {
    CLASSES.get_or_try_init(py, || {
        let root = PyTuple::new(py, [py.get_type::<pyo3::exceptions::PyException>()])?;
        let doc = "The base of all exceptions of framelane.\n\n`code` and `kind` are stable and the same in every \
                   language; `hint` says what to do, if there is something.";
        let base = make_class(py, "Error", &root, doc, 0, "error")?;
        let mut by_kind = Vec::new();
        for &kind in ErrorKind::ALL {
            let class = match row(kind) {
                None => base.clone(),
                Some(row) => {
                    let bases = match row.builtin {
                        None => PyTuple::new(py, [&base])?,
                        Some(builtin) => PyTuple::new(py, [&base, &builtin(py)])?,
                    };
                    make_class(py, row.class, &bases, row.doc, kind.code(), kind.name())?
                }
            };
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
    if let Some(hint) = error.hint() {
        value.setattr("hint", hint)?;
    }
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

/// Whether `error` is the exception of `kind`.
pub(crate) fn is_kind(py: Python<'_>, error: &PyErr, kind: ErrorKind) -> bool {
    classes(py).is_ok_and(|classes| {
        classes.by_kind.iter().any(|entry| entry.0 == kind && error.is_instance(py, entry.1.bind(py)))
    })
}

/// Kind, number and class of every error, for the tests.
#[pyfunction]
#[pyo3(name = "_error_table")]
pub(crate) fn error_table(py: Python<'_>) -> PyResult<Vec<(&'static str, u32, Py<PyType>)>> {
    Ok(classes(py)?
        .by_kind
        .iter()
        .map(|(kind, class)| (kind.name(), kind.code(), class.clone_ref(py)))
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
        if !class.is(base) {
            module.add(class.name()?, class)?;
        }
    }
    module.add_function(wrap_pyfunction!(error_table, module)?)?;
    module.add_function(wrap_pyfunction!(raise_kind, module)?)
}
