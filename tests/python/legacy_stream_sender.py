"""An old sender, written from the format alone: for each frame 16 bytes of length, the JPEG, then an answer
is read.

Usage: legacy_stream_sender.py HOST PORT WIDTH HEIGHT FRAMES [--bytewise] [--quality N] [--gray]

Sends FRAMES frames of `pattern(number)`, numbered from 0, and prints for each the answer. --bytewise: one
byte per system call, in both directions, as the programs in the field do.
"""

import argparse
import socket

import cv2

from legacy_pattern import pattern


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("width", type=int)
    parser.add_argument("height", type=int)
    parser.add_argument("frames", type=int)
    parser.add_argument("--bytewise", action="store_true")
    parser.add_argument("--quality", type=int, default=95)
    parser.add_argument("--gray", action="store_true")
    given = parser.parse_args()
    connection = socket.create_connection((given.host, given.port))
    for number in range(given.frames):
        image = pattern(number, given.width, given.height)
        if given.gray:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, given.quality])[1].tobytes()
        message = str(len(jpeg)).ljust(16).encode() + jpeg
        if given.bytewise:
            for at in range(len(message)):
                connection.send(message[at : at + 1])
            answer = b""
            while len(answer) < 18:
                answer += connection.recv(1) or exit("the receiver has closed the connection")
        else:
            connection.sendall(message)
            answer = connection.recv(32)
        print(answer.decode(), flush=True)
    connection.close()


main()
