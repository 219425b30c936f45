//! The window: its events, keys and presentation.

use std::num::NonZeroU32;
use std::ops::ControlFlow as Flow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use framelane::{Error, ErrorKind};
use framelane_video::Converter;
use softbuffer::{Context, Surface};
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::{ElementState, KeyEvent, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop, EventLoopProxy, OwnedDisplayHandle};
use winit::keyboard::ModifiersState;
use winit::platform::wayland::{ActiveEventLoopExtWayland, EventLoopBuilderExtWayland};
use winit::platform::x11::{EventLoopBuilderExtX11, WindowAttributesExtX11};
use winit::window::{Fullscreen, Window, WindowId};

use crate::canvas::Font;
use crate::channel::{Channel, State};
use crate::event::{ViewEvent, ViewSummary};
use crate::geometry::{self, Zoom};
use crate::keys::{self, Action};
use crate::options::ViewOptions;
use crate::overlay;
use crate::snapshot;
use crate::tile::{Look, Tile};

/// Longest wait between two checks of the cancel token.
const POLL: Duration = Duration::from_millis(100);
/// Interval of statistics.
const SECOND: Duration = Duration::from_secs(1);
/// Size of a window whose frames are unknown, and of a grid.
const DEFAULT_SIZE: (u32, u32) = (1280, 720);

/// Shows channels in a window until the user closes it, the options cancel it, `events` breaks, or the number
/// of pictures in the options is reached.
///
/// Blocks. A process can call it once. Each channel has one subscriber, with a thread. Frames are copied, so
/// that a lease ends at once. Shows the newest frame only.
///
/// # Errors
/// [`ErrorKind::SystemFailure`] if there is no display. [`ErrorKind::InvalidName`] and
/// [`ErrorKind::InvalidOption`] for names and URLs that cannot be channels.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use framelane_view::{ViewOptions, view};
///
/// let summary = view(ViewOptions::new(["cam0"]), &mut |event| {
///     println!("{event:?}");
///     ControlFlow::Continue(())
/// })?;
/// println!("{} pictures", summary.shown);
/// # Ok::<(), framelane::Error>(())
/// ```
pub fn view(
    options: ViewOptions,
    events: &mut dyn FnMut(&ViewEvent) -> Flow<()>,
) -> Result<ViewSummary, Error> {
    for channel in options.channels.iter().filter(|channel| !channel.contains(':')) {
        match framelane::status(options.directory.as_deref(), channel) {
            Err(error) if error.kind() == ErrorKind::InvalidName => return Err(error),
            _ => {}
        }
    }
    let mut builder = EventLoop::<()>::with_user_event();
    EventLoopBuilderExtX11::with_any_thread(&mut builder, true);
    EventLoopBuilderExtWayland::with_any_thread(&mut builder, true);
    let event_loop = builder.build().map_err(|error| no_display(&error))?;
    let context = Context::new(event_loop.owned_display_handle()).map_err(|error| no_display(&error))?;
    let look = Look {
        overlay: options.show_overlay,
        boxes: options.show_boxes,
        paused: false,
        zoom: Zoom::default(),
        font: Font::new(1.0),
    };
    let wake = Wake { proxy: event_loop.create_proxy(), is_pending: Arc::default() };
    let tiles = options.channels.iter().map(|name| {
        let wake = wake.clone();
        Tile::new(Channel::start(name, &options, move || wake.wake())?)
    });
    let mut app = App {
        tiles: tiles.collect::<Result<_, _>>()?,
        wake,
        context,
        display: None,
        events,
        look,
        modifiers: ModifiersState::empty(),
        presented: 0,
        tick_at: Instant::now() + SECOND,
        has_frame_size: options.size.is_some() || options.channels.len() != 1,
        saver: None,
        result: Ok(()),
        options,
    };
    let ended = event_loop.run_app(&mut app);
    app.result?;
    ended.map_err(|error| Error::new(ErrorKind::SystemFailure, format!("lost the display: {error}")))?;
    Ok(app.tiles.iter().fold(ViewSummary::default(), |sum, tile| {
        let (received, dropped) = tile.totals();
        ViewSummary {
            received: sum.received + received,
            shown: sum.shown + tile.meter.total_shown,
            dropped: sum.dropped + dropped,
        }
    }))
}

fn no_display(cause: &dyn std::fmt::Display) -> Error {
    let cause = cause.to_string();
    Error::new(ErrorKind::SystemFailure, format!("cannot open a window: {}", cause.trim_end_matches('.')))
        .with_hint(
            "run `framelane dashboard` and open its page in a browser, or set DISPLAY or WAYLAND_DISPLAY",
        )
}

/// Wakes the window from another thread, once until it has looked.
#[derive(Clone)]
struct Wake {
    proxy: EventLoopProxy<()>,
    /// Set by the threads of channels, cleared by the window. The inboxes carry the data.
    is_pending: Arc<AtomicBool>,
}

impl Wake {
    fn wake(&self) {
        if !self.is_pending.swap(true, Ordering::AcqRel) {
            // Without a window there is nothing to wake.
            let _ = self.proxy.send_event(());
        }
    }
}

/// The window and its pixels.
struct Display {
    window: Rc<Window>,
    surface: Surface<OwnedDisplayHandle, Rc<Window>>,
}

struct App<'a> {
    tiles: Vec<Tile>,
    wake: Wake,
    context: Context<OwnedDisplayHandle>,
    display: Option<Display>,
    events: &'a mut dyn FnMut(&ViewEvent) -> Flow<()>,
    look: Look,
    modifiers: ModifiersState,
    /// Number of presentations.
    presented: u64,
    tick_at: Instant,
    /// The window has the size of the frames, or another one on purpose.
    has_frame_size: bool,
    /// Converts frames that are saved.
    saver: Option<Converter>,
    result: Result<(), Error>,
    options: ViewOptions,
}

impl ApplicationHandler for App<'_> {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        if self.display.is_none()
            && let Err(error) = self.open(event_loop)
        {
            self.end(event_loop, Err(error));
        }
    }

    fn user_event(&mut self, event_loop: &ActiveEventLoop, (): ()) {
        // Before the inboxes are read: a later change wakes again.
        self.wake.is_pending.store(false, Ordering::Release);
        self.take(event_loop);
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested => event_loop.exit(),
            WindowEvent::RedrawRequested => {
                let drawn = self.draw(event_loop);
                if drawn.is_err() {
                    self.end(event_loop, drawn);
                }
            }
            WindowEvent::Resized(_)
            | WindowEvent::ScaleFactorChanged { .. }
            | WindowEvent::Occluded(false) => {
                self.redraw_all();
            }
            WindowEvent::ModifiersChanged(modifiers) => self.modifiers = modifiers.state(),
            WindowEvent::KeyboardInput {
                event: KeyEvent { logical_key, state, .. },
                // Keys that were pressed before the window had the focus are not for it.
                is_synthetic: false,
                ..
            } => {
                let others = ModifiersState::CONTROL | ModifiersState::ALT | ModifiersState::SUPER;
                if state == ElementState::Pressed
                    && !self.modifiers.intersects(others)
                    && let Some(action) = keys::action(&logical_key)
                {
                    self.act(event_loop, action);
                }
            }
            _ => {}
        }
    }

    fn about_to_wait(&mut self, event_loop: &ActiveEventLoop) {
        if self.options.cancel.ends_wait() {
            return event_loop.exit();
        }
        if Instant::now() >= self.tick_at {
            self.tick(event_loop);
        }
        event_loop.set_control_flow(ControlFlow::WaitUntil(self.tick_at.min(Instant::now() + POLL)));
    }
}

impl App<'_> {
    fn open(&mut self, event_loop: &ActiveEventLoop) -> Result<(), Error> {
        let (width, height) = self.first_size(event_loop);
        let labels: Vec<_> = self.tiles.iter().map(|tile| tile.channel.label.as_str()).collect();
        let full_screen = self.options.full_screen.then_some(Fullscreen::Borderless(None));
        let attributes = Window::default_attributes()
            .with_title(format!("{} - framelane", labels.join(", ")))
            .with_inner_size(PhysicalSize::new(width, height))
            .with_fullscreen(full_screen);
        let attributes = WindowAttributesExtX11::with_name(attributes, "framelane", "framelane");
        let window = Rc::new(event_loop.create_window(attributes).map_err(|error| no_display(&error))?);
        let surface = Surface::new(&self.context, window.clone()).map_err(|error| no_display(&error))?;
        let PhysicalSize { width, height } = window.inner_size();
        self.display = Some(Display { window, surface });
        let system = if event_loop.is_wayland() { "wayland" } else { "x11" };
        self.report(event_loop, &ViewEvent::Opened { width, height, system });
        for index in 0..self.tiles.len() {
            self.report_state(event_loop, index);
        }
        self.take(event_loop);
        self.redraw_all();
        Ok(())
    }

    /// The size of the frames, if they are known already.
    fn first_size(&mut self, event_loop: &ActiveEventLoop) -> (u32, u32) {
        if let Some(size) = self.options.size {
            return size;
        }
        let [name] = self.options.channels.as_slice() else { return DEFAULT_SIZE };
        let status = framelane::status(self.options.directory.as_deref(), name).ok();
        let Some(layout) = status.and_then(|status| status.layout) else { return DEFAULT_SIZE };
        self.has_frame_size = true;
        let monitor = event_loop.primary_monitor().or_else(|| event_loop.available_monitors().next());
        on_screen((layout.width(), layout.height()), monitor.map(|monitor| monitor.size()))
    }

    /// Takes what the channels have, and requests to draw it.
    fn take(&mut self, event_loop: &ActiveEventLoop) {
        let mut any = false;
        for index in 0..self.tiles.len() {
            let tile = &mut self.tiles[index];
            let changes = tile.take(self.look.paused);
            if changes.any {
                tile.changed_at = self.presented + 1;
                any = true;
            }
            if changes.format {
                self.report_format(event_loop, index);
            }
            if changes.state {
                self.report_state(event_loop, index);
            }
        }
        if any && let Some(display) = &self.display {
            display.window.request_redraw();
        }
    }

    fn report_format(&mut self, event_loop: &ActiveEventLoop, index: usize) {
        let tile = &self.tiles[index];
        let Some(facts) = tile.current.as_ref().map(|shown| shown.facts) else { return };
        let (width, height) = facts.size;
        let channel = tile.channel.label.clone();
        let format = facts.format.name().into_owned();
        self.report(event_loop, &ViewEvent::Format { channel, width, height, format });
        if !std::mem::replace(&mut self.has_frame_size, true)
            && let Some(Display { window, .. }) = &self.display
        {
            let size = on_screen(facts.size, window.current_monitor().map(|monitor| monitor.size()));
            let _ = window.request_inner_size(PhysicalSize::new(size.0, size.1));
        }
    }

    fn report_state(&mut self, event_loop: &ActiveEventLoop, index: usize) {
        let tile = &self.tiles[index];
        let channel = tile.channel.label.clone();
        let event = match &tile.state {
            State::Waiting => ViewEvent::Waiting { channel },
            State::Live => ViewEvent::Live { channel },
            State::Stalled(time) => ViewEvent::Stalled { channel, time: *time },
            State::Failed(cause) => ViewEvent::Failed { channel, cause: cause.clone() },
            State::Refused { kind, message, hint } => {
                let error = Error::new(*kind, message.clone()).with_hint(hint.clone());
                return self.end(event_loop, Err(error));
            }
        };
        self.report(event_loop, &event);
    }

    fn act(&mut self, event_loop: &ActiveEventLoop, action: Action) {
        match action {
            Action::Quit => return event_loop.exit(),
            Action::Pause => {
                self.look.paused = !self.look.paused;
                self.tiles.iter().for_each(|tile| tile.channel.set_paused(self.look.paused));
                let event = if self.look.paused { ViewEvent::Paused } else { ViewEvent::Resumed };
                self.report(event_loop, &event);
                self.take(event_loop);
            }
            Action::Save => self.save(event_loop),
            Action::Overlay => self.look.overlay = !self.look.overlay,
            Action::Boxes => {
                self.look.boxes = !self.look.boxes;
                self.tiles.iter().for_each(|tile| tile.channel.set_boxes_shown(self.look.boxes));
            }
            Action::Zoom(steps) => self.look.zoom.step(steps),
            Action::ResetZoom => self.look.zoom = Zoom::default(),
            Action::Pan(right, down) => self.look.zoom.pan(right, down),
            Action::FullScreen => {
                if let Some(Display { window, .. }) = &self.display {
                    let full = window.fullscreen().is_none().then_some(Fullscreen::Borderless(None));
                    window.set_fullscreen(full);
                }
            }
        }
        self.redraw_all();
    }

    fn save(&mut self, event_loop: &ActiveEventLoop) {
        for index in 0..self.tiles.len() {
            let tile = &self.tiles[index];
            let Some(shown) = &tile.current else { continue };
            let (channel, sequence) = (tile.channel.label.clone(), shown.facts.origin.sequence);
            let converter = match &mut self.saver {
                Some(converter) => Ok(converter),
                none => Converter::new().map(|converter| none.insert(converter)),
            };
            let saved = converter.and_then(|converter| {
                snapshot::save(&self.options.save_to, &channel, sequence, &shown.image, converter)
            });
            let event = match saved {
                Ok(path) => ViewEvent::Saved { channel, sequence, path },
                Err(error) => ViewEvent::NotSaved { channel, cause: error.message().to_owned() },
            };
            self.report(event_loop, &event);
        }
    }

    /// Ends a second of statistics.
    fn tick(&mut self, event_loop: &ActiveEventLoop) {
        self.tick_at = Instant::now() + SECOND;
        for index in 0..self.tiles.len() {
            let tile = &mut self.tiles[index];
            let second = tile.tick();
            let event = ViewEvent::Statistics {
                channel: tile.channel.label.clone(),
                time: second.time,
                received: second.received,
                shown: second.shown,
                dropped: second.dropped,
                latency: second.latency,
            };
            self.report(event_loop, &event);
        }
        if self.look.overlay {
            self.redraw_all();
        }
    }

    fn redraw_all(&mut self) {
        let next = self.presented + 1;
        self.tiles.iter_mut().for_each(|tile| tile.changed_at = next);
        if let Some(display) = &self.display {
            display.window.request_redraw();
        }
    }

    /// Draws the tiles that changed since the buffer was presented last.
    fn draw(&mut self, event_loop: &ActiveEventLoop) -> Result<(), Error> {
        let Some(Display { window, surface }) = &mut self.display else { return Ok(()) };
        if event_loop.exiting() {
            return Ok(());
        }
        let failed =
            |error| Error::new(ErrorKind::SystemFailure, format!("cannot draw into the window: {error}"));
        let PhysicalSize { width, height } = window.inner_size();
        let (Some(columns), Some(rows)) = (NonZeroU32::new(width), NonZeroU32::new(height)) else {
            return Ok(());
        };
        surface.resize(columns, rows).map_err(failed)?;
        let mut buffer = surface.buffer_mut().map_err(failed)?;
        let age = u64::from(buffer.age());
        self.look.font = Font::new(window.scale_factor());
        self.presented += 1;
        if age == 0 {
            // Places of the grid without a channel.
            buffer.fill(overlay::BACKGROUND);
        }
        let places = geometry::grid(self.tiles.len(), width, height);
        for (tile, place) in self.tiles.iter_mut().zip(places) {
            if age == 0 || tile.changed_at + age > self.presented {
                tile.draw(&mut buffer, width, place, &self.look);
            }
        }
        window.pre_present_notify();
        buffer.present().map_err(failed)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        for tile in &mut self.tiles {
            if std::mem::take(&mut tile.is_new)
                && let Some(shown) = &tile.current
            {
                tile.meter.show(now_ns.saturating_sub(shown.facts.timestamp_ns));
            }
        }
        let shown = self.tiles.iter().map(|tile| tile.meter.total_shown).sum::<u64>();
        if self.options.count.is_some_and(|count| shown >= count) {
            event_loop.exit();
        }
        Ok(())
    }

    fn report(&mut self, event_loop: &ActiveEventLoop, event: &ViewEvent) {
        if (self.events)(event).is_break() {
            event_loop.exit();
        }
    }

    fn end(&mut self, event_loop: &ActiveEventLoop, result: Result<(), Error>) {
        // The first error is the cause of others.
        if self.result.is_ok() {
            self.result = result;
        }
        event_loop.exit();
    }
}

/// The size of a window for frames: theirs, or 90 % of the screen.
fn on_screen((width, height): (u32, u32), screen: Option<PhysicalSize<u32>>) -> (u32, u32) {
    let Some(screen) = screen.filter(|screen| screen.width > 0 && screen.height > 0) else {
        return (width.min(DEFAULT_SIZE.0), height.min(DEFAULT_SIZE.1));
    };
    if width <= screen.width && height <= screen.height {
        return (width, height);
    }
    let scale =
        0.9 * (f64::from(screen.width) / f64::from(width)).min(f64::from(screen.height) / f64::from(height));
    let scaled = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_is_no_larger_than_the_screen() {
        let screen = Some(PhysicalSize::new(1920, 1080));
        assert_eq!(on_screen((640, 480), screen), (640, 480));
        assert_eq!(on_screen((1920, 1080), screen), (1920, 1080));
        assert_eq!(on_screen((3840, 2160), screen), (1728, 972));
        assert_eq!(on_screen((60_000, 1), screen), (1728, 1));
    }
}
