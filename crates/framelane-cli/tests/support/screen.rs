//! Windows on an X server: their pictures and their keys.

use framelane_test_kit::{Display, wait_until};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{
    AtomEnum, ConfigureWindowAux, ConnectionExt, ImageFormat, InputFocus, KEY_PRESS_EVENT, KEY_RELEASE_EVENT,
    MapState, Window,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

pub const ESCAPE: u32 = 0xFF1B;
pub const SPACE: u32 = 0x20;
pub const KEYPAD_PLUS: u32 = 0xFFAB;
pub const LEFT: u32 = 0xFF51;

/// A client of an X server.
pub struct Screen {
    connection: RustConnection,
    root: Window,
}

/// Pixels of a window.
pub struct Screenshot {
    pub width: usize,
    pub height: usize,
    pixels: Vec<u32>,
}

impl Screen {
    pub fn new(display: &Display) -> Self {
        let (connection, screen) = x11rb::connect(Some(display.name())).expect("an X server");
        let root = connection.setup().roots[screen].root;
        Screen { connection, root }
    }

    /// The window of `framelane view`. Waits until it can be seen.
    pub fn window(&self) -> Window {
        let mut found = None;
        wait_until("a window of framelane", || {
            found =
                self.connection.query_tree(self.root).unwrap().reply().unwrap().children.into_iter().find(
                    |&window| {
                        let class = self.connection.get_property(
                            false,
                            window,
                            AtomEnum::WM_CLASS,
                            AtomEnum::STRING,
                            0,
                            100,
                        );
                        let class = class.unwrap().reply();
                        let attributes = self.connection.get_window_attributes(window).unwrap().reply();
                        class.is_ok_and(|class| class.value.starts_with(b"framelane"))
                            && attributes.is_ok_and(|attributes| attributes.map_state == MapState::VIEWABLE)
                    },
                );
            found.is_some()
        });
        found.unwrap()
    }

    pub fn screenshot(&self, window: Window) -> Screenshot {
        let mut image = None;
        // The window may become smaller between the two requests.
        wait_until("a picture of the window", || {
            let size = self.connection.get_geometry(window).unwrap().reply().unwrap();
            let reply = self
                .connection
                .get_image(ImageFormat::Z_PIXMAP, window, 0, 0, size.width, size.height, u32::MAX)
                .unwrap()
                .reply();
            image = reply.ok().map(|image| (size.width, size.height, image.data));
            image.is_some()
        });
        let (width, height, data) = image.unwrap();
        let pixels = data.as_chunks::<4>().0.iter();
        Screenshot {
            width: width.into(),
            height: height.into(),
            pixels: pixels.map(|pixel| u32::from_le_bytes(*pixel) & 0xFF_FFFF).collect(),
        }
    }

    /// Waits until a screenshot has what is awaited.
    #[track_caller]
    pub fn wait_for(
        &self,
        window: Window,
        awaited: &str,
        mut is_wanted: impl FnMut(&Screenshot) -> bool,
    ) -> Screenshot {
        let mut found = None;
        wait_until(awaited, || {
            found = Some(self.screenshot(window)).filter(&mut is_wanted);
            found.is_some()
        });
        found.unwrap()
    }

    pub fn resize(&self, window: Window, width: u32, height: u32) {
        let size = ConfigureWindowAux::new().width(width).height(height);
        self.connection.configure_window(window, &size).unwrap().check().unwrap();
    }

    /// Presses and releases the key that has this symbol without Shift.
    pub fn press(&self, window: Window, symbol: u32) {
        let setup = self.connection.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let keys = self.connection.get_keyboard_mapping(first, last - first + 1).unwrap().reply().unwrap();
        let mut rows = keys.keysyms.chunks(keys.keysyms_per_keycode.into());
        let row = rows.position(|symbols| symbols[0] == symbol).expect("a key with this symbol");
        let key = first + u8::try_from(row).unwrap();
        self.connection
            .set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)
            .unwrap()
            .check()
            .unwrap();
        for event in [KEY_PRESS_EVENT, KEY_RELEASE_EVENT] {
            self.connection
                .xtest_fake_input(event, key, x11rb::CURRENT_TIME, self.root, 0, 0, 0)
                .unwrap()
                .check()
                .unwrap();
        }
    }

    pub fn press_letter(&self, window: Window, letter: char) {
        self.press(window, letter.into());
    }
}

impl Screenshot {
    /// The colour as 0xRRGGBB.
    pub fn at(&self, x: usize, y: usize) -> u32 {
        self.pixels[y * self.width + x]
    }

    /// True if each channel of a pixel differs by at most 6.
    pub fn is_near(&self, x: usize, y: usize, color: u32) -> bool {
        is_near(self.at(x, y), color)
    }

    /// True if all pixels are these, given as RGB bytes.
    pub fn is(&self, rgb: &[u8]) -> bool {
        let expected = rgb.as_chunks::<3>().0.iter().map(|&[r, g, b]| u32::from_be_bytes([0, r, g, b]));
        self.pixels.iter().copied().eq(expected)
    }

    /// Number of pixels for which a condition holds.
    pub fn count(&self, condition: impl Fn(u32) -> bool) -> usize {
        self.pixels.iter().filter(|pixel| condition(**pixel)).count()
    }
}

pub fn is_near(found: u32, expected: u32) -> bool {
    found
        .to_be_bytes()
        .iter()
        .zip(expected.to_be_bytes())
        .all(|(found, expected)| found.abs_diff(expected) <= 6)
}
