"""The loop on which the tests run: what has been closed is gone at its end, whether the peer reads or not."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from collections.abc import Iterator

import pytest

from tests.event_loop import TidyLoop, run_to_end


async def leave_with_more_than_the_peer_takes(peer: socket.socket) -> asyncio.BaseTransport:
    _, writer = await asyncio.open_connection(sock=peer)
    writer.write(bytes(50_000_000))
    writer.close()
    return writer.transport


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """One end of a connection whose other end is never read."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        yield near


def test_what_was_closed_with_something_left_to_send_is_cut(deaf: socket.socket) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transport = run_to_end(leave_with_more_than_the_peer_takes(deaf))
        assert transport.is_closing()
        assert deaf.fileno() == -1, "its socket is closed"
        del transport
        gc.collect()


def test_what_was_closed_and_has_been_read_to_the_end_since_is_left_alone() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)

    async def leave() -> asyncio.BaseTransport:
        transport = await leave_with_more_than_the_peer_takes(near)
        reader, writer = await asyncio.open_connection(sock=far)
        assert len(await reader.read()) == 50_000_000
        writer.close()
        await writer.wait_closed()
        return transport

    transport = run_to_end(leave())
    assert transport.is_closing()
    assert near.fileno() == far.fileno() == -1


def test_the_usual_loop_would_leave_it_open(deaf: socket.socket) -> None:
    def leave() -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(leave_with_more_than_the_peer_takes(deaf))
        assert deaf.fileno() != -1
        del runner
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed transport"):
        leave()


async def test_every_test_runs_on_it() -> None:
    assert isinstance(asyncio.get_running_loop(), TidyLoop)
