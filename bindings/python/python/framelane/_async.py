"""The coroutines of asyncio behind ``recv_async`` and ``async for``.

A coroutine asks for what is there now. If that is nothing, it leaves a callback and sleeps; a thread of the
subscriber waits in its place. Nothing is received on behalf of one coroutine in particular, so a cancelled
one loses nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import Callable, Protocol, TypeVar

from ._framelane import ChannelClosed, Timeout

Item = TypeVar("Item", covariant=True)


class _Subscriber(Protocol[Item]):
    def _poll(self) -> Item | None: ...

    def _notify(self, callback: Callable[[], None]) -> int: ...

    def _timed_out(self, timeout: float | None) -> Timeout: ...

    def _forget(self, token: int) -> None: ...


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def receive(subscriber: _Subscriber[Item], timeout: float | None) -> Item:
    """What ``subscriber.recv(timeout)`` gives, without blocking the event loop."""
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout: expected seconds from 0, or None to wait for ever, found {timeout}")
    item = subscriber._poll()
    if item is not None:
        return item
    deadline = None if timeout is None else time.monotonic() + timeout
    loop = asyncio.get_running_loop()

    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise subscriber._timed_out(timeout)
        future: asyncio.Future[None] = loop.create_future()

        def wake_from_thread(future: asyncio.Future[None] = future) -> None:
            try:
                loop.call_soon_threadsafe(_wake, future)
            except RuntimeError:
                pass  # The loop was closed meanwhile: nobody waits any more.

        token = subscriber._notify(wake_from_thread)
        try:
            # What arrived before the callback was left has woken nobody.
            item = subscriber._poll()
            if item is None:
                await asyncio.wait([future], timeout=left)
                item = subscriber._poll()
        finally:
            subscriber._forget(token)
        if item is not None:
            return item


async def receive_or_stop(subscriber: _Subscriber[Item], timeout: float | None) -> Item:
    """The same for ``async for``: the end of the channel ends the loop."""
    try:
        return await receive(subscriber, timeout)
    except ChannelClosed:
        raise StopAsyncIteration from None
