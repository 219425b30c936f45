"""JPEG and H.264 that claims to be enormous, made by hand (ITU-T T.81, ITU-T H.264)."""

import struct


def jpeg(width, height, components=3, tail=b"", restarts=False, progressive=False):
    """A baseline or progressive JPEG whose header claims a size, and whose scan holds `tail`."""
    table = b"\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([1]) * 64
    ids = range(1, components + 1)
    frame = struct.pack(">BHHB", 8, height, width, components) + b"".join(bytes([n, 0x11, 0]) for n in ids)
    frame = b"\xff\xc2" if progressive else b"\xff\xc0", frame
    sof = frame[0] + struct.pack(">H", len(frame[1]) + 2) + frame[1]
    # One code of one bit each: DC difference 0, and the end of the block.
    counts = bytes([1]) + bytes(15)
    huffman = b"".join(
        b"\xff\xc4" + struct.pack(">HB", 20, kind) + counts + bytes([0]) for kind in (0x00, 0x10)
    )
    restart = b"\xff\xdd" + struct.pack(">HH", 4, 1) if restarts else b""
    scan_body = (
        bytes([components])
        + b"".join(bytes([n, 0]) for n in ids)
        + (b"\0\0\0" if progressive else b"\0\x3f\0")
    )
    scan = b"\xff\xda" + struct.pack(">H", len(scan_body) + 2) + scan_body
    return b"\xff\xd8" + table + sof + huffman + restart + scan + tail + b"\xff\xd9"


def progressive_bomb(width, height, scans):
    """A progressive JPEG with many scans of a few bytes, each a pass over all blocks."""
    whole = jpeg(width, height, 1, progressive=True)[:-2]
    at = whole.index(b"\xff\xda")
    head, scan = whole[:at], whole[at:]
    # Refinements of no coefficient: an end of band run of 32,767 blocks is 15 bits after its code.
    return head + scan + (scan + b"\0") * scans + b"\xff\xd9"


class Bits:
    """Writes bits, Exp-Golomb codes and NAL units."""

    def __init__(self):
        self.bits = []

    def u(self, count, value):
        """`count` bits."""
        self.bits += [(value >> shift) & 1 for shift in range(count - 1, -1, -1)]
        return self

    def ue(self, *values):
        """Unsigned Exp-Golomb codes."""
        for value in values:
            width = (value + 1).bit_length()
            self.u(width - 1, 0).u(width, value + 1)
        return self

    def nal(self, header):
        """A NAL unit in Annex B form."""
        bits = self.bits + [1]
        bits += [0] * (-len(bits) % 8)
        data = bytes(int("".join(map(str, bits[at : at + 8])), 2) for at in range(0, len(bits), 8))
        escaped, zeros = bytearray(), 0
        for byte in data:
            if zeros >= 2 and byte <= 3:
                escaped.append(3)
                zeros = 0
            escaped.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([header]) + bytes(escaped)


def sps(width, height, *, profile=66, references=1, poc_type=2, cycle=0):
    """A sequence parameter set. Sizes are in pixels, rounded up to macroblocks."""
    bits = Bits().u(8, profile).u(8, 0).u(8, 51).ue(0)
    if profile == 100:
        bits.ue(1, 0, 0).u(1, 0).u(1, 0)
    bits.ue(0, poc_type)
    if poc_type == 0:
        bits.ue(0)
    elif poc_type == 1:
        bits.u(1, 0).ue(0, 0, cycle)
        for _ in range(min(cycle, 255)):
            bits.ue(0)
    bits.ue(references).u(1, 0).ue((width + 15) // 16 - 1, (height + 15) // 16 - 1)
    return bits.u(1, 1).u(1, 1).u(1, 0).u(1, 0).nal(0x67)


def pps(groups=0):
    """A picture parameter set."""
    bits = Bits().ue(0, 0).u(1, 0).u(1, 0).ue(groups)
    if groups:
        bits.ue(0)
        for _ in range(groups + 1):
            bits.ue(0)
    return bits.ue(0, 0).u(1, 0).u(2, 0).ue(0, 0, 0).u(1, 1).u(1, 0).u(1, 0).nal(0x68)


def idr(slice_type=7, first=0, tail=b""):
    """An IDR slice whose macroblocks are missing."""
    bits = Bits().ue(first, slice_type, 0).u(4, 0).ue(0)
    bits.u(1, 0).u(1, 0).ue(0).ue(0)
    for byte in tail:
        bits.u(8, byte)
    return bits.nal(0x65)


def h264(width, height, tail=b"\x5a" * 64, **fields):
    """An access unit of one IDR picture that claims a size."""
    return sps(width, height, **fields) + pps() + idr(tail=tail)
