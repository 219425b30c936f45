"""NetGear of vidgear without its JPEG compression, which it has on by default."""

from .ports import free_port


class NetGearRaw:
    name = "NetGear (raw)"
    whole_send = True

    def __init__(self, channel, shape, context):
        self.port = str(free_port())

    def gear(self, receive_mode):
        from vidgear.gears import NetGear

        return NetGear(
            address="127.0.0.1",
            port=self.port,
            protocol="tcp",
            pattern=0,
            receive_mode=receive_mode,
            logging=False,
            jpeg_compression=False,
        )

    def sender(self):
        return Sender(self)

    def receiver(self):
        return Receiver(self)


class Sender:
    def __init__(self, peer):
        self.gear = peer.gear(False)

    def send(self, image):
        self.gear.send(image)

    def close(self):
        self.gear.close()


class Receiver:
    def __init__(self, peer):
        self.gear = peer.gear(True)

    def receive(self):
        return self.gear.recv()

    def close(self):
        self.gear.close()
