"""An old writer, written from the format alone: header, then pixels, no lock.

Usage: legacy_writer.py NAME AREA_WIDTH AREA_HEIGHT STREAMS. Each line on standard input is one command,
answered with "ok":

    frame INDEX WIDTH HEIGHT TYPE VALUE    writes a frame whose bytes are all VALUE
    half INDEX WIDTH HEIGHT TYPE VALUE     writes its header and the upper half
    scribble INDEX SECONDS                 rewrites the area with changing bytes, without a pause
    raw INDEX WORD WORD WORD               writes a header alone
    text WORDS...                          writes a string from offset 0, as the old programs send text
"""

import itertools
import mmap
import os
import struct
import sys
import time

name, width, height, streams = sys.argv[1], *map(int, sys.argv[2:5])
area = 12 + width * height * 3
descriptor = os.open(f"/dev/shm/{name}", os.O_RDWR | os.O_CREAT, 0o600)
if os.fstat(descriptor).st_size < streams * area:
    os.ftruncate(descriptor, streams * area)
memory = mmap.mmap(descriptor, streams * area)
ELEMENT_BYTES = [1, 1, 2, 2, 4, 4, 8, 2]

for line in sys.stdin:
    command, *words = line.split()
    if command in ("frame", "half"):
        index, columns, rows, kind, value = map(int, words)
        size = columns * rows * ELEMENT_BYTES[kind & 7] * ((kind >> 3) + 1)
        if command == "half":
            size //= 2
        start = index * area
        memory[start : start + 12] = struct.pack("=iii", columns, rows, kind)
        memory[start + 12 : start + 12 + size] = bytes([value]) * size
    elif command == "scribble":
        start, end = int(words[0]) * area + 12, (int(words[0]) + 1) * area
        until = time.monotonic() + float(words[1])
        for value in itertools.cycle(range(100, 256)):
            memory[start:end] = bytes([value]) * (end - start)
            if time.monotonic() > until:
                break
        memory[start:end] = bytes([1]) * (end - start)
    elif command == "raw":
        start = int(words[0]) * area
        memory[start : start + 12] = struct.pack("=iii", *map(int, words[1:]))
    elif command == "text":
        memory[0 : len(" ".join(words)) + 1] = " ".join(words).encode() + b"\0"
    print("ok", flush=True)
