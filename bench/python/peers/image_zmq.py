"""imagezmq: publish-subscribe over a Unix socket, its fastest transport on one machine; and its two ways
over TCP."""

import os
import tempfile

from .ports import free_port


class ImageZmq:
    name = "imagezmq"
    whole_send = True
    asks = False

    def __init__(self, channel, shape, context):
        path = os.path.join(tempfile.gettempdir(), channel.replace("/", "-") + ".zmq")
        self.address = f"ipc://{path}"

    def sender(self):
        return Sender(self)

    def receiver(self):
        return Receiver(self)


class ImageZmqTcp(ImageZmq):
    name = "imagezmq PUB/SUB"

    def __init__(self, channel, shape, context):
        self.address = f"tcp://127.0.0.1:{free_port()}"


class ImageZmqAsks(ImageZmqTcp):
    """Its default: the sender waits for a reply to each picture."""

    name = "imagezmq REQ/REP"
    asks = True


class Sender:
    def __init__(self, peer):
        import imagezmq

        self.sender = imagezmq.ImageSender(connect_to=peer.address, REQ_REP=peer.asks)

    def send(self, image):
        self.sender.send_image("", image)

    def close(self):
        self.sender.close()


class Receiver:
    def __init__(self, peer):
        import imagezmq

        self.hub, self.asks = imagezmq.ImageHub(open_port=peer.address, REQ_REP=peer.asks), peer.asks

    def receive(self):
        image = self.hub.recv_image()[1]
        if self.asks:
            self.hub.send_reply()
        return image

    def close(self):
        self.hub.close()
