//! Going on where a connection was lost, when every frame is wanted.

use std::time::Duration;

use framelane::{Origin, SubscriberOptions};

/// The most slots that a ring can have.
const MOST_SLOTS: usize = 128;

/// Where in the channel to go on: behind `last`, the frame that the other side has already. `None` when nothing is there.
///
/// In a channel that is itself fed by a link the frames have other numbers than those of their first publisher: the ring is
/// looked through for the one that is meant. When it is gone from the ring, all that is there came after it.
pub(crate) fn behind(options: &SubscriberOptions, channel: &str, last: Origin) -> Option<Origin> {
    let open =
        |after: Origin| options.clone().wait(Some(Duration::ZERO)).after(Some(after)).open(channel).ok();
    let epoch = open(last)?.epoch();
    if epoch == last.epoch {
        return Some(last);
    }
    let mut all = open(Origin { epoch, sequence: 0 })?;
    let mut before_all = None;
    for _ in 0..MOST_SLOTS {
        let Ok(frame) = all.recv_timeout(Duration::ZERO) else { break };
        // Of the present epoch, also a frame of a publisher that has died: that is where numbers are looked for.
        let here = Origin { epoch, sequence: frame.sequence() };
        if frame.origin() == last {
            return Some(here);
        }
        before_all.get_or_insert(Origin { sequence: here.sequence - 1, ..here });
    }
    before_all
}

#[cfg(test)]
mod tests {
    use framelane::{FrameInfo, Layout, Mode, PixelFormat, PublisherOptions};

    use super::*;

    #[test]
    fn a_relay_goes_on_behind_the_frame_that_is_meant_or_with_all_that_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
        let layout = Layout::packed(PixelFormat::Gray8, 1, 1).unwrap();
        for sequence in 101..=104 {
            let info = FrameInfo { origin: Some(Origin { epoch: 7, sequence }), ..FrameInfo::default() };
            publisher.send(&layout, &info, &[0]).unwrap();
        }
        let options = SubscriberOptions::new().directory(directory.path()).mode(Mode::Every);
        let epoch = publisher.epoch();
        let behind = |last| behind(&options, "cam0", last);
        assert_eq!(behind(Origin { epoch: 7, sequence: 102 }), Some(Origin { epoch, sequence: 2 }));
        assert_eq!(behind(Origin { epoch: 7, sequence: 90 }), Some(Origin { epoch, sequence: 0 }));
        // A connection that broke within the first frame of an epoch: all of it is still to come.
        let nothing_yet = crate::client::known((epoch, 0)).unwrap();
        assert_eq!(behind(nothing_yet), Some(nothing_yet));
        assert_eq!(crate::client::known((0, 0)), None);
        // Its own numbers need no search.
        assert_eq!(behind(Origin { epoch, sequence: 3 }), Some(Origin { epoch, sequence: 3 }));
        publisher.close();
        assert_eq!(behind(Origin { epoch: 7, sequence: 102 }), None);
    }
}
