"""The peers, one file each.

A peer is a class with `name`, `whole_send` (its send copies the picture itself, so there is nothing to write
in place) and two methods, called in different processes:

    sender()    an object with  publish(fill), send(image), close(); publish has fill(array) write into the
                reader's memory
    receiver()  an object with  receive() -> array, valid until the next call,  close()

The instance goes from one process to the other by multiprocessing, so what both need is made in `__init__`.
"""

from .frame_lane import Framelane, FramelaneLink, FramelaneLinkEvery, FramelanePush
from .ice_oryx2 import Iceoryx2
from .image_zmq import ImageZmq, ImageZmqAsks, ImageZmqTcp
from .net_gear import NetGearRaw
from .plain_tcp import PlainTcp
from .shared_memory import SharedMemoryCondition, SharedMemorySemaphore

ALL = [Framelane, Iceoryx2, SharedMemorySemaphore, SharedMemoryCondition, ImageZmq, NetGearRaw]
