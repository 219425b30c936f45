"""plain_reader.py CHANNEL FRAMES: checks the frames of examples/plain-mmap/newest_frame.py."""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples" / "plain-mmap"))
import newest_frame

reader = newest_frame.NewestFrame(sys.argv[1])
frames, last, shapes = 0, 0, set()
print("ready")
while frames < int(sys.argv[2]):
    sequence, image, entry = reader.read()
    assert sequence >= last
    if sequence == last:
        continue
    # What plain_mmap.rs publishes: everything follows from the sequence.
    height, width, channels = image.shape
    assert int(entry["version"]) == sequence
    assert (width, height) == (16 + sequence % 300, 8 + sequence % 200), (sequence, image.shape)
    assert channels == {1: 1, 3: 3, 6: 4}[int(entry["format"])] == [1, 3, 4][sequence % 3]
    assert int(entry["timestamp_ns"]) == sequence * 1000
    expected = ((np.arange(height)[:, None] + np.arange(width * channels)) * sequence).astype(np.uint8)
    assert np.array_equal(image.reshape(height, -1), expected), f"frame {sequence} is torn"
    frames, last = frames + 1, sequence
    shapes.add(image.shape)
assert "framelane" not in sys.modules
print("end", frames, last, len(shapes))
