"""TCP with the same bytes: `sendall`, and `recv_into` one array. There is no protocol."""

import socket

import numpy as np

from .ports import free_port


class PlainTcp:
    name = "plain TCP"
    whole_send = True

    def __init__(self, channel, shape, context):
        self.address, self.shape = ("127.0.0.1", free_port()), shape

    def sender(self):
        return Sender(self)

    def receiver(self):
        return Receiver(self)


class Sender:
    def __init__(self, peer):
        self.listener, self.connection = socket.create_server(peer.address), None

    def send(self, image):
        if self.connection is None:
            self.connection, _ = self.listener.accept()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Without the pacing of BBR, if that is the system's choice, as framelane has it within a machine.
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        self.connection.sendall(image)

    def close(self):
        self.connection.close()
        self.listener.close()


class Receiver:
    def __init__(self, peer):
        self.connection, self.image = socket.create_connection(peer.address), np.empty(peer.shape, np.uint8)

    def receive(self):
        # A call a frame: the system goes on until all bytes are there.
        length = self.connection.recv_into(self.image.reshape(-1), self.image.nbytes, socket.MSG_WAITALL)
        assert length == self.image.nbytes
        return self.image

    def close(self):
        self.connection.close()
