"""Pictures that JPEG keeps well and that no two numbers share: what the stream's peers send and expect."""

import numpy as np


def pattern(number, width, height):
    """BGR: blue rises to the right, green downwards, red by 8 with each frame."""
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width) * 255 // width
    image[..., 1] = (np.arange(height) * 255 // height)[:, None]
    image[..., 2] = 8 * number % 256
    return image
