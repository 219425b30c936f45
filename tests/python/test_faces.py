"""The demo's face detector against positions of faces that were measured by eye."""

import pathlib
import sys

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

ROOT = pathlib.Path(__file__).parents[2]
CACHE = ROOT / ".cache"
sys.path.insert(0, str(ROOT / "examples" / "faces"))
from centerface import FaceDetector

# Frame (from 0): left, top, right, bottom. Each is the face from hairline or helmet to chin.
CARPHONE = {
    0: (66, 38, 112, 98),
    10: (59, 37, 107, 97),
    20: (64, 36, 111, 97),
    30: (58, 40, 105, 98),
    40: (52, 40, 103, 101),
    50: (54, 37, 103, 100),
    60: (54, 33, 106, 99),
    70: (50, 29, 103, 95),
    80: (42, 30, 95, 90),
    90: (36, 40, 87, 97),
    100: (38, 38, 91, 98),
    110: (41, 35, 92, 98),
}
BIKES = {
    30: (258, 13, 317, 85),  # a man between cars with bright headlights
    34: (322, 13, 383, 85),
    38: (409, 12, 473, 86),
    42: (531, 12, 592, 88),
    76: (421, 74, 441, 99),  # a cyclist in profile
    78: (423, 68, 443, 93),
    103: (407, 57, 430, 84),
    112: (410, 37, 433, 63),
    118: (414, 32, 437, 58),
    122: (416, 28, 439, 54),
    130: (416, 19, 439, 45),
    136: (416, 16, 440, 42),
}
# Cars seen from above, headlights, traffic, a street, a parked bicycle and legs of a passer-by.
BIKES_WITHOUT_FACES = [0, 20, 46, 50, 60, 70, 88, 100, 140, 160, 180, 187, 190, 200, 220, 249]


@pytest.fixture(scope="module")
def detector():
    model = CACHE / "centerface.onnx"
    if not model.is_file():
        pytest.skip("demo: the face detector is missing; run scripts/setup demo")
    return FaceDetector(model)


def frames(name, wanted):
    path = CACHE / name
    if not path.is_file():
        pytest.skip(f"demo: {name} is missing; run scripts/setup demo")
    video = cv2.VideoCapture(str(path))
    for index in range(max(wanted) + 1):
        read, image = video.read()
        assert read, f"{name} ends before frame {index}"
        if index in wanted:
            yield index, image


def overlap(a, b):
    """Returns the intersection of two boxes divided by their union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


# The videos alternate because a change of size must not change the result.
@pytest.mark.parametrize(
    "name, expected", [("carphone.mp4", CARPHONE), ("bikes.mp4", BIKES), ("carphone.mp4", CARPHONE)]
)
def test_detector_on_frames_with_a_face_boxes_the_face(detector, name, expected):
    for index, image in frames(name, expected):
        boxes, scores = detector.find(image)
        assert len(boxes) == len(scores) == 1, f"frame {index}: {boxes}"
        assert overlap(boxes[0], expected[index]) > 0.6, f"frame {index}: {boxes[0]}"


def test_detector_on_frames_without_a_face_finds_nothing(detector):
    for index, image in frames("bikes.mp4", BIKES_WITHOUT_FACES):
        boxes, scores = detector.find(image)
        assert boxes.shape == (0, 4) and scores.shape == (0,), f"frame {index}: {boxes}"


def test_detector_on_a_large_image_returns_pixels_of_that_image(detector):
    [(_, image)] = frames("carphone.mp4", [0])
    large = cv2.resize(image, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    boxes, _ = detector.find(large)
    assert len(boxes) == 1
    assert overlap(boxes[0] / 8, CARPHONE[0]) > 0.6


@pytest.mark.parametrize("shape", [(1, 1, 3), (31, 33, 3), (2000, 3, 3)])
def test_detector_on_a_black_image_of_any_shape_finds_nothing(detector, shape):
    boxes, _ = detector.find(np.zeros(shape, np.uint8))
    assert len(boxes) == 0
