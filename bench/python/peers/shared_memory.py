"""A hand-written peer: multiprocessing.shared_memory with three slots in turn.

Three slots, so that the writer does not touch the one being read as long as the reader keeps up; nothing
protects a reader that does not.
"""

import numpy as np

SLOTS = 3


class SharedMemory:
    whole_send = False

    def __init__(self, channel, shape, context):
        self.channel, self.shape, self.bytes = channel.replace("/", "-"), shape, int(np.prod(shape))
        self.head = context.Value("Q", 0, lock=False)

    def sender(self):
        return Sender(self)

    def receiver(self):
        return Receiver(self)

    def slots(self, memory):
        whole = np.frombuffer(memory.buf, np.uint8, SLOTS * self.bytes)
        return whole.reshape(SLOTS, *self.shape)


class SharedMemoryCondition(SharedMemory):
    """Any number of readers."""

    name = "shared_memory + Condition"

    def __init__(self, channel, shape, context):
        super().__init__(channel, shape, context)
        self.condition = context.Condition()

    def advance(self):
        with self.condition:
            self.head.value += 1
            self.condition.notify_all()

    def wait_after(self, seen):
        with self.condition:
            while self.head.value == seen:
                self.condition.wait()
            return self.head.value


class SharedMemorySemaphore(SharedMemory):
    """The least there is; one reader."""

    name = "shared_memory + Semaphore"

    def __init__(self, channel, shape, context):
        super().__init__(channel, shape, context)
        self.semaphore = context.Semaphore(0)

    def advance(self):
        self.head.value += 1
        self.semaphore.release()

    def wait_after(self, seen):
        while True:
            self.semaphore.acquire()
            if self.head.value != seen:
                return self.head.value


class Sender:
    def __init__(self, peer):
        from multiprocessing.shared_memory import SharedMemory as Memory

        self.peer = peer
        self.memory = Memory(peer.channel, create=True, size=SLOTS * peer.bytes)
        self.arrays = peer.slots(self.memory)

    def publish(self, fill):
        fill(self.arrays[(self.peer.head.value + 1) % SLOTS])
        self.peer.advance()

    def send(self, image):
        self.publish(lambda array: np.copyto(array, image))

    def close(self):
        self.arrays = None
        self.memory.close()
        self.memory.unlink()


class Receiver:
    def __init__(self, peer):
        from multiprocessing.shared_memory import SharedMemory as Memory

        self.peer, self.memory, self.seen = peer, Memory(peer.channel), 0
        self.arrays = peer.slots(self.memory)

    def receive(self):
        self.seen = self.peer.wait_after(self.seen)
        return self.arrays[self.seen % SLOTS]

    def close(self):
        pass
