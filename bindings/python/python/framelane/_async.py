"""The coroutines of asyncio behind ``recv_async`` and ``async for``.

A coroutine asks for what is there now. If that is nothing, it leaves a callback and sleeps; a thread of the
subscriber waits in its place. Nothing is received on behalf of one coroutine in particular, so a cancelled
one loses nothing.
"""

import asyncio
import time

from ._framelane import ChannelClosed, Timeout


def _wake(future):
    if not future.done():
        future.set_result(None)


def _wake_from_thread(loop, future):
    try:
        loop.call_soon_threadsafe(_wake, future)
    except RuntimeError:
        pass  # The loop was closed meanwhile: nobody waits any more.


async def receive(subscriber, timeout):
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout: expected seconds from 0, or None to wait for ever, found {timeout}")
    item = subscriber._poll()
    if item is not None:
        return item
    deadline = None if timeout is None else time.monotonic() + timeout
    loop = asyncio.get_running_loop()
    while True:
        future = loop.create_future()
        token = subscriber._notify(lambda future=future: _wake_from_thread(loop, future))
        try:
            # What arrived before the callback was left woke nobody.
            item = subscriber._poll()
            if item is not None:
                return item
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise Timeout(f"nothing arrived on {subscriber.channel} within {timeout} s")
            await asyncio.wait([future], timeout=left)
        finally:
            subscriber._forget(token)
        item = subscriber._poll()
        if item is not None:
            return item


async def receive_or_stop(subscriber, timeout):
    try:
        return await receive(subscriber, timeout)
    except ChannelClosed:
        raise StopAsyncIteration from None
