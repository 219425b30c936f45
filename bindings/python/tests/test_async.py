"""Coroutines: nothing is lost by cancelling, the loop is never blocked."""

import asyncio
import signal
import socket
import threading
import time

import numpy as np
import pytest

import framelane
from conftest import DEADLINE_S, most_sleeps, sleeps, threads, until, until_asleep
from framelane._async import leave_publisher


def image(value=0):
    return np.full((4, 6), value, "uint8")


async def settle():
    """Lets every task that is ready run up to its next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_frame_that_is_there_is_received_at_once(publisher, subscriber):
    publisher.send(image(3))
    frame = await subscriber.recv_async()
    assert frame.sequence == 1 and (frame.array == 3).all()


async def test_a_frame_that_comes_later_is_awaited(publisher, subscriber):
    task = asyncio.create_task(subscriber.recv_async(timeout=60))
    await settle()
    assert not task.done()
    publisher.send(image())
    assert (await task).sequence == 1


async def test_async_for_gets_every_frame_until_the_channel_closes():
    publisher = framelane.Publisher("cam0", backpressure="block")
    with framelane.Subscriber("cam0", delivery="every", open_timeout=0) as subscriber:

        async def send():
            loop = asyncio.get_running_loop()
            for n in range(100):
                await loop.run_in_executor(None, publisher.send, image(n))
            await loop.run_in_executor(None, publisher.close)

        sending = asyncio.create_task(send())
        values = []
        async for frame in subscriber:
            values.append((frame.sequence, int(frame.array[0, 0])))
        await sending
        assert values == [(n + 1, n) for n in range(100)]
        with pytest.raises(framelane.ChannelClosed):
            await subscriber.recv_async()


async def test_timeout_says_what_the_publisher_does(publisher, subscriber):
    publisher.send(np.zeros((4, 6, 3), "uint8"))
    frame = await subscriber.recv_async(timeout=10)
    expected = "within 0.02 s: its publisher .* published its last frame .* ago"
    with pytest.raises(framelane.Timeout, match=expected):
        await subscriber.recv_async(timeout=0.02)
    frame.release()


async def test_a_timeout_is_the_same_error_as_without_async(subscriber):
    for timeout in [0, 0.02]:
        with pytest.raises(framelane.Timeout, match=f"within {timeout} s"):
            await subscriber.recv_async(timeout=timeout)
    for wrong in [-1, float("nan")]:
        with pytest.raises(ValueError):
            await subscriber.recv_async(timeout=wrong)


async def test_the_loop_runs_while_a_coroutine_waits(publisher, subscriber):
    task = asyncio.create_task(subscriber.recv_async(timeout=60))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not task.done()
    publisher.send(image())
    await task


@pytest.mark.parametrize("turns", range(6))
async def test_cancelling_loses_no_frame_in_every_mode(publisher, turns):
    """The frame comes at any moment around the cancellation."""
    with framelane.Subscriber("cam0", delivery="every", open_timeout=0) as subscriber:
        for n in range(1, 31):
            task = asyncio.create_task(subscriber.recv_async())
            for _ in range(turns):
                await asyncio.sleep(0)
            publisher.send(image(n))
            task.cancel()
            try:
                frame = await task
            except asyncio.CancelledError:
                frame = await subscriber.recv_async(timeout=60)
            assert (frame.sequence, frame.dropped) == (n, 0)
        assert subscriber.received == 30


async def test_cancelled_wait_then_newest_frame_counts_the_others(publisher, subscriber):
    task = asyncio.create_task(subscriber.recv_async())
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for n in range(1, 5):
        publisher.send(image(n))
    frame = await subscriber.recv_async(timeout=60)
    total = frame.dropped + 1
    while frame.sequence < 4:
        frame = subscriber.recv(timeout=60)
        total += frame.dropped + 1
    assert total == 4
    assert (frame.array == 4).all()


async def test_cancelled_wait_leaves_the_frame_to_a_blocking_call(publisher, subscriber):
    task = asyncio.create_task(subscriber.recv_async())
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    publisher.send(image())
    assert (await asyncio.get_running_loop().run_in_executor(None, subscriber.recv, 60)).sequence == 1


async def test_several_coroutines_may_wait_for_one_subscriber(publisher):
    with framelane.Subscriber("cam0", delivery="every", open_timeout=0) as subscriber:
        tasks = [asyncio.create_task(subscriber.recv_async(timeout=60)) for _ in range(4)]
        await settle()
        for n in range(4):
            publisher.send(image(n))
        assert sorted(frame.sequence for frame in await asyncio.gather(*tasks)) == [1, 2, 3, 4]


async def test_closing_ends_the_wait(publisher):
    subscriber = framelane.Subscriber("cam0", open_timeout=0)

    async def iterate():
        return [frame async for frame in subscriber]

    waiting, iterating = asyncio.create_task(subscriber.recv_async()), asyncio.create_task(iterate())
    await settle()
    subscriber.close()
    with pytest.raises(framelane.ChannelClosed):
        await waiting
    assert await iterating == []


async def test_waiting_coroutines_sleep_until_the_next_frame(publisher):
    subscribers = [framelane.Subscriber("cam0", open_timeout=0) for _ in range(64)]
    tasks = [asyncio.create_task(subscriber.recv_async()) for subscriber in subscribers]
    await settle()
    # The time is that of a wait which ends by its timeout.
    with framelane.Publisher("bell"), framelane.Subscriber("bell", open_timeout=0) as bell:
        waiting = threads()
        until_asleep(waiting - {threading.get_native_id()})
        began, before = time.monotonic(), sleeps(waiting)
        with pytest.raises(framelane.Timeout):
            await bell.recv_async(timeout=1.2)
        count, most = sleeps(waiting) - before, most_sleeps(waiting, time.monotonic() - began)
        assert count <= most, f"{count} sleeps of {len(waiting)} threads, at most {most} expected"
    publisher.send(image())
    assert {frame.sequence for frame in await asyncio.gather(*tasks)} == {1}
    del tasks
    for subscriber in subscribers:
        subscriber.close()


def test_a_loop_that_ended_meanwhile_harms_nobody(publisher, subscriber):
    loop = asyncio.new_event_loop()
    task = loop.create_task(subscriber.recv_async())
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    publisher.send(image())
    assert subscriber.recv(timeout=60).sequence == 1


async def test_open_async_waits_without_blocking_the_loop():
    task = asyncio.ensure_future(framelane.Subscriber.open_async("late", "every"))
    await settle()
    assert not task.done()
    with framelane.Publisher("late") as publisher:
        subscriber = await task
        publisher.send(image(1))
        assert (await subscriber.recv_async(timeout=60)).sequence == 1
        assert (subscriber.delivery, subscriber.channel) == ("every", "late")
        subscriber.close()


async def test_open_async_that_is_cancelled_leaves_no_subscriber():
    with framelane.Publisher("late") as publisher:
        for turns in range(6):
            task = asyncio.ensure_future(framelane.Subscriber.open_async("late"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            for opened in await asyncio.gather(task, return_exceptions=True):
                if not isinstance(opened, asyncio.CancelledError):
                    opened.close()
        while publisher.subscribers:
            await asyncio.sleep(0.001)


async def test_cancel_token_ends_a_waiting_coroutine(publisher):
    token = framelane.CancelToken()
    subscriber = framelane.Subscriber("cam0", cancel=token)
    waiting = asyncio.ensure_future(subscriber.recv_async())
    await settle()
    token.cancel()
    with pytest.raises(framelane.Interrupted, match="cancel token"):
        await waiting
    publisher.send(image())
    assert (await subscriber.recv_async()).sequence == 1
    opening = framelane.Subscriber.open_async("none", cancel=token)
    with pytest.raises(framelane.Interrupted):
        await opening


async def test_open_async_raises_what_opening_raises():
    with pytest.raises(framelane.Timeout, match="no channel none"):
        await framelane.Subscriber.open_async("none", open_timeout=0.01)
    with pytest.raises(framelane.InvalidName):
        await framelane.Subscriber.open_async("a b")
    with pytest.raises(ValueError):
        framelane.Subscriber.open_async("none", "all")
    with pytest.raises(ValueError, match="open_timeout: expected seconds"):
        framelane.DetectionSubscriber.open_async("none", open_timeout=-1)


async def test_async_with_opens_and_closes():
    async with framelane.Publisher("cam0") as publisher, framelane.DetectionPublisher("d") as detector:
        publisher.send(image(1))
        async with framelane.Subscriber.open_async("cam0", writable=True) as subscriber:
            frame = await subscriber.recv_async(timeout=60)
            frame.array[0] = 9
            async with framelane.DetectionSubscriber.open_async("d") as results:
                detector.send(frame, [])
                assert len(await results.recv_async(timeout=60)) == 0
            assert results.closed
        assert subscriber.closed
        async with framelane.Subscriber("cam0", open_timeout=0) as subscriber:
            pass
        assert subscriber.closed
    assert publisher.closed and detector.closed and framelane.list_channels() == []


async def test_drain_in_a_thread_does_not_block_the_loop():
    async def end(publisher):
        async with publisher:
            publisher.send(image(1))
            await asyncio.to_thread(publisher.drain)

    publisher = framelane.Publisher("cam0", backpressure="block")
    with framelane.Subscriber("cam0", delivery="every", open_timeout=0) as subscriber:
        task = asyncio.create_task(end(publisher))
        await settle()
        assert not task.done()
        frame = await subscriber.recv_async(timeout=60)
        assert frame.sequence == 1
        await task
        assert framelane.list_channels() == []


async def test_async_with_closes_without_waiting_for_readers():
    publisher = framelane.Publisher("cam0", backpressure="block")
    with framelane.Subscriber("cam0", delivery="every", open_timeout=0):
        async with publisher:
            publisher.send(image(1))
        assert framelane.list_channels() == []


class SlowPublisher:
    """Stands for a publisher whose link still has frames to send."""

    def __init__(self):
        self.closers, self.begun, self.may_end, self.ended = [], threading.Event(), threading.Event(), threading.Event()

    def __exit__(self, *_args):
        self.closers.append(threading.current_thread())
        self.begun.set()
        if threading.current_thread() is not threading.main_thread():
            assert self.may_end.wait(DEADLINE_S)
        self.ended.set()


async def test_cancelled_async_with_leaves_closing_to_a_thread():
    publisher = SlowPublisher()
    task = asyncio.create_task(leave_publisher(publisher, (None, None, None)))
    await asyncio.to_thread(publisher.begun.wait, DEADLINE_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not publisher.ended.is_set()
    publisher.may_end.set()
    assert await asyncio.to_thread(publisher.ended.wait, DEADLINE_S)
    assert len(publisher.closers) == 1 and publisher.closers[0] is not threading.main_thread()


async def test_cancelled_async_with_of_a_url_closes_the_channel():
    async def end(url):
        async with framelane.Publisher(url) as publisher:
            publishers.append(publisher)
            publisher.send(image(1))

    publishers = []
    # The kernel accepts connections, and no answer comes.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        task = asyncio.create_task(end(f"tcp://127.0.0.1:{silent.getsockname()[1]}/cam0"))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(until, lambda: framelane.list_channels() == [])
    assert publishers[0].closed


BLOCKING = {
    "open": "framelane.Subscriber('none')",
    "open with a time": "framelane.Subscriber('none', open_timeout=1000)",
    "recv": "framelane.Subscriber('cam0', open_timeout=0).recv()",
    "for_frame": "framelane.DetectionSubscriber('cam0', open_timeout=0).for_frame(1)",
    "open_async": "await framelane.Subscriber.open_async('none')",
    "recv_async": "await framelane.Subscriber('cam0', open_timeout=0).recv_async()",
}


@pytest.mark.parametrize("what", BLOCKING)
def test_ctrl_c_ends_call_within_asyncio_run(publisher, script, what):
    waiting = script(
        f"""
        import asyncio, framelane
        async def main():
            print("waiting")
            {BLOCKING[what]}
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    waiting.wait_for("waiting")
    waiting.until_it_sleeps()
    waiting.process.send_signal(signal.SIGINT)
    assert waiting.finish() == (0, "interrupted\n", "")
