use framelane::{Publisher, PublisherOptions, Subscriber, SubscriberOptions};

use super::*;
use crate::budget::{Budget, Quantity};

fn coders() -> Coders {
    let budget = |quantity| Budget::new(quantity, 1 << 30, "a limit");
    Coders::new(Budgets {
        memory: budget(Quantity::Memory),
        encoders: budget(Quantity::Encoders),
        pixels: budget(Quantity::Pixels),
    })
}

fn wanted() -> Wanted {
    let codec = Codec::H264 { bits_per_second: 1_000_000 };
    Wanted { channel: "cam0".to_owned(), codec, size: None, max_milli_fps: 0 }
}

fn send(publisher: &mut Publisher) {
    let layout = Layout::packed(PixelFormat::Gray8, 64, 48).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &[7; 64 * 48]).unwrap();
}

/// Returns the payload that the link takes for the newest frame of its channel.
fn code(member: &mut Member<'_>, subscriber: &mut Subscriber, keyframe: bool) -> Arc<Coded> {
    let frame = subscriber.recv().unwrap();
    let life = Life { epoch: subscriber.epoch(), is_over: !subscriber.publisher_alive() };
    member.code(frame, life, keyframe, &mut || Ok(())).unwrap().expect("the newest frame")
}

#[test]
fn frame_of_a_closed_channel_does_not_enter_a_shared_stream() {
    let directory = tempfile::tempdir().unwrap();
    let publisher = || PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
    let subscriber = || SubscriberOptions::new().directory(directory.path()).open("cam0").unwrap();
    let coders = coders();
    let (mut member, mut late) = (coders.join(wanted(), "a").unwrap(), coders.join(wanted(), "b").unwrap());
    let mut old = publisher();
    (0..5).for_each(|_| send(&mut old));
    let mut old_subscriber = subscriber();
    old.close();
    let mut new = publisher();
    let mut new_subscriber = subscriber();
    send(&mut new);
    assert_eq!(code(&mut member, &mut new_subscriber, true).epoch, new.epoch());

    // Another keyframe is due.
    lock(&late.coder.state).last_keyframe = None;
    let of_late = code(&mut late, &mut old_subscriber, true);
    assert_eq!((of_late.local_sequence, of_late.standalone), (5, true));
    assert!(of_late.epoch < new.epoch());
    send(&mut new);
    let next = code(&mut member, &mut new_subscriber, false);
    assert_eq!((next.epoch, next.local_sequence), (new.epoch(), 2));
}
