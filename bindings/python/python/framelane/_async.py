"""The coroutines of asyncio behind ``recv_async``, ``open_async``, ``async for`` and ``async with``.

A coroutine asks for what is there now. If that is nothing, it leaves a callback and sleeps; a thread of the
subscriber waits in its place. Nothing is received on behalf of one coroutine in particular, so a cancelled
one loses nothing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Callable, Generator, Generic, Protocol, TypeVar

from ._framelane import CancelToken, ChannelClosed, Timeout

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
    """Returns the same as ``subscriber.recv(timeout)``, without blocking the event loop."""
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout: expected seconds from 0, or None to wait without limit, found {timeout}")
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
            # An item that arrived before the callback was set has woken no task.
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


class _Open(Protocol):
    def close(self) -> None: ...


class _Publisher(Protocol):
    def __exit__(self, *args: object) -> None: ...


Opened = TypeVar("Opened", bound=_Open)
Object = TypeVar("Object")


async def enter(opened: Object) -> Object:
    return opened


async def leave(opened: _Open, _args: tuple[object, ...]) -> None:
    opened.close()


async def leave_publisher(publisher: _Publisher, args: tuple[object, ...]) -> None:
    """Closes in another thread: the link of a URL may have frames to send.

    A cancelled task does not wait. The other thread then goes on closing.
    """
    closing = asyncio.get_running_loop().run_in_executor(None, publisher.__exit__, *args)
    await asyncio.shield(closing)


class Opening(Generic[Opened]):
    """The result of ``open_async``: an awaitable, and a context manager for ``async with``."""

    def __init__(self, open_until: Callable[..., Opened], arguments: tuple[Any, ...]) -> None:
        self._open_until = open_until
        self._arguments = arguments
        self._opened: Opened | None = None

    def __await__(self) -> Generator[Any, None, Opened]:
        return self._open().__await__()

    async def __aenter__(self) -> Opened:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(self, *_args: object) -> None:
        if self._opened is not None:
            self._opened.close()

    async def _open(self) -> Opened:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Opened] = loop.create_future()
        unwanted = CancelToken()

        def settle(opened: Opened | None, error: BaseException | None) -> None:
            if future.done():
                if opened is not None:
                    opened.close()
            elif opened is not None:
                future.set_result(opened)
            elif error is not None:
                future.set_exception(error)

        def work() -> None:
            opened, error = None, None
            try:
                opened = self._open_until(unwanted, *self._arguments)
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(settle, opened, error)
            except RuntimeError:  # The loop was closed meanwhile.
                if opened is not None:
                    opened.close()

        threading.Thread(target=work, name="framelane-open", daemon=True).start()
        try:
            return await future
        finally:
            unwanted.cancel()


def opening(open_until: Callable[..., Opened], *arguments: Any) -> Opening[Opened]:
    return Opening(open_until, arguments)
