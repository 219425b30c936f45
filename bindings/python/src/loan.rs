//! `Loan`: a slot that the user writes in place.
//!
//! The slot is on an owned loan (`loan_owned` in the core), so an array over it stays valid for as long as
//! Python keeps it, also after the publisher has ended. A published frame must never change: on exit the slot
//! is published as it is only when the program no longer refers to the array. Otherwise a view could be
//! written to later, and a view cannot be distinguished from a plain variable. Then the frame is copied to
//! another slot, and the array keeps the first one, which no subscriber ever sees.

use std::sync::{Arc, Mutex};

use framelane::{FrameInfo, Layout, OwnedLoan};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::array;
use crate::handle::lock;
use crate::publishing::{Failure, Shared};
use crate::shape::View;

/// Keeps a slot on loan; the base of the array over it.
#[pyclass(frozen, module = "framelane._framelane", name = "_SlotOwner")]
struct SlotOwner {
    _loan: Arc<OwnedLoan>,
}

enum State {
    /// Not entered yet.
    New,
    /// Inside the block. Without a slot the array is scratch memory.
    Open {
        loan: Option<Arc<OwnedLoan>>,
        array: Py<PyAny>,
    },
    Done,
    /// By `abandon`; the block may continue, and ends without a frame.
    Abandoned,
}

/// A slot on loan: a context manager. Write to `array`; on exit the frame is published, unless an exception
/// passes or `abandon` was called.
///
/// The array contains an older picture at first: fill all of it. Check functions that may write elsewhere:
/// `cap.read(slot.array)` fills the array only if shape and dtype are those of the camera. Check that the
/// image it returns `is slot.array`.
#[pyclass(frozen, module = "framelane")]
pub(crate) struct Loan {
    shared: Arc<Shared>,
    layout: Layout,
    view: View,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    info: FrameInfo,
    sequence: Option<u64>,
    dropped: bool,
    copied: bool,
}

impl Loan {
    pub(crate) fn new(shared: Arc<Shared>, layout: Layout, view: View, info: FrameInfo) -> Self {
        let inner = Inner { state: State::New, info, sequence: None, dropped: false, copied: false };
        Loan { shared, layout, view, inner: Mutex::new(inner) }
    }

    fn array_over<'py>(&self, py: Python<'py>, loan: &Arc<OwnedLoan>) -> PyResult<Bound<'py, PyAny>> {
        let payload = loan.as_ptr().as_ptr();
        let owner = Bound::new(py, SlotOwner { _loan: Arc::clone(loan) })?.into_any();
        // SAFETY: the slot was lent for this layout, whose packed bytes are those of the contiguous view; the
        // owner keeps it mapped and out of the ring's reach, so no other code reads or writes it until it is
        // published, before which the only array over it has gone (see `finish`).
        unsafe { array::over(py, payload, &self.view, owner, true) }
    }

    /// Publishes the slot or a copy of it, or counts the drop.
    fn finish(&self, py: Python<'_>, loan: Option<Arc<OwnedLoan>>, array: Bound<'_, PyAny>) -> PyResult<()> {
        let info = lock(&self.inner).info.clone();
        let Some(loan) = loan else {
            return match self.shared.skip(py) {
                Err(Failure::Raised(error)) => Err(error),
                _ => Ok(()),
            };
        };
        let copied = array::other_references(&array)? != 0;
        let result = if copied {
            array::make_read_only(&array)?;
            let length = self.layout.size_bytes();
            self.shared.publish_copy(py, &self.layout, &info, |target| {
                let source = loan.as_ptr().as_ptr();
                // SAFETY: both slots have `size_bytes` of the layout; they differ, for the first is still
                // on loan.
                unsafe { std::ptr::copy_nonoverlapping(source, target, length) };
            })
        } else {
            drop(array);
            self.shared.publish_owned(py, &loan, &self.layout, &info)
        };
        let mut inner = lock(&self.inner);
        inner.copied = copied;
        match result {
            Ok(sequence) => inner.sequence = Some(sequence),
            Err(Failure::NoFreeSlot) => inner.dropped = true,
            Err(Failure::Raised(error)) => return Err(error),
        }
        Ok(())
    }
}

#[pymethods]
impl Loan {
    fn __enter__<'py>(slf: Bound<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, Self>> {
        let this = slf.get();
        if !matches!(lock(&this.inner).state, State::New) {
            return Err(PyRuntimeError::new_err(
                "a loan is entered once. Hint: call pub.loan() for each frame",
            ));
        }
        let (loan, array) = match this.shared.loan_owned(py, &this.layout) {
            Ok(loan) => {
                let loan = Arc::new(loan);
                let array = this.array_over(py, &loan)?;
                (Some(loan), array)
            }
            Err(Failure::NoFreeSlot) => {
                (None, array::empty(py, this.view.depth, this.view.shape())?.into_any())
            }
            Err(Failure::Raised(error)) => return Err(error),
        };
        let mut inner = lock(&this.inner);
        inner.dropped = loan.is_none();
        inner.state = State::Open { loan, array: array.unbind() };
        drop(inner);
        Ok(slf)
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        exception: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let state = std::mem::replace(&mut lock(&self.inner).state, State::Done);
        let (loan, array) = match state {
            State::Open { loan, array } => (loan, array),
            State::Abandoned => return Ok(()),
            State::New | State::Done => return Err(PyRuntimeError::new_err("this loan was not entered")),
        };
        let array = array.into_bound(py);
        if !exception.is_none() {
            return array::make_read_only(&array);
        }
        self.finish(py, loan, array)
    }

    /// Abandons the loan: the slot is free again, and the block continues and publishes nothing. No frame is
    /// counted, neither as published nor as dropped. `array` is gone; remaining references to it become
    /// read-only.
    ///
    /// Raises RuntimeError outside the block. May be called again.
    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        let mut inner = lock(&self.inner);
        match inner.state {
            State::Open { .. } => {}
            State::Abandoned => return Ok(()),
            State::New | State::Done => {
                return Err(PyRuntimeError::new_err(
                    "a loan is abandoned inside its block: with pub.loan(...) as slot",
                ));
            }
        }
        let state = std::mem::replace(&mut inner.state, State::Abandoned);
        drop(inner);
        match state {
            State::Open { array, .. } => array::make_read_only(array.bind(py)),
            _ => Ok(()),
        }
    }

    /// The writable array; gone after the block. It starts with an older picture.
    #[getter]
    fn array<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &lock(&self.inner).state {
            State::Open { array, .. } => Ok(array.bind(py).clone()),
            State::New => {
                Err(PyValueError::new_err("the slot is lent inside the block: with pub.loan(...) as slot"))
            }
            State::Abandoned => {
                Err(PyValueError::new_err("the loan was abandoned. Hint: call pub.loan() for another slot"))
            }
            State::Done => Err(PyValueError::new_err(
                "the loan has ended, and a published frame never changes. Hint: write inside the block",
            )),
        }
    }

    /// Returns true if no slot was free (backpressure "drop"): `array` is scratch memory, and the frame
    /// counts as dropped.
    #[getter]
    fn dropped(&self) -> bool {
        lock(&self.inner).dropped
    }

    /// True if the frame was copied on exit because of another reference to `array`.
    #[getter]
    fn copied(&self) -> bool {
        lock(&self.inner).copied
    }

    /// The frame's sequence once published.
    #[getter]
    fn sequence(&self) -> Option<u64> {
        lock(&self.inner).sequence
    }

    /// Capture time in nanoseconds since 1970; may be set inside the block. None: the time of publication.
    #[getter]
    fn timestamp_ns(&self) -> Option<u64> {
        lock(&self.inner).info.timestamp_ns
    }

    #[setter]
    fn set_timestamp_ns(&self, timestamp_ns: Option<u64>) {
        lock(&self.inner).info.timestamp_ns = timestamp_ns;
    }

    /// Position in the media in nanoseconds; may be set inside the block.
    #[getter]
    fn pts_ns(&self) -> Option<i64> {
        lock(&self.inner).info.pts_ns
    }

    #[setter]
    fn set_pts_ns(&self, pts_ns: Option<i64>) {
        lock(&self.inner).info.pts_ns = pts_ns;
    }

    /// The pixel format's name.
    #[getter]
    fn format(&self) -> String {
        self.layout.format().name().into_owned()
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(crate::error::not_picklable(
            "Loan",
            "it is a slot of shared memory of this process",
            "publish it, and receive the frame with a Subscriber in the other process",
        ))
    }

    fn __repr__(&self) -> String {
        let inner = lock(&self.inner);
        let state = match inner.state {
            State::New => "not entered",
            State::Open { .. } => "open",
            State::Done => "ended",
            State::Abandoned => "abandoned",
        };
        format!(
            "<framelane.Loan {}x{} {}, {state}>",
            self.layout.width(),
            self.layout.height(),
            self.format()
        )
    }
}
