//! A channel within one process: what passes, in which order, and what is counted.

use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use framelane::*;
use framelane_test_kit::{Memory, Place};

fn pair(directory: &Place) -> (PublisherOptions, SubscriberOptions) {
    let wait = Some(Duration::ZERO);
    (
        PublisherOptions::new().directory(directory.path()),
        SubscriberOptions::new().directory(directory.path()).open_timeout(wait),
    )
}

fn gray(width: u32, height: u32) -> Layout {
    Layout::packed(PixelFormat::Gray8, width, height).unwrap()
}

fn send(publisher: &mut Publisher, layout: &Layout, value: u8) -> Option<u64> {
    let bytes = vec![value; layout.size_bytes()];
    publisher.send(layout, &FrameInfo::default(), &bytes).unwrap()
}

fn files_in(directory: &Place) -> Vec<String> {
    let mut names = directory.files();
    // Wine keeps hidden names of removed files until all have closed them. Windows does not.
    names.retain(|name| cfg!(unix) || !name.ends_with(".new"));
    names
}

#[test]
fn a_frame_arrives_with_all_that_was_said_of_it() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.create("cam0/left").unwrap();
    let mut subscriber = subscriber.open("cam0/left").unwrap();
    let planes = [
        Plane { offset_bytes: 64, stride_bytes: 32 },
        Plane { offset_bytes: 256, stride_bytes: 16 },
        Plane { offset_bytes: 512, stride_bytes: 16 },
    ];
    let layout = Layout::with_planes(PixelFormat::I420, 17, 5, &planes, 600).unwrap();
    let info = FrameInfo::default()
        .with_timestamp_ns(123)
        .with_pts_ns(-5)
        .with_duration_ns(40_000_000)
        .with_color(Color { matrix: 1, primaries: 9, transfer: 16, range: ColorRange::Full })
        .with_rotation_degrees(270)
        .with_keyframe(true)
        .with_origin(Origin { epoch: 9, sequence: 7 });
    let bytes: Vec<u8> = (0..600).map(|i| (i % 251) as u8).collect();
    assert_eq!(publisher.send(&layout, &info, &bytes).unwrap(), Some(1));
    let frame = subscriber.recv().unwrap();
    assert_eq!(frame.layout(), &layout);
    assert_eq!(frame.info(), &info);
    assert_eq!(frame.bytes(), &bytes);
    assert_eq!(frame.plane(1), &bytes[256..256 + 16 * 2 + 9]);
    // As its first publisher numbered it; the ring here has its own count.
    assert_eq!((frame.sequence(), frame.epoch()), (7, 9));
    assert_eq!((frame.local_sequence(), frame.dropped()), (1, 0));
    assert!(frame.published_ns() > 0 && frame.channel() == "cam0/left");
}

#[test]
fn newest_skips_and_counts_every_gives_all_in_order() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(8).create("c").unwrap();
    let mut newest = subscriber.clone().open("c").unwrap();
    let mut every = subscriber.delivery(Delivery::Every).open("c").unwrap();
    for value in 1..=5 {
        send(&mut publisher, &gray(8, 8), value);
    }
    let frame = newest.recv().unwrap();
    assert_eq!((frame.sequence(), frame.dropped(), frame.bytes()[0]), (5, 4, 5));
    assert!(matches!(newest.recv_timeout(Duration::ZERO), Err(RecvError::Timeout)));
    for value in 1..=5_u8 {
        let frame = every.recv().unwrap();
        assert_eq!((frame.sequence(), frame.dropped(), frame.bytes()[0]), (value.into(), 0, value));
    }
    assert_eq!((newest.dropped(), newest.received(), every.dropped(), every.received()), (4, 1, 0, 5));
}

#[test]
fn every_counts_what_the_publisher_overwrote() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(3).create("c").unwrap();
    let mut every = subscriber.delivery(Delivery::Every).open("c").unwrap();
    for value in 1..=10 {
        send(&mut publisher, &gray(8, 8), value);
    }
    let got: Vec<_> = (0..3).map(|_| every.recv().unwrap()).map(|f| (f.sequence(), f.dropped())).collect();
    assert_eq!(got, [(8, 7), (9, 0), (10, 0)]);
    assert_eq!(every.received() + every.dropped(), publisher.sequence());
}

#[test]
fn a_late_subscriber_gets_the_newest_frame_at_once() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.create("c").unwrap();
    for value in 1..=5 {
        send(&mut publisher, &gray(8, 8), value);
    }
    for delivery in [Delivery::Newest, Delivery::Every] {
        let mut late = subscriber.clone().delivery(delivery).open("c").unwrap();
        let frame = late.recv_timeout(Duration::ZERO).unwrap();
        assert_eq!((frame.sequence(), frame.dropped()), (5, 0));
    }
}

#[test]
fn a_leased_frame_does_not_change_and_its_slot_comes_back() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(3).create("c").unwrap();
    let mut subscriber = subscriber.open("c").unwrap();
    send(&mut publisher, &gray(64, 64), 1);
    let first = subscriber.recv().unwrap();
    for value in 2..=50 {
        send(&mut publisher, &gray(64, 64), value);
    }
    assert!(first.bytes().iter().all(|&byte| byte == 1));
    let second = subscriber.recv().unwrap();
    // One slot is leased, one is leased and newest, one is free.
    send(&mut publisher, &gray(64, 64), 60);
    assert_eq!(send(&mut publisher, &gray(64, 64), 61), None, "both other slots are leased");
    assert_eq!(publisher.dropped(), 1);
    drop(second);
    assert!(send(&mut publisher, &gray(64, 64), 62).is_some());
    let third = subscriber.recv().unwrap();
    assert_eq!((third.bytes()[0], third.dropped()), (62, 2), "one dropped by the publisher, one skipped");
    assert!(first.bytes().iter().all(|&byte| byte == 1));
}

#[test]
fn a_ninth_lease_is_refused_until_one_is_dropped() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(16).create("c").unwrap();
    let mut subscriber = subscriber.open("c").unwrap();
    let mut leases = Vec::new();
    for value in 1..=8 {
        send(&mut publisher, &gray(8, 8), value);
        leases.push(subscriber.recv().unwrap());
    }
    send(&mut publisher, &gray(8, 8), 9);
    let Err(RecvError::TooManyLeases) = subscriber.recv() else { panic!("a ninth lease") };
    let error = Error::from(RecvError::TooManyLeases);
    assert!(error.kind() == ErrorKind::TooManyLeases && error.hint().is_some());
    drop(leases.remove(3));
    assert_eq!(subscriber.recv().unwrap().bytes()[0], 9);
}

#[test]
fn size_and_format_change_while_running() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.create("c").unwrap();
    let mut every = subscriber.delivery(Delivery::Every).open("c").unwrap();
    let mut held = None;
    for (step, (format, side)) in [
        (PixelFormat::Gray8, 10),
        (PixelFormat::Bgr8, 300),
        (PixelFormat::Nv12, 20),
        (PixelFormat::Matrix(MatrixType::new(Depth::F64, 7).unwrap()), 200),
        (PixelFormat::Gray8, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let layout = Layout::packed(format, side, side).unwrap();
        send(&mut publisher, &layout, step as u8 + 1);
        let frame = every.recv().unwrap();
        assert_eq!((frame.layout(), frame.dropped()), (&layout, 0));
        assert!(frame.bytes().iter().all(|&byte| byte == step as u8 + 1));
        held.get_or_insert(frame);
    }
    assert!(held.unwrap().bytes().iter().all(|&byte| byte == 1), "a lease outlives its generation");
    let data_files = files_in(&directory).into_iter().filter(|name| name.contains(".data.")).count();
    assert_eq!(data_files, 1, "old generations are removed");
}

#[test]
fn growing_ring_keeps_the_old_frame_until_the_new_one() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.create("c").unwrap();
    send(&mut publisher, &gray(8, 8), 1);
    let loan = publisher.loan(&gray(500, 500)).unwrap();
    let mut late = subscriber.open("c").unwrap();
    assert_eq!(late.recv_timeout(Duration::ZERO).unwrap().sequence(), 1);
    loan.publish(&FrameInfo::default());
    assert_eq!(late.recv_timeout(Duration::ZERO).unwrap().width(), 500);
}

#[test]
fn a_loan_that_is_dropped_publishes_nothing_and_costs_no_slot() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(2).create("c").unwrap();
    let mut subscriber = subscriber.open("c").unwrap();
    for _ in 0..10 {
        publisher.loan(&gray(8, 8)).unwrap().bytes_mut().fill(9);
    }
    assert!(matches!(subscriber.recv_timeout(Duration::ZERO), Err(RecvError::Timeout)));
    assert_eq!(send(&mut publisher, &gray(8, 8), 1), Some(1));
    assert_eq!(subscriber.recv().unwrap().bytes()[0], 1);
}

#[test]
fn closed_channel_delivers_remaining_frames_and_leaves_no_file() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.create("c").unwrap();
    let mut every = subscriber.delivery(Delivery::Every).open("c").unwrap();
    send(&mut publisher, &gray(8, 8), 1);
    let first = every.recv().unwrap();
    send(&mut publisher, &gray(8, 8), 2);
    send(&mut publisher, &gray(8, 8), 3);
    drop(publisher);
    assert_eq!(files_in(&directory), Vec::<String>::new());
    assert_eq!(every.recv().unwrap().sequence(), 2);
    assert_eq!(every.recv().unwrap().sequence(), 3);
    assert!(matches!(every.recv(), Err(RecvError::Closed)));
    drop(every);
    assert_eq!(first.bytes()[0], 1, "a lease outlives channel and subscriber");
}

#[test]
fn a_waiting_subscriber_is_woken_by_a_frame_and_by_the_end() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.create("c").unwrap();
    let mut subscriber = subscriber.delivery(Delivery::Every).open("c").unwrap();
    let reader = std::thread::spawn(move || {
        let mut sequences = Vec::new();
        for frame in subscriber.frames() {
            sequences.push(frame.unwrap().sequence());
        }
        sequences
    });
    for value in 1..=3 {
        send(&mut publisher, &gray(8, 8), value);
    }
    publisher.close();
    let sequences = reader.join().unwrap();
    assert!(sequences.is_sorted() && sequences.iter().all(|s| (1..=3).contains(s)));
}

#[test]
fn a_subscriber_waits_for_a_channel_that_is_not_there_yet() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let waiting = {
        let subscriber = subscriber.clone().open_timeout(None);
        std::thread::spawn(move || subscriber.open("later").unwrap().recv().unwrap().sequence())
    };
    let mut publisher = publisher.backpressure(Backpressure::Block).create("later").unwrap();
    send(&mut publisher, &gray(8, 8), 1);
    assert_eq!(waiting.join().unwrap(), 1);
    let error = subscriber.open("never").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("framelane publish testsrc never"), "{error}");
}

#[test]
fn backpressure_block_loses_nothing_however_slow_the_reader() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(3).backpressure(Backpressure::Block).create("c").unwrap();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut every = subscriber.clone().delivery(Delivery::Every).open("c").unwrap();
            std::thread::spawn(move || {
                let mut next = 1;
                for frame in every.frames() {
                    let frame = frame.unwrap();
                    assert_eq!((frame.sequence(), frame.dropped()), (next, 0));
                    assert!(frame.bytes().iter().all(|&byte| byte == next as u8));
                    next += 1;
                }
                next - 1
            })
        })
        .collect();
    for value in 1..=2000_u32 {
        // Sizes grow meanwhile: a new generation must not lose unread frames of the old one.
        send(&mut publisher, &gray(8 + value / 100, 16), value as u8).unwrap();
    }
    publisher.drain(None).unwrap();
    publisher.close();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 2000);
    }
}

#[test]
fn blocked_publisher_ends_when_cancelled_and_continues_later() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(2).backpressure(Backpressure::Block).create("c").unwrap();
    let every = subscriber.delivery(Delivery::Every).open("c").unwrap();
    send(&mut publisher, &gray(8, 8), 1);
    send(&mut publisher, &gray(8, 8), 2);
    let asked = AtomicU32::new(0);
    publisher.set_cancel_token(CancelToken::with_check(move || asked.fetch_add(1, Relaxed) >= 2));
    assert!(matches!(publisher.loan(&gray(8, 8)), Err(LoanError::Interrupted)));
    assert_eq!(publisher.drain(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::Timeout);
    let stopped = publisher.drain(None);
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Interrupted);
    drop(every);
    assert_eq!(send(&mut publisher, &gray(8, 8), 3), Some(3));
}

#[test]
fn drain_waits_for_readers_of_every_frame_and_close_does_not() {
    for backpressure in [Backpressure::Drop, Backpressure::Block] {
        let place = Place::new();
        let (publisher, subscriber) = pair(&place);
        let mut publisher = publisher.backpressure(backpressure).create("c").unwrap();
        let mut every = subscriber.clone().delivery(Delivery::Every).open("c").unwrap();
        let _newest = subscriber.open("c").unwrap();
        publisher.drain(Some(Duration::ZERO)).unwrap();
        send(&mut publisher, &gray(8, 8), 1);
        let error = publisher.drain(Some(Duration::from_millis(5))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.message().contains("1 subscriber has not received frame 1"), "{error}");
        let reader =
            std::thread::spawn(move || every.recv().map(|frame| frame.sequence()).map(|n| (n, every)));
        publisher.drain(None).unwrap();
        let (sequence, mut every) = reader.join().unwrap().unwrap();
        assert_eq!(sequence, 1);
        // The reader has not received this one, and no call receives meanwhile: a close that waits never
        // ends.
        send(&mut publisher, &gray(8, 8), 2);
        publisher.close();
        assert_eq!(every.recv().unwrap().sequence(), 2, "it had mapped the ring");
        assert!(matches!(every.recv(), Err(RecvError::Closed)));
    }
}

#[test]
fn slot_of_an_owned_loan_is_reused_after_its_drop() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(3).create("c").unwrap();
    let mut subscriber = subscriber.delivery(Delivery::Every).open("c").unwrap();
    let layout = gray(8, 8);
    let owned = publisher.try_loan_owned(&layout).unwrap();
    assert_eq!(publisher.publish_owned(&owned, &layout, &FrameInfo::default()).unwrap(), 1);
    assert_eq!(subscriber.recv().unwrap().sequence(), 1);
    send(&mut publisher, &layout, 2);
    send(&mut publisher, &layout, 3);
    send(&mut publisher, &layout, 4);
    // Two slots are left for the loans above; the owned one was not among them.
    let second = publisher.try_loan_owned(&layout).unwrap();
    assert!(matches!(publisher.try_loan_owned(&layout), Err(LoanError::NoFreeSlot)));
    assert_eq!(publisher.dropped(), 0, "a failed try_loan_owned drops no frame");
    drop((owned, second));
    assert!(publisher.try_loan_owned(&layout).is_ok());
}

#[test]
fn owned_loan_of_an_older_ring_keeps_the_order_or_is_copied() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.create("c").unwrap();
    let mut subscriber = subscriber.delivery(Delivery::Every).open("c").unwrap();
    let (small, large) = (gray(8, 8), gray(100, 100));
    send(&mut publisher, &small, 1);
    assert_eq!(subscriber.recv().unwrap().sequence(), 1);
    let old = publisher.try_loan_owned(&small).unwrap();
    let late = publisher.try_loan_owned(&small).unwrap();
    let new = publisher.try_loan_owned(&large).unwrap();
    // The decoder hands out pictures of the old size after it asked for one of the new.
    assert_eq!(publisher.publish_owned(&old, &small, &FrameInfo::default()).unwrap(), 2);
    assert_eq!(publisher.publish_owned(&new, &large, &FrameInfo::default()).unwrap(), 3);
    assert_eq!(publisher.publish_owned(&late, &small, &FrameInfo::default()).unwrap(), 4);
    let widths: Vec<_> = (0..3).map(|_| subscriber.recv().unwrap().width()).collect();
    assert_eq!(widths, [8, 100, 8]);
    let error = publisher.publish_owned(&old, &large, &FrameInfo::default()).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::FrameTooLarge);
}

#[test]
fn second_publisher_and_65th_subscriber_are_refused() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let _first = publisher.clone().create("c").unwrap();
    let error = publisher.create("c").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ChannelBusy);
    assert!(error.message().contains(&std::process::id().to_string()), "{error}");
    let mut subscribers: Vec<_> = (0..64).map(|_| subscriber.open("c").unwrap()).collect();
    assert_eq!(_first.subscribers(), 64);
    let error = subscriber.open("c").err().unwrap();
    assert!(error.kind() == ErrorKind::TooManySubscribers && error.hint().is_some());
    subscribers.remove(7);
    assert!(subscriber.open("c").is_ok());
}

#[test]
fn a_lease_that_outlives_its_subscriber_keeps_the_record() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(2).create("c").unwrap();
    let mut first = subscriber.open("c").unwrap();
    send(&mut publisher, &gray(8, 8), 1);
    let frame = first.recv().unwrap();
    drop(first);
    assert_eq!(publisher.subscribers(), 1);
    send(&mut publisher, &gray(8, 8), 2);
    assert_eq!(send(&mut publisher, &gray(8, 8), 3), None);
    assert_eq!(frame.bytes()[0], 1);
    drop(frame);
    assert_eq!(publisher.subscribers(), 0);
    assert!(send(&mut publisher, &gray(8, 8), 4).is_some());
}

#[test]
fn bytes_that_are_too_few_are_refused() {
    let directory = Place::new();
    let mut publisher = pair(&directory).0.create("c").unwrap();
    let error = publisher.send(&gray(8, 8), &FrameInfo::default(), &[0; 63]).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::InvalidFrame);
    assert_eq!(publisher.sequence(), 0);
}

#[test]
fn options_out_of_range_are_refused() {
    let directory = Place::new();
    let (publisher, _) = pair(&directory);
    for options in [
        publisher.clone().slots(1),
        publisher.clone().slots(129),
        publisher.clone().permissions(0o400),
        publisher.clone().permissions(0o1600),
    ] {
        assert_eq!(options.create("c").err().unwrap().kind(), ErrorKind::InvalidOption);
    }
    let error = publisher.frame_bytes(MAX_FRAME_BYTES + 1).create("c").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::FrameTooLarge);
}

#[test]
fn readers_and_writer_in_threads_never_see_a_torn_frame() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.slots(4).create("c").unwrap();
    let done = AtomicBool::new(false);
    let checked = [const { AtomicU64::new(0) }; 3];
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for (delivery, checked) in
            [Delivery::Newest, Delivery::Every, Delivery::Newest].into_iter().zip(&checked)
        {
            let mut subscriber = subscriber.clone().delivery(delivery).open("c").unwrap();
            let done = &done;
            readers.push(scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    match subscriber.recv_timeout(Duration::from_millis(100)) {
                        Ok(frame) => {
                            let expected = frame.sequence() as u8;
                            assert!(frame.bytes().iter().all(|&byte| byte == expected));
                            checked.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(RecvError::Timeout) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }));
        }
        let seen_enough = || checked.iter().all(|checked| checked.load(Ordering::Relaxed) >= 100);
        let failed = || readers.iter().any(|reader| reader.is_finished());
        // On a busy machine a reader may not run for a long time: it continues until each has seen enough.
        while publisher.sequence() < 20_000 || !(seen_enough() || failed()) {
            let sequence = publisher.sequence() + 1;
            send(&mut publisher, &gray(128, 32), sequence as u8);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn owned_loan_published_again_is_a_copy_with_a_new_number() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let mut publisher = publisher.create("c").unwrap();
    let mut every = subscriber.delivery(Delivery::Every).open("c").unwrap();
    let layout = gray(8, 8);
    let owned = publisher.try_loan_owned(&layout).unwrap();
    for sequence in 1..=2 {
        assert_eq!(publisher.publish_owned(&owned, &layout, &FrameInfo::default()).unwrap(), sequence);
    }
    let frames = [every.recv().unwrap(), every.recv().unwrap()];
    assert_eq!(frames.each_ref().map(|frame| (frame.sequence(), frame.dropped())), [(1, 0), (2, 0)]);
    assert_ne!(frames[0].bytes().as_ptr(), frames[1].bytes().as_ptr());
}

#[test]
fn spinning_ends_with_the_timeout() {
    let directory = Place::new();
    let (publisher, subscriber) = pair(&directory);
    let _publisher = publisher.create("c").unwrap();
    // Would spin for an hour if the timeout did not bound it.
    let mut subscriber = subscriber.spin(Duration::from_secs(3600)).open("c").unwrap();
    assert!(matches!(subscriber.recv_timeout(Duration::from_millis(5)), Err(RecvError::Timeout)));
}

#[test]
fn a_frame_that_a_link_has_brought_is_named_by_its_origin() {
    let directory = Place::new();
    let (publishing, reading) = pair(&directory);
    let mut publisher = publishing.create("cam0").unwrap();
    let mut subscriber = reading.open("cam0").unwrap();
    let origin = Origin { epoch: 77, sequence: 1000 };
    let info = FrameInfo::default().with_origin(origin);
    publisher.send(&gray(2, 1), &info, &[1, 2]).unwrap();
    let frame = subscriber.recv().unwrap();
    assert_eq!((frame.epoch(), frame.sequence()), (77, 1000));
    assert_eq!((frame.local_sequence(), frame.origin()), (1, origin));
    assert_eq!((frame.id().epoch, frame.id().sequence), (77, 1000));
    publisher.send(&gray(2, 1), &FrameInfo::default(), &[1, 2]).unwrap();
    let frame = subscriber.recv().unwrap();
    assert_eq!((frame.id().epoch, frame.id().sequence), (publisher.epoch(), 2));
}

#[test]
fn frames_that_are_skipped_together_are_counted_one_by_one() {
    let directory = Place::new();
    let (publishing, reading) = pair(&directory);
    let mut publisher = publishing.create("cam0").unwrap();
    let mut subscriber = reading.open("cam0").unwrap();
    send(&mut publisher, &gray(2, 1), 1);
    drop(subscriber.recv().unwrap());
    publisher.skip_many(1_000_000);
    send(&mut publisher, &gray(2, 1), 2);
    assert_eq!(subscriber.recv().unwrap().dropped(), 1_000_000);
    assert_eq!((publisher.sequence(), publisher.dropped()), (1_000_002, 1_000_000));
}

#[test]
fn claimed_gap_does_not_break_the_next_publisher() {
    let directory = Place::new();
    let (publishing, reading) = pair(&directory);
    let mut publisher = publishing.create("cam0").unwrap();
    let mut subscriber = reading.open("cam0").unwrap();
    // As far as 2⁵⁶, where numbers would start again.
    for _ in 0..1 << 24 {
        publisher.skip_many(u32::MAX);
    }
    send(&mut publisher, &gray(2, 1), 7);
    let frame = subscriber.recv().unwrap();
    assert_eq!(frame.bytes(), [7, 7]);
    assert!(frame.sequence() < 1 << 55, "the next publisher takes the channel over");
    assert!(publisher.dropped() > 1 << 55);
}

#[test]
fn link_status_is_readable_and_ends_with_its_publisher() {
    let directory = Place::new();
    let (publishing, _) = pair(&directory);
    let mut publisher = publishing.create("cam0").unwrap();
    let look = || status(Some(directory.path()), "cam0").unwrap().link;
    assert_eq!(look(), None);
    let mut link = LinkStatus::default();
    link.peer = "tls://camera.example:7420/cam0".to_owned();
    link.connected = true;
    link.live = true;
    link.connections = 3;
    link.clock_offset_ns = -5;
    link.round_trip_ns = 6;
    link.latency_ns = 7;
    link.received_bytes = 8;
    link.missed = 9;
    publisher.set_link(&link);
    assert_eq!(look(), Some(link.clone()));
    link.live = false;
    publisher.set_link(&link);
    assert_eq!(look(), Some(link.clone()));
    (link.peer, link.connected, link.live) = ("ä".repeat(100), false, true);
    publisher.set_link(&link);
    let found = look().unwrap();
    assert_eq!((found.peer, found.connected, found.live), ("ä".repeat(64), false, false));
    // A link state that framelane never writes is read as no link.
    let memory = Memory::open(&directory.path().join("cam0.control")).unwrap();
    for state in [4_u32, 0xff, u32::MAX, 0] {
        memory.write(&state.to_le_bytes(), 320);
        assert_eq!(look(), None, "{state}");
    }
}

#[test]
fn a_url_in_place_of_a_name_says_what_it_takes() {
    for url in ["tls://camera:7420/cam0", "unix:/run/framelane.sock/cam0"] {
        let error = Subscriber::open(url).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        assert!(error.hint().unwrap().contains("framelane_net::register_url_schemes()"));
        assert_eq!(Publisher::create(url).err().unwrap().kind(), ErrorKind::InvalidOption);
    }
}

#[test]
fn reattached_subscriber_resumes_and_counts_lost_frames() {
    let directory = Place::new();
    let (publishing, reading) = pair(&directory);
    let mut publisher = publishing.slots(6).create("cam0").unwrap();
    for value in 1..=4 {
        send(&mut publisher, &gray(2, 1), value);
    }
    let every = reading.delivery(Delivery::Every);
    let had = |epoch, sequence| Some(Origin { epoch, sequence });
    let next = |after| every.clone().after(after).open("cam0").unwrap().recv_timeout(Duration::ZERO);
    let epoch = publisher.epoch();
    assert_eq!(next(had(epoch, 2)).unwrap().sequence(), 3);
    assert_eq!(next(None).unwrap().sequence(), 4);
    assert_eq!(next(had(epoch + 1, 2)).unwrap().sequence(), 4, "numbers of another life mean nothing");
    assert!(matches!(next(had(epoch, 4)), Err(RecvError::Timeout)), "nothing is given twice");
    for value in 5..=20 {
        send(&mut publisher, &gray(2, 1), value);
    }
    let frame = next(had(epoch, 2)).unwrap();
    assert_eq!(frame.dropped(), frame.sequence() - 3);
    assert!(frame.dropped() > 0);
}
