//! Prints what arrives: see `tests/languages/README.md`.

use std::time::Duration;

use framelane::{Delivery, DetectionPublisher, DetectionSubscriber, SubscriberOptions};
use framelane_tests::language;

fn main() {
    framelane_net::register_url_schemes();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut finder = arguments
        .get(2)
        .map(|channel| DetectionPublisher::create(channel, &["a", "b"], "m").expect("a channel"));
    let mut found: Option<DetectionSubscriber> = None;
    let delivery = if arguments[1] == "every" { Delivery::Every } else { Delivery::Newest };
    let mut subscriber = SubscriberOptions::new().delivery(delivery).open(&arguments[0]).expect("a channel");
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
            let found =
                found.get_or_insert_with(|| DetectionSubscriber::open(&arguments[2]).expect("a channel"));
            let batch = found.for_frame(&frame, Duration::MAX).expect("boxes");
            assert_eq!(batch.boxes, language::boxes(frame.sequence()));
            assert_eq!(found.for_frame(frame.id(), Duration::ZERO).expect("boxes"), batch);
            let numbers = (frame.epoch(), frame.sequence());
            assert_eq!(found.for_frame(numbers, Duration::ZERO).expect("boxes"), batch);
        }
    }
}
