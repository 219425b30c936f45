"""Finds the white bar of the test pattern: a box that moves with the picture."""

import numpy as np

labels = ["bar"]


def detect(image):
    rows = image[: image.shape[0] // 2].reshape(image.shape[0] // 2, image.shape[1], -1)
    # The bar is white down to the middle, unlike the digits.
    columns = np.flatnonzero((rows[-1:].min(axis=2) > 240).all(axis=0))
    if len(columns) == 0:
        return np.zeros((0, 4), np.float32)
    return np.array([[columns[0], 0, columns[-1] + 1, len(rows)]], np.float32), np.ones(1, np.float32)
