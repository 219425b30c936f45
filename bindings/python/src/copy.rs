//! Copies pixels between memory of any stride and packed memory. Raw pointers throughout: other threads
//! of Python may write to a user's array meanwhile, which no reference may point to.

use crate::array::Source;
use crate::shape::View;

/// Copies `source` to `target`, packed, in the order of the axes.
///
/// # Safety
/// Every element that the shape and strides of `source` name can be read; `target` has room for
/// `source.size_bytes()` and does not overlap them.
pub(crate) unsafe fn pack(source: &Source, target: *mut u8) {
    let [rows, pixels, channels] = source.shape;
    let item = source.item_bytes;
    let row_bytes = pixels * channels * item;
    // An axis of one element has no meaningful stride.
    let packed_row = (channels == 1 || source.strides[2] == item as isize)
        && (pixels == 1 || source.strides[1] == (channels * item) as isize);
    if packed_row && (rows == 1 || source.strides[0] == row_bytes as isize) {
        // SAFETY: the elements lie back to back, so this range is exactly all of them.
        unsafe { std::ptr::copy_nonoverlapping(source.data, target, rows * row_bytes) };
        return;
    }
    for row in 0..rows {
        // SAFETY: the row exists, so its first element lies within the array.
        let from = unsafe { source.data.offset(row as isize * source.strides[0]) };
        // SAFETY: `row` < rows, so this lies within the target.
        let to = unsafe { target.add(row * row_bytes) };
        if packed_row {
            // SAFETY: the elements of the row lie back to back, so this range is exactly the row.
            unsafe { std::ptr::copy_nonoverlapping(from, to, row_bytes) };
            continue;
        }
        // SAFETY: the caller's promise, restricted to one row.
        unsafe { gather(from, to, source) };
    }
}

/// One row, element by element.
///
/// # Safety
/// As [`pack`], for the row that begins at `from` and its place `to`.
unsafe fn gather(from: *const u8, to: *mut u8, source: &Source) {
    match (source.item_bytes, source.shape[2]) {
        // SAFETY: the caller's promise; the element size is that of the type.
        (1, 3) => unsafe { gather_as::<u8, 3>(from, to, source) },
        // SAFETY: as above.
        (1, 4) => unsafe { gather_as::<u8, 4>(from, to, source) },
        // SAFETY: as above.
        (1, _) => unsafe { gather_as::<u8, 0>(from, to, source) },
        // SAFETY: as above.
        (2, _) => unsafe { gather_as::<u16, 0>(from, to, source) },
        // SAFETY: as above.
        (4, 3) => unsafe { gather_as::<u32, 3>(from, to, source) },
        // SAFETY: as above.
        (4, _) => unsafe { gather_as::<u32, 0>(from, to, source) },
        // SAFETY: as above.
        (_, _) => unsafe { gather_as::<u64, 0>(from, to, source) },
    }
}

/// `C` channels known to the compiler, or 0: as many as the source has.
///
/// # Safety
/// As [`gather`], with elements of the size of `T`.
unsafe fn gather_as<T: Copy, const C: usize>(from: *const u8, to: *mut u8, source: &Source) {
    let channels = if C == 0 { source.shape[2] } else { C };
    for pixel in 0..source.shape[1] {
        let start = pixel as isize * source.strides[1];
        for channel in 0..channels {
            let offset = start + channel as isize * source.strides[2];
            // SAFETY: pixel and channel exist, so the element lies within the array.
            let element = unsafe { from.offset(offset) };
            // SAFETY: an element of the array, which may be unaligned.
            let value = unsafe { element.cast::<T>().read_unaligned() };
            // SAFETY: within the row of the target, since pixel and channel are in range.
            let place = unsafe { to.cast::<T>().add(pixel * channels + channel) };
            // SAFETY: room for one element, owned by this copy.
            unsafe { place.write_unaligned(value) };
        }
    }
}

/// Copies the rows of `view`, which may have padding between them, to packed memory.
///
/// # Safety
/// `target` has room for the elements of `view` and does not overlap `payload`.
pub(crate) unsafe fn pack_view(payload: &[u8], view: &View, target: *mut u8) {
    let row_bytes = view.shape[1] * view.shape[2] * view.depth.size_bytes();
    for row in 0..view.shape[0] {
        let start = view.offset_bytes + row * view.strides[0];
        let bytes = &payload[start..start + row_bytes];
        // SAFETY: row after row, within the room that the caller promises.
        let place = unsafe { target.add(row * row_bytes) };
        // SAFETY: `bytes` was bounds-checked above; the caller promises the room.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, row_bytes) };
    }
}
