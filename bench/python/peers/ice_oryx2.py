"""iceoryx2's Python package: publish-subscribe, and an event to wake the reader. Arrays are views of its
memory."""

import ctypes

import numpy as np


class Iceoryx2:
    name = "iceoryx2"
    whole_send = False

    def __init__(self, channel, shape, context):
        self.channel, self.shape, self.bytes = channel, shape, int(np.prod(shape))

    def services(self):
        import iceoryx2 as iox2

        iox2.set_log_level(iox2.LogLevel.Error)
        node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        builder = lambda: node.service_builder(iox2.ServiceName.new(self.channel))
        frames = builder().publish_subscribe(iox2.Slice[ctypes.c_uint8])
        # The newest frame only, as framelane: a buffer of one that overflows.
        frames = frames.enable_safe_overflow(True).subscriber_max_buffer_size(1).history_size(0)
        frames = frames.subscriber_max_borrowed_samples(2).max_publishers(1).max_subscribers(1).max_nodes(2)
        events = builder().event().max_notifiers(1).max_listeners(1).max_nodes(2)
        return node, frames.open_or_create(), events.open_or_create()

    def array(self, payload):
        return np.frombuffer(payload.as_memory_view(), np.uint8).reshape(self.shape)

    def sender(self):
        return Sender(self)

    def receiver(self):
        return Receiver(self)


class Sender:
    def __init__(self, peer):
        self.peer = peer
        self.node, frames, events = peer.services()
        self.publisher = frames.publisher_builder().initial_max_slice_len(peer.bytes).create()
        self.notifier = events.notifier_builder().create()

    def publish(self, fill):
        sample = self.publisher.loan_slice_uninit(self.peer.bytes)
        fill(self.peer.array(sample.payload()))
        sample.assume_init().send()
        self.notifier.notify()

    def send(self, image):
        self.publish(lambda array: np.copyto(array, image))

    def close(self):
        pass


class Receiver:
    def __init__(self, peer):
        self.peer = peer
        self.node, frames, events = peer.services()
        self.subscriber = frames.subscriber_builder().create()
        self.listener = events.listener_builder().create()
        self.sample = None

    def receive(self):
        while True:
            sample = self.subscriber.receive()
            if sample is not None:
                if self.sample is not None:
                    self.sample.delete()
                self.sample = sample
                return self.peer.array(sample.payload())
            self.listener.blocking_wait()

    def close(self):
        pass
