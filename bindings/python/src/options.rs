//! Keyword arguments of Python as options of the core.

use std::path::PathBuf;
use std::time::Duration;

use framelane::{Backpressure, Delivery, FrameInfo, PublisherOptions, SubscriberOptions};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::describe::Color;
use crate::error::named;

/// The options that both kinds of publisher have.
pub(crate) fn publisher_options(
    slots: Option<usize>,
    backpressure: &str,
    directory: Option<PathBuf>,
    permissions: Option<u32>,
    urls: &str,
) -> PyResult<PublisherOptions> {
    let backpressure: Backpressure = named(backpressure)?;
    let mut options = PublisherOptions::new().backpressure(backpressure).urls(named(urls)?);
    if let Some(slots) = slots {
        options = options.slots(slots);
    }
    if let Some(directory) = directory {
        options = options.directory(directory);
    }
    if let Some(permissions) = permissions {
        options = options.permissions(permissions);
    }
    Ok(options)
}

/// The options that both kinds of subscriber have. The last is whether only the newest frame counts.
pub(crate) fn subscriber_options(
    delivery: &str,
    directory: Option<PathBuf>,
    spin_us: u64,
    reconnect: bool,
    urls: &str,
) -> PyResult<(SubscriberOptions, bool)> {
    let delivery: Delivery = named(delivery)?;
    let newest_only = matches!(delivery, Delivery::Newest);
    let spin = Duration::from_micros(spin_us);
    let mut options =
        SubscriberOptions::new().delivery(delivery).spin(spin).reconnect(reconnect).urls(named(urls)?);
    if let Some(directory) = directory {
        options = options.directory(directory);
    }
    Ok((options, newest_only))
}

/// The metadata of a frame from the user.
pub(crate) fn frame_info(
    timestamp_ns: Option<u64>,
    pts_ns: Option<i64>,
    duration_ns: Option<u64>,
    color: Option<&Color>,
    rotation_degrees: u16,
    keyframe: bool,
) -> PyResult<FrameInfo> {
    if ![0, 90, 180, 270].contains(&rotation_degrees) {
        let message = format!("rotation_degrees: expected 0, 90, 180 or 270, found {rotation_degrees}");
        return Err(PyValueError::new_err(message));
    }
    Ok(FrameInfo::default()
        .with_timestamp_ns(timestamp_ns)
        .with_pts_ns(pts_ns)
        .with_duration_ns(duration_ns)
        .with_color(color.map_or_else(framelane::Color::default, |color| color.0))
        .with_rotation_degrees(rotation_degrees)
        .with_keyframe(keyframe))
}
