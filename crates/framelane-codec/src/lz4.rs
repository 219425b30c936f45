//! One block of lz4 for a frame.

use framelane::{Error, ErrorKind, Layout};
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use crate::planes;

/// Compresses with memory that is kept from frame to frame.
pub(crate) struct Compressor {
    table: CompressTable,
    packed: Vec<u8>,
    /// Buffer as long as the longest block so far could have been: growing `out` to that each time would
    /// write zeros each time.
    block: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new() -> Self {
        Compressor { table: CompressTable::large(), packed: Vec::new(), block: Vec::new() }
    }

    pub(crate) fn encode(&mut self, layout: &Layout, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let packed = if layout.is_packed() {
            &bytes[..layout.size_bytes()]
        } else {
            self.packed.clear();
            planes::pack(layout, bytes, &mut self.packed);
            &self.packed
        };
        let most = get_maximum_output_size(packed.len());
        if self.block.len() < most {
            self.block.resize(most, 0);
        }
        let length = compress_into_with_table(packed, &mut self.block, &mut self.table)
            .map_err(|error| Error::new(ErrorKind::InternalFailure, format!("lz4: {error}")))?;
        out.extend_from_slice(&self.block[..length]);
        Ok(())
    }
}

/// Decompresses straight into the target when it has no padding.
#[derive(Default)]
pub(crate) struct Decompressor {
    packed: Vec<u8>,
}

impl Decompressor {
    pub(crate) fn decode(&mut self, payload: &[u8], layout: &Layout, target: &mut [u8]) -> Result<(), Error> {
        if layout.is_packed() {
            return decompress(payload, target);
        }
        self.packed.resize(planes::packed_bytes(layout), 0);
        decompress(payload, &mut self.packed)?;
        planes::unpack(&self.packed, layout, target);
        Ok(())
    }
}

fn decompress(payload: &[u8], target: &mut [u8]) -> Result<(), Error> {
    match decompress_into(payload, target) {
        Ok(length) if length == target.len() => Ok(()),
        Ok(length) => Err(Error::new(
            ErrorKind::Damaged,
            format!("expected lz4 of {} bytes, found {length}", target.len()),
        )),
        Err(error) => Err(Error::new(
            ErrorKind::Damaged,
            format!("expected lz4 of {} bytes, found other bytes: {error}", target.len()),
        )),
    }
}
