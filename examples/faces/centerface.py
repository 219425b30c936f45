"""The CenterFace face detector, run by OpenCV.

The network (Xu et al., 2019, https://arxiv.org/abs/1911.03599) divides its input into cells of 4×4 pixels.
For each cell it returns a score, the size of a face whose centre is in the cell, and the exact place of its
centre.
"""

from __future__ import annotations

import os

import cv2
import numpy as np

CELL = 4  # pixels of the input in each direction
MIN_SCORE = 0.6  # lower scores mark headlights and reflections as well as faces
MULTIPLE = 32  # the input's width and height
# Scores, sizes, centres and landmarks. OpenCV 5 refuses to leave the landmarks out.
OUTPUTS = ("537", "538", "539", "540")


class FaceDetector:
    """Finds faces in BGR images of any size. One detector serves one thread."""

    def __init__(
        self, model: str | os.PathLike[str], min_score: float = MIN_SCORE, max_side: int = 640
    ) -> None:
        """Reads the network from an ONNX file. Images with a side above `max_side` pixels are scaled down."""
        self._model = os.fspath(model)
        self._network = cv2.dnn.readNetFromONNX(self._model)
        self._input_shape: tuple[int, ...] | None = None
        self._min_score = min_score
        self._max_side = max_side

    def find(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns boxes (N, 4) and scores (N,), best first.

        A box is left, top, right, bottom in pixels of `image`. Blocks until the network has run.
        """
        height, width = image.shape[:2]
        scale = min(1.0, self._max_side / max(height, width))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        # Black borders on the right and below keep both the aspect ratio and the origin.
        bottom, right = (-side % MULTIPLE for side in image.shape[:2])
        image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        # A network of OpenCV 4 returns wrong scores when the shape of its input changes.
        if self._input_shape not in (None, image.shape):
            self._network = cv2.dnn.readNetFromONNX(self._model)
        self._input_shape = image.shape
        self._network.setInput(cv2.dnn.blobFromImage(image, swapRB=True))
        scores, sizes, centres, _ = (output[0] for output in self._network.forward(OUTPUTS))

        rows, columns = np.nonzero(scores[0] >= self._min_score)
        found = scores[0, rows, columns]
        face_height, face_width = np.exp(sizes[:, rows, columns]) * CELL
        offset_y, offset_x = centres[:, rows, columns]
        left = (columns + offset_x + 0.5) * CELL - face_width / 2
        top = (rows + offset_y + 0.5) * CELL - face_height / 2
        boxes = np.stack([left, top, face_width, face_height], axis=1)
        # Neighbouring cells report the same face.
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), found.tolist(), self._min_score, 0.3)
        kept = np.asarray(kept, int).reshape(-1)
        boxes, found = boxes[kept] / scale, found[kept]
        boxes[:, 2:] += boxes[:, :2]
        limits = np.array([width, height, width, height])
        return np.clip(boxes, 0, limits).astype(np.float32), found.astype(np.float32)
