use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1000;

/// Returns the frames in the pieces, and the error that ended them.
fn frames<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Vec<u8>>, Option<Error>) {
    let (mut buffer, mut found) = (FrameBuffer::new(LIMIT), Vec::new());
    for mut piece in pieces {
        while !piece.is_empty() {
            let room = buffer.room();
            assert!(!room.is_empty());
            let count = room.len().min(piece.len());
            room[..count].copy_from_slice(&piece[..count]);
            piece = &piece[count..];
            match buffer.advance(count) {
                Ok(true) => found.push(buffer.jpeg().to_vec()),
                Ok(false) => {}
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn stream(jpegs: &[Vec<u8>]) -> Vec<u8> {
    jpegs.iter().flat_map(|jpeg| [&length_line(jpeg.len())[..], jpeg].concat()).collect()
}

/// Returns the number of answers in the pieces.
fn answers<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<usize, Error> {
    let mut answers = Answers::default();
    pieces.into_iter().try_fold(0, |sum, piece| Ok(sum + answers.take(piece)?))
}

#[test]
fn a_length_line_is_digits_padded_with_spaces_on_the_right() {
    assert_eq!(&length_line(1), b"1               ");
    assert_eq!(&length_line(123_456), b"123456          ");
}

#[test]
fn two_frames_arrive_whole_however_they_are_split() {
    let jpegs = [b"first".to_vec(), b"the second".to_vec()];
    let bytes = stream(&jpegs);
    for at in 0..=bytes.len() {
        for next in at..=bytes.len() {
            let (found, error) = frames([&bytes[..at], &bytes[at..next], &bytes[next..]]);
            assert_eq!(found, jpegs, "split at {at} and {next}");
            assert!(error.is_none());
        }
    }
    assert_eq!(frames(bytes.chunks(1)).0, jpegs);
}

#[test]
fn text_that_is_no_length_is_refused_and_not_shown() {
    for (line, found) in [
        (b"-1              ", "found text"),
        (b"+-1             ", "found text"),
        (b"- 1             ", "found text"),
        (b"abc12           ", "found text"),
        (b"0x10            ", "length 0"),
        (b"                ", "found padding"),
        (b"GET / HTTP/1.1\r\n", "found HTTP"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01", "found a JPEG"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcde", "found TLS"),
        (b"\x1b]0;owned\x07\xe2\x80\xaeabc", "found binary data"),
        (b"0               ", "length 0"),
        (b"000             ", "length 0"),
        (b"1001            ", "length 1001"),
        (b"9999999999999999", "length 9999999999999999"),
    ] {
        // The fault is reported at its last byte, not earlier and not later.
        assert!(frames([&line[..15]]).1.is_none());
        let (none, error) = frames([&line[..]]);
        let error = error.unwrap();
        assert!(none.is_empty() && error.message().ends_with(found), "{error}");
        assert!(error.message().starts_with("expected") && error.hint().is_some(), "{error}");
    }
}

#[test]
fn length_is_taken_as_atoi_and_int_take_it() {
    for (line, length) in [
        (b"1000            ", 1000),
        (b"0000000000000007", 7),
        (b"7               ", 7),
        (b"+1              ", 1),
        (b"+0012           ", 12),
        (b" 1              ", 1),
        (b"              12", 12),
        (b"1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\x0012", 12),
        (b"12\n             ", 12),
        (b"12\r\n\0\0\0\0\0\0\0\0\0\0\0\0", 12),
        (b"\t 999 \n\0\0\0\0\0\0\0\0\0", 999),
        // atoi stops at the first byte that is no digit: another length was in the buffer before, or a name
        // follows.
        (b"12abc           ", 12),
        (b"12.jpg          ", 12),
        (b"99\x00456          ", 99),
        (b"1 2             ", 1),
        (b"1.5             ", 1),
        (b"5\0\xff\xd8\xff\xe0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a", 5),
    ] {
        let jpeg = vec![9; length];
        let (found, error) = frames([&line[..], &jpeg]);
        assert!(error.is_none(), "{}: {error:?}", line.escape_ascii());
        assert_eq!(found, [jpeg], "{}", line.escape_ascii());
    }
}

#[test]
fn memory_follows_what_has_arrived_and_stays_below_the_limit() {
    const MAX: usize = 10 << 20;
    let mut buffer = FrameBuffer::new(MAX);
    buffer.room().copy_from_slice(&length_line(MAX));
    assert!(!buffer.advance(LENGTH_BYTES).unwrap());
    let mut arrived = 0;
    loop {
        let room = buffer.room().len();
        assert!(buffer.memory_bytes() <= FIRST_ROOM_BYTES.max(2 * arrived), "{arrived} bytes have come");
        // Less than there is room for, as sockets have it.
        let count = room.min(40_000);
        arrived += count;
        if buffer.advance(count).unwrap() {
            break;
        }
    }
    assert_eq!((arrived, buffer.jpeg().len(), buffer.memory_bytes()), (MAX, MAX, MAX));
    assert!(buffer.is_between_frames());
    // The next, smaller one fits in: there is room for all of it.
    buffer.room().copy_from_slice(&length_line(5 << 20));
    assert!(!buffer.advance(LENGTH_BYTES).unwrap());
    assert_eq!((buffer.room().len(), buffer.memory_bytes()), (5 << 20, MAX));
    assert_eq!(buffer.progress(), format!("0 of the {} bytes of a JPEG", 5 << 20));
}

#[test]
fn an_answer_is_found_however_it_is_split() {
    let bytes = [&ANSWER[..], b"\0", ANSWER, b"\r\n", ANSWER].concat();
    for at in 0..=bytes.len() {
        assert_eq!(answers([&bytes[..at], &bytes[at..]]).unwrap(), 3, "split at {at}");
    }
    assert_eq!(answers(bytes.chunks(1)).unwrap(), 3);
    assert_eq!(answers([&ANSWER[..17]]).unwrap(), 0);
}

#[test]
fn text_that_is_no_answer_is_refused_and_not_shown() {
    for (bytes, found) in [
        (&b"received messages!"[..], "found 18 bytes, of which 3 match"),
        (b"recieved message\0\0", "found 18 bytes, of which 16 match"),
        (b"recieved messages!OK", "found 2 bytes of text"),
        (b"HTTP/1.1 400 Bad Request\r\nServer: something", "found 32 bytes of HTTP"),
        (b"\x1b[31m\xe2\x80\xae", "found 8 bytes of binary data"),
        (&[b' '; 33], "found 32 bytes of padding"),
    ] {
        let error = answers([bytes]).unwrap_err();
        assert!(error.message().ends_with(found) && error.hint().is_some(), "{error}");
        assert!(answers(bytes.chunks(1)).is_err());
    }
}

const NEARLY_RIGHT: &str = "[ 0-3]{0,60}(recieved messages![ \r\n\0]{0,2}){0,3}.{0,3}";

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in(
        jpegs in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..6),
        size in 1_usize..60,
    ) {
        let bytes = stream(&jpegs);
        let (found, error) = frames(bytes.chunks(size));
        prop_assert_eq!(found, jpegs);
        prop_assert!(error.is_none());
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn nearly_right_bytes_are_frames_or_an_error(bytes in NEARLY_RIGHT) {
        check(bytes.as_bytes());
    }
}
