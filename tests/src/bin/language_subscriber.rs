//! Prints what arrives: see `tests/languages/README.md`.

use framelane::{DetectionPublisher, Mode, SubscriberOptions};
use framelane_tests::language;

fn main() {
    framelane_net::install();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut finder = arguments
        .get(2)
        .map(|channel| DetectionPublisher::create(channel, &["a", "b"], "m").expect("a channel"));
    let mode = if arguments[1] == "every" { Mode::Every } else { Mode::Newest };
    let mut subscriber = SubscriberOptions::new().mode(mode).open(&arguments[0]).expect("a channel");
    for frame in subscriber.frames() {
        let frame = frame.expect("a frame");
        let rows = language::rows(frame.layout(), |plane, row, row_bytes| {
            let place = frame.layout().planes()[plane];
            let start = place.offset_bytes + row * place.stride_bytes;
            frame.bytes()[start..start + row_bytes].to_vec()
        });
        println!(
            "{}",
            language::frame_text(frame.layout(), frame.info(), frame.sequence(), frame.dropped(), rows)
        );
        if let Some(finder) = &mut finder {
            finder.send(&frame.id(), &language::boxes(frame.sequence())).expect("a slot");
        }
    }
}
