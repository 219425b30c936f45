//! Python bindings of framelane: the module `framelane._framelane`.
//!
//! The package `framelane` (in `python/`) re-exports it; its stubs, `_framelane.pyi`, are checked against
//! this module by the tests.

mod array;
mod batch;
mod cancel;
mod channels;
mod copy;
mod describe;
mod detection;
mod detection_subscriber;
mod dlpack;
mod error;
mod frame;
mod handle;
mod loan;
mod options;
mod publisher;
mod publishing;
mod receiver;
mod shape;
mod subscriber;
mod waiting;

use pyo3::prelude::*;

#[pymodule]
fn _framelane(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    handle::watch_forks();
    framelane_net::register_url_schemes();
    error::add_to(module)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("LOST", framelane::DetectionFlags::LOST.0)?;
    module.add("PREDICTED", framelane::DetectionFlags::PREDICTED.0)?;
    module.add_class::<cancel::CancelToken>()?;
    module.add_class::<publisher::Publisher>()?;
    module.add_class::<loan::Loan>()?;
    module.add_class::<subscriber::Subscriber>()?;
    module.add_class::<frame::Frame>()?;
    module.add_class::<describe::FrameId>()?;
    module.add_class::<describe::Color>()?;
    module.add_class::<detection::DetectionPublisher>()?;
    module.add_class::<detection_subscriber::DetectionSubscriber>()?;
    module.add_class::<batch::Detections>()?;
    module.add_class::<channels::ChannelStatus>()?;
    module.add_class::<channels::LinkStatus>()?;
    module.add_class::<channels::SubscriberStatus>()?;
    module.add_class::<channels::Diagnosis>()?;
    module.add_class::<channels::Leftover>()?;
    module.add_function(wrap_pyfunction!(channels::list_channels, module)?)?;
    module.add_function(wrap_pyfunction!(channels::doctor, module)?)?;
    // The package defines its public names.
    module.delattr("__all__")?;
    // The last registered runs first: threads end before publishers close.
    let register = py.import("atexit")?.getattr("register")?;
    register.call1((wrap_pyfunction!(handle::close_all, module)?,))?;
    register.call1((wrap_pyfunction!(receiver::end_threads, module)?,))?;
    Ok(())
}
