//! Options of a window.

use std::path::PathBuf;

use framelane::{CancelToken, SubscriberOptions};

/// Boxes that are drawn on a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BoxMode {
    /// Those of the frame. A frame waits up to 150 ms for its boxes.
    #[default]
    Matched,
    /// The newest ones, with the number of frames by which they lag. No frame waits.
    Newest,
}

/// Options of [`view`](crate::view()).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ViewOptions {
    /// Channels or URLs, from left to right and from top to bottom.
    pub channels: Vec<String>,
    /// Directory of the channels, and the URLs that are allowed.
    pub subscriber: SubscriberOptions,
    /// The same directory, for the state of the channels. `None`: the default one.
    pub directory: Option<PathBuf>,
    /// Boxes that are drawn, default [`BoxMode::Matched`].
    pub boxes: BoxMode,
    /// Draws boxes at the start, default true. The key b changes it.
    pub show_boxes: bool,
    /// Draws the overlay at the start, default true. The key o changes it.
    pub show_overlay: bool,
    /// Starts in full screen, default false. The key f changes it.
    pub full_screen: bool,
    /// Size of the window in pixels. `None`: the size of the frames, at most 90 % of the screen.
    pub size: Option<(u32, u32)>,
    /// Folder for pictures that the key s saves, default the current one.
    pub save_to: PathBuf,
    /// Ends after this number of pictures.
    pub count: Option<u64>,
    /// Closes the window when it is cancelled. Checked every 100 ms.
    pub cancel: CancelToken,
}

impl ViewOptions {
    /// Returns the defaults for these channels.
    pub fn new(channels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        ViewOptions {
            channels: channels.into_iter().map(Into::into).collect(),
            subscriber: SubscriberOptions::new(),
            directory: None,
            boxes: BoxMode::default(),
            show_boxes: true,
            show_overlay: true,
            full_screen: false,
            size: None,
            save_to: PathBuf::from("."),
            count: None,
            cancel: CancelToken::new(),
        }
    }
}
