//! The bytes of a batch of detections: `spec/detections.md`.

use super::{Detection, DetectionFlags, Detections};
use crate::error::{Error, ErrorKind};
use crate::frame::FrameId;

const MAGIC: [u8; 4] = *b"FLDT";
const MAJOR: u16 = 1;
const MINOR: u16 = 0;
const HEADER_BYTES: usize = 64;
const BOX_BYTES: usize = 48;
const MAX_COUNT: usize = 1 << 24;
const MAX_TEXT_BYTES: usize = 1 << 20;

pub(super) fn encode(
    frame: &FrameId,
    model: &str,
    labels: &[impl AsRef<str>],
    boxes: &[Detection],
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    let texts = || [frame.channel.as_str(), model].into_iter().chain(labels.iter().map(AsRef::as_ref));
    let longest = texts().map(str::len).max().unwrap_or(0);
    if boxes.len() > MAX_COUNT || labels.len() > MAX_COUNT || longest > MAX_TEXT_BYTES {
        return Err(Error::new(
            ErrorKind::FrameTooLarge,
            format!(
                "a batch has at most {MAX_COUNT} boxes and labels, and {MAX_TEXT_BYTES} bytes in a text; found {} \
                 boxes, {} labels, a text of {longest} bytes",
                boxes.len(),
                labels.len()
            ),
        ));
    }
    bytes.clear();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&MAJOR.to_le_bytes());
    bytes.extend_from_slice(&MINOR.to_le_bytes());
    for word in [frame.epoch, frame.sequence, frame.timestamp_ns, frame.published_ns] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let counts = [boxes.len() as u32, BOX_BYTES as u32, 2 + labels.len() as u32, HEADER_BYTES as u32];
    for word in [frame.width, frame.height].into_iter().chain(counts) {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    debug_assert_eq!(bytes.len(), HEADER_BYTES);
    for found in boxes {
        for number in [found.x, found.y, found.width, found.height, found.rotation, found.score] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&found.class_id.to_le_bytes());
        bytes.extend_from_slice(&found.flags.0.to_le_bytes());
        bytes.extend_from_slice(&found.track_id.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
    }
    for text in texts() {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    Ok(())
}

/// Takes bytes off the front; everything read from a batch goes through it.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, len: usize) -> Result<&'b [u8], Error> {
        let (head, tail) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| damaged(format!("it ends {} bytes too early", len - self.0.len())))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    fn f32(&mut self) -> Result<f32, Error> {
        self.array().map(f32::from_le_bytes)
    }
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Damaged, format!("a batch of detections is damaged: {what}"))
        .with_hint("see spec/detections.md for what its publisher should have sent")
}

pub(super) fn decode(bytes: &[u8]) -> Result<Detections, Error> {
    let mut reader = Reader(bytes);
    if reader.array::<4>()? != MAGIC {
        return Err(damaged("it does not begin with \"FLDT\""));
    }
    let (major, minor) = (u16::from_le_bytes(reader.array()?), u16::from_le_bytes(reader.array()?));
    if major != MAJOR {
        return Err(Error::new(
            ErrorKind::IncompatibleVersion,
            format!("detections of version {major}.{minor}, this framelane reads {MAJOR}.{MINOR}"),
        )
        .with_hint("use the same major version of framelane on both sides"));
    }
    let mut frame = FrameId {
        channel: String::new(),
        epoch: reader.u64()?,
        sequence: reader.u64()?,
        timestamp_ns: reader.u64()?,
        published_ns: reader.u64()?,
        width: reader.u32()?,
        height: reader.u32()?,
    };
    let box_count = reader.u32()? as usize;
    let box_bytes = reader.u32()? as usize;
    let text_count = reader.u32()? as usize;
    let header_bytes = reader.u32()? as usize;
    // A later minor version may have a longer header and longer boxes. Their new fields are skipped.
    if box_bytes < BOX_BYTES || header_bytes < HEADER_BYTES || text_count < 2 {
        return Err(damaged(format!(
            "boxes of {box_bytes} bytes, header of {header_bytes}, {text_count} texts"
        )));
    }
    reader.take(header_bytes - HEADER_BYTES)?;
    if box_count.checked_mul(box_bytes).is_none_or(|len| len > reader.0.len()) {
        return Err(damaged(format!("{box_count} boxes in {} bytes", reader.0.len())));
    }
    let boxes = (0..box_count).map(|_| decode_box(reader.take(box_bytes)?)).collect::<Result<Vec<_>, _>>()?;
    // Each text takes four bytes at least: nothing is reserved for texts that cannot be there.
    if text_count > reader.0.len() / 4 {
        return Err(damaged(format!("{text_count} texts in {} bytes", reader.0.len())));
    }
    let mut texts = (0..text_count).map(|_| {
        let len = reader.u32()? as usize;
        let text = std::str::from_utf8(reader.take(len)?).map_err(|_| damaged("a text is not UTF-8"))?;
        Ok(text.to_owned())
    });
    let mut next = || texts.next().unwrap_or_else(|| Err(damaged("a text is missing")));
    frame.channel = next()?;
    let model = next()?;
    let labels = texts.collect::<Result<Vec<String>, Error>>()?;
    Ok(Detections { frame, model, labels, boxes, sequence: 0, published_ns: 0, dropped: 0 })
}

fn decode_box(bytes: &[u8]) -> Result<Detection, Error> {
    let mut reader = Reader(bytes);
    Ok(Detection {
        x: reader.f32()?,
        y: reader.f32()?,
        width: reader.f32()?,
        height: reader.f32()?,
        rotation: reader.f32()?,
        score: reader.f32()?,
        class_id: reader.u32()?,
        flags: DetectionFlags(reader.u32()?),
        track_id: reader.u64()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch() -> impl Strategy<Value = Detections> {
        let found = (prop::array::uniform6(-1e6_f32..1e6), any::<u32>(), any::<u64>(), any::<u32>())
            .prop_map(|([x, y, width, height, rotation, score], class_id, track_id, flags)| Detection {
                x,
                y,
                width,
                height,
                rotation,
                score,
                class_id,
                track_id,
                flags: DetectionFlags(flags),
            });
        let frame =
            (any::<[u64; 4]>(), any::<[u32; 2]>(), ".{0,20}").prop_map(|(words, size, channel)| FrameId {
                channel,
                epoch: words[0],
                sequence: words[1],
                timestamp_ns: words[2],
                published_ns: words[3],
                width: size[0],
                height: size[1],
            });
        let texts = (".{0,20}", prop::collection::vec(".{0,10}", 0..5));
        (frame, texts, prop::collection::vec(found, 0..20)).prop_map(|(frame, (model, labels), boxes)| {
            Detections { frame, model, labels, boxes, sequence: 0, published_ns: 0, dropped: 0 }
        })
    }

    proptest! {
        #[test]
        fn a_batch_comes_back_as_it_was(batch in batch()) {
            let mut bytes = Vec::new();
            batch.encode(&mut bytes).unwrap();
            prop_assert_eq!(Detections::decode(&bytes).unwrap(), batch);
        }

        #[test]
        fn a_batch_cut_short_is_refused(batch in batch(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            batch.encode(&mut bytes).unwrap();
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(Detections::decode(&bytes).is_err());
        }

        #[test]
        fn any_bytes_give_a_batch_or_an_error(
            batch in batch(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
        ) {
            let mut bytes = Vec::new();
            batch.encode(&mut bytes).unwrap();
            for (index, value) in changes {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            let _ = Detections::decode(&bytes);
        }
    }
}
