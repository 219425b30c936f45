"""framelane, as anyone would use it."""


class Framelane:
    name = "framelane"
    whole_send = False

    def __init__(self, channel, shape, context):
        self.channel, self.shape = channel, shape

    def sender(self):
        return Sender(self)

    def receiver(self):
        return Receiver(self)


class Sender:
    def __init__(self, peer):
        import framelane

        self.publisher, self.shape = framelane.Publisher(peer.channel), peer.shape

    def publish(self, fill):
        with self.publisher.loan(self.shape) as slot:
            fill(slot.array)

    def send(self, image):
        self.publisher.send(image)

    def close(self):
        self.publisher.close()


class Receiver:
    def __init__(self, peer):
        import framelane

        self.subscriber = framelane.Subscriber(peer.channel, timeout=10)

    def receive(self):
        return self.subscriber.recv().array

    def close(self):
        self.subscriber.close()
