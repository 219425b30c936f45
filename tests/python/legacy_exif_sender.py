"""An old sender whose JPEGs have EXIF orientations. Says what `cv2.imdecode` makes of each.

Usage: legacy_exif_sender.py PORT FOLDER

Sends a picture with every orientation from 0 to 9, in colour and in gray, in both byte orders. Writes the
pixels that cv2.imdecode returns for picture N into FOLDER/N, and prints "WIDTH HEIGHT CHANNELS" after the
answer to each.
"""

import socket
import struct
import sys
from pathlib import Path

import cv2
import numpy as np

from legacy_pattern import pattern


def with_orientation(jpeg, order, value):
    """The JPEG with an EXIF segment in front, before the JFIF one."""
    tiff = struct.pack(order + "HIH", 42, 8, 2)
    tiff += struct.pack(order + "HHIHH", 0x0103, 3, 1, 6, 0)
    tiff += struct.pack(order + "HHIHH", 0x0112, 3, 1, value, 0)
    exif = b"Exif\0\0" + (b"II" if order == "<" else b"MM") + tiff + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def main():
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    connection = socket.create_connection(("127.0.0.1", port))
    noise = np.random.default_rng(1).integers(0, 60, (31, 50, 3), np.uint8)
    number = 0
    for value in range(10):
        for order in "<>":
            for gray in (False, True):
                image = pattern(value, 50, 31) // 2 + noise
                if gray:
                    image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
                jpeg = with_orientation(cv2.imencode(".jpg", image)[1].tobytes(), order, value)
                seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
                (folder / str(number)).write_bytes(np.ascontiguousarray(seen).tobytes())
                connection.sendall(str(len(jpeg)).ljust(16).encode() + jpeg)
                if connection.recv(32) != b"recieved messages!":
                    sys.exit("the answer is wrong")
                print(seen.shape[1], seen.shape[0], 1 if gray else 3, flush=True)
                number += 1
    connection.close()


main()
