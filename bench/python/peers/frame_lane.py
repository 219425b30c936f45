"""framelane, as anyone would use it: on one machine, and over a link."""

import json
import os
import subprocess


class Framelane:
    name = "framelane"
    whole_send = False
    options = {}

    def __init__(self, channel, shape, context):
        self.channel, self.shape = channel, shape

    def sender(self):
        return Sender(self)

    def receiver(self):
        return Receiver(self)


class Sender:
    def __init__(self, peer, channel=None):
        import framelane

        self.publisher, self.shape = framelane.Publisher(channel or peer.channel, **peer.options), peer.shape

    def publish(self, fill):
        with self.publisher.loan(self.shape) as slot:
            fill(slot.array)

    def send(self, image):
        self.publisher.send(image)

    def close(self):
        self.publisher.close()


class Receiver:
    def __init__(self, peer, channel=None, delivery="newest"):
        import framelane

        self.subscriber = framelane.Subscriber(channel or peer.channel, delivery, open_timeout=10)

    def receive(self):
        return self.subscriber.recv().array

    def close(self):
        self.subscriber.close()


class FramelaneLink(Framelane):
    """A local publisher, `framelane serve`, and a subscriber with a URL, which receives the newest frame."""

    name = "framelane"
    delivery = "newest"

    def sender(self):
        serve = Serve()
        # For the receiver, whose process starts later.
        self.url = f"{serve.address}/{self.channel}"
        return LinkSender(self, self.channel, serve)

    def receiver(self):
        return Receiver(self, self.url, self.delivery)


class FramelaneLinkEvery(FramelaneLink):
    """Every frame: the publisher waits for the link."""

    name = "framelane, every frame"
    options = {"backpressure": "block"}
    delivery = "every"


class FramelanePush(Framelane):
    """The other direction: a publisher with a URL, `framelane serve` and a local subscriber at the peer."""

    name = "framelane, publisher to a URL"

    def sender(self):
        serve = Serve()
        return LinkSender(self, f"{serve.address}/{self.channel}", serve)


class Serve:
    """`framelane serve` on a port that the system chooses. $FRAMELANE is the program."""

    def __init__(self):
        command = [os.environ["FRAMELANE"], "serve", "--listen", "tcp://127.0.0.1:0", "--anonymous", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = json.loads(self.process.stdout.readline())["address"]

    def close(self):
        self.process.terminate()
        self.process.communicate()


class LinkSender(Sender):
    def __init__(self, peer, channel, serve):
        super().__init__(peer, channel)
        self.serve = serve

    def close(self):
        super().close()
        self.serve.close()
