//! Frames on standard output, for `ffmpeg` and `ffplay`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use framelane::{Error, ErrorKind, Frame, Layout, PixelFormat};
use framelane_video::Converter;

use super::y4m;
use crate::failure::Failure;

/// The container of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Container {
    /// The packed bytes of each frame, one after the other
    Raw,
    /// YUV4MPEG2; all but i420 and gray8 is converted
    Y4m,
}

/// Writes frames to standard output.
pub struct FrameWriter {
    container: Container,
    fps: Option<f64>,
    output: BufWriter<File>,
    layout: Option<Layout>,
    converter: Option<Converter>,
    converted: Vec<u8>,
}

impl FrameWriter {
    /// Bypasses the line buffer of Rust's standard output.
    pub fn new(container: Container, fps: Option<f64>) -> Result<Self, Failure> {
        if std::io::stdout().is_terminal() {
            let error = Error::new(
                ErrorKind::InvalidOption,
                "standard output is a terminal; --stdout expects a pipe or a file",
            );
            return Err(error.with_hint("add `| ffplay -` with --stdout y4m, or `> FILE`").into());
        }
        let output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        Ok(FrameWriter {
            container,
            fps,
            output: BufWriter::new(output),
            layout: None,
            converter: None,
            converted: Vec::new(),
        })
    }

    /// Writes a frame. Blocks while the reader of the pipe does.
    pub fn write(&mut self, frame: &Frame) -> Result<(), Failure> {
        let layout = frame.layout();
        if !self.layout.as_ref().is_some_and(|old| same_shape(old, layout)) {
            if self.container == Container::Y4m {
                if let Some(old) = &self.layout {
                    return Err(y4m_cannot_change(old, layout).into());
                }
                let (target, info) = y4m::target(layout, frame.info())?;
                self.output.write_all(y4m::header(&target, &info, self.fps)?.as_bytes())?;
            }
            self.layout = Some(layout.clone());
        }
        if self.container == Container::Y4m {
            self.output.write_all(y4m::FRAME)?;
        }
        if self.container == Container::Y4m && !y4m::holds(layout.format()) {
            self.write_converted(frame)?;
        } else if layout.is_packed() {
            self.output.write_all(frame.bytes())?;
        } else {
            for index in 0..layout.planes().len() {
                let (rows, row_bytes) = layout.format().plane_shape(index, layout.width(), layout.height());
                let (plane, stride_bytes) = (frame.plane(index), layout.planes()[index].stride_bytes);
                for row in 0..rows as usize {
                    self.output.write_all(&plane[row * stride_bytes..][..row_bytes])?;
                }
            }
        }
        // A viewer wants the frame now, not when the buffer is full.
        Ok(self.output.flush()?)
    }

    fn write_converted(&mut self, frame: &Frame) -> Result<(), Failure> {
        let (target, _) = y4m::target(frame.layout(), frame.info())?;
        let color = frame.info().color;
        let from = y4m::as_video(frame.layout())?;
        let converter = match &mut self.converter {
            Some(converter) => converter,
            none => none.insert(Converter::new()?),
        };
        self.converted.resize(target.size_bytes(), 0);
        converter.convert((&from, color, frame.bytes()), &target, &mut self.converted)?;
        Ok(self.output.write_all(&self.converted)?)
    }
}

/// True if size and format are the same. Strides may differ.
pub fn same_shape(a: &Layout, b: &Layout) -> bool {
    (a.format(), a.width(), a.height()) == (b.format(), b.width(), b.height())
}

fn y4m_cannot_change(old: &Layout, new: &Layout) -> Error {
    Error::new(
        ErrorKind::InvalidFrame,
        format!(
            "the frames changed from {}x{} {} to {}x{} {}; y4m has one size and format for the whole stream",
            old.width(),
            old.height(),
            old.format(),
            new.width(),
            new.height(),
            new.format()
        ),
    )
    .with_hint("publish with a fixed --size and --format, or use --stdout raw")
}

/// The arguments with which `ffplay` reads raw frames of this layout.
pub fn ffplay_arguments(layout: &Layout) -> Option<String> {
    let name = match layout.format() {
        PixelFormat::Gray8 => "gray",
        PixelFormat::Gray16 => "gray16le",
        PixelFormat::Bgr8 => "bgr24",
        PixelFormat::Rgb8 => "rgb24",
        PixelFormat::Bgra8 => "bgra",
        PixelFormat::Rgba8 => "rgba",
        PixelFormat::I420 => "yuv420p",
        PixelFormat::Nv12 => "nv12",
        PixelFormat::Yuyv => "yuyv422",
        PixelFormat::P010 => "p010le",
        _ => return None,
    };
    Some(format!("-f rawvideo -pixel_format {name} -video_size {}x{}", layout.width(), layout.height()))
}
