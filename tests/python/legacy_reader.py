"""An old reader, written from the format alone: maps the file, skips 12 bytes, takes 1080 x 1920 x 3.

Usage: legacy_reader.py NAME [INDEX]. For each line on standard input prints the first pixel, the last pixel
and the sum of all bytes of the frame that is there, then what the header says, which it does not use.
"""

import mmap
import os
import struct
import sys

import numpy as np

AREA = 12 + 1080 * 1920 * 3
name, index = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
descriptor = os.open(f"/dev/shm/{name}", os.O_RDONLY)
memory = mmap.mmap(descriptor, (index + 1) * AREA, prot=mmap.PROT_READ)
for _ in sys.stdin:
    start = index * AREA
    header = struct.unpack_from("=iii", memory, start)
    image = np.frombuffer(memory, np.uint8, 1080 * 1920 * 3, start + 12).reshape(1080, 1920, 3)
    print(*image[0, 0], *image[-1, -1], int(image.sum(dtype=np.int64)), *header, flush=True)
