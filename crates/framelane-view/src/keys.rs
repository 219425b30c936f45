//! Keys of the window.

use winit::keyboard::{Key, NamedKey};

/// Meanings of keys, as users of `cv::imshow` expect them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    Pause,
    Save,
    Overlay,
    Boxes,
    Zoom(i32),
    ResetZoom,
    Pan(i32, i32),
    FullScreen,
}

pub(crate) fn action(key: &Key) -> Option<Action> {
    Some(match key.as_ref() {
        Key::Named(NamedKey::Escape) | Key::Character("q" | "Q") => Action::Quit,
        Key::Named(NamedKey::Space) | Key::Character(" ") => Action::Pause,
        Key::Character("s" | "S") => Action::Save,
        Key::Character("o" | "O") => Action::Overlay,
        Key::Character("b" | "B") => Action::Boxes,
        // The key of + without Shift, too.
        Key::Character("+" | "=") => Action::Zoom(1),
        Key::Character("-" | "_" | "−") => Action::Zoom(-1),
        Key::Character("0") => Action::ResetZoom,
        Key::Character("f" | "F") | Key::Named(NamedKey::F11) => Action::FullScreen,
        Key::Named(NamedKey::ArrowLeft) => Action::Pan(-1, 0),
        Key::Named(NamedKey::ArrowRight) => Action::Pan(1, 0),
        Key::Named(NamedKey::ArrowUp) => Action::Pan(0, -1),
        Key::Named(NamedKey::ArrowDown) => Action::Pan(0, 1),
        _ => return None,
    })
}
