//! Request and answer: the boxes of the very frame that was sent, from a detector that comes, goes and comes
//! again.

use std::time::Duration;

use framelane::{
    CancelToken, Delivery, Detection, DetectionPublisher, DetectionSubscriber, Error, ErrorKind, FrameInfo,
    Layout, PixelFormat, PublisherOptions, SubscriberOptions,
};
use framelane_test_kit::{Place, wait_until};

const LONG: Duration = Duration::from_secs(600);

#[derive(Default)]
struct Scene(Place);

impl Scene {
    fn publishing(&self) -> PublisherOptions {
        PublisherOptions::new().directory(self.0.path())
    }

    fn reading(&self) -> SubscriberOptions {
        SubscriberOptions::new().directory(self.0.path())
    }

    fn finder(&self) -> DetectionPublisher {
        DetectionPublisher::with_options(self.publishing(), "cam0/detections", &[], "").unwrap()
    }

    fn detections(&self) -> DetectionSubscriber {
        DetectionSubscriber::with_options(self.reading().delivery(Delivery::Every), "cam0/detections")
            .unwrap()
    }

    /// Answers `count` of the newest frames, each with as many boxes as its first pixel says. Returns its
    /// channel.
    fn detector(
        &self,
        mut finder: DetectionPublisher,
        count: usize,
    ) -> std::thread::JoinHandle<DetectionPublisher> {
        let reading = self.reading();
        std::thread::spawn(move || {
            let mut frames = reading.open("cam0").unwrap();
            for _ in 0..count {
                let frame = frames.recv().unwrap();
                let boxes = vec![Detection::default(); frame.bytes()[0].into()];
                finder.send(&frame.id(), &boxes).unwrap();
            }
            finder
        })
    }
}

fn ask(
    publisher: &mut framelane::Publisher,
    detections: &mut DetectionSubscriber,
    pixel: u8,
    timeout: Duration,
) -> Result<usize, Error> {
    let layout = Layout::packed(PixelFormat::Gray8, 1, 1)?;
    let found = publisher.send_and_wait(&layout, &FrameInfo::default(), &[pixel], detections, timeout)?;
    assert_eq!((found.frame.epoch, found.frame.sequence), (publisher.epoch(), publisher.sequence()));
    Ok(found.boxes.len())
}

#[test]
fn each_frame_gets_its_own_boxes() {
    let scene = Scene::default();
    let mut publisher = scene.publishing().create("cam0").unwrap();
    let finder = scene.finder();
    let mut detections = scene.detections();
    let detector = scene.detector(finder, 200);
    for pixel in 0..200 {
        assert_eq!(ask(&mut publisher, &mut detections, pixel, LONG).unwrap(), usize::from(pixel));
    }
    detector.join().unwrap();
}

#[test]
fn question_to_a_closed_detector_is_answered_by_the_next() {
    let scene = Scene::default();
    let mut publisher = scene.publishing().create("cam0").unwrap();
    let finder = scene.finder();
    let mut detections = scene.detections();
    let first = scene.detector(finder, 1);
    assert_eq!(ask(&mut publisher, &mut detections, 1, LONG).unwrap(), 1);
    drop(first.join().unwrap());
    // Asked while there is no detector: the one that starts meanwhile takes the newest frame.
    let asking = std::thread::spawn(move || {
        let answer = ask(&mut publisher, &mut detections, 2, LONG).unwrap();
        (answer, publisher, detections)
    });
    // A detector that is there before the question would answer the frame before, and no more.
    wait_until!(framelane::status(Some(scene.0.path()), "cam0").unwrap().sequence >= 2);
    let second = scene.detector(scene.finder(), 1);
    let (answer, ..) = asking.join().unwrap();
    assert_eq!(answer, 2);
    second.join().unwrap();
}

#[test]
fn question_without_an_answer_times_out_with_the_reason() {
    let scene = Scene::default();
    let mut publisher = scene.publishing().create("cam0").unwrap();
    let finder = scene.finder();
    let mut detections = scene.detections();
    let error = ask(&mut publisher, &mut detections, 1, Duration::from_millis(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("no detections of frame 1"), "{error}");
    drop(finder);
    let error = ask(&mut publisher, &mut detections, 1, Duration::from_millis(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("channel cam0/detections in "), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_frame_that_found_no_slot_is_not_waited_for() {
    let scene = Scene::default();
    let mut publisher = scene.publishing().slots(2).create("cam0").unwrap();
    let _finder = scene.finder();
    let mut detections = scene.detections();
    let layout = Layout::packed(PixelFormat::Gray8, 1, 1).unwrap();
    let _loans = [publisher.try_loan_owned(&layout).unwrap(), publisher.try_loan_owned(&layout).unwrap()];
    let error = ask(&mut publisher, &mut detections, 1, LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoFreeSlot);
}

#[test]
fn answer_with_and_without_a_detector_ends_when_cancelled() {
    let scene = Scene::default();
    let mut publisher = scene.publishing().create("cam0").unwrap();
    publisher.set_cancel_token(CancelToken::with_check(|| true));
    let mut finder = Some(scene.finder());
    let mut detections = scene.detections();
    let layout = Layout::packed(PixelFormat::Gray8, 1, 1).unwrap();
    for _ in 0..2 {
        let answer = publisher.send_and_wait(&layout, &FrameInfo::default(), &[0], &mut detections, LONG);
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Interrupted);
        finder.take();
    }
}
