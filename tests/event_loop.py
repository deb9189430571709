"""The event loop of tests: it leaves no socket behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar


T = TypeVar("T")


class TidyLoop(asyncio.SelectorEventLoop):
    """Cuts at its end the connections that were closed but had something left to send.

    A client that has closed its end has done its part. What a slow peer has not read by then would keep the transport
    open, and the garbage collector would complain of it minutes later, in the middle of another test.
    """

    def close(self) -> None:
        """As any loop's, when nothing is left to send."""
        if not self.is_closed() and not self.is_running():
            # There is no public list of a loop's transports.
            for transport in list(self._transports.values()):  # type: ignore[attr-defined]
                # One that is closed already may still be listed, and knows no loop any more.
                if transport.is_closing() and transport.get_write_buffer_size():
                    transport.abort()
            # What that leads to comes in the loop's next turns; asyncio's sleep a test may have replaced.
            for _ in range(3):
                self.call_soon(self.stop)
                self.run_forever()
        super().close()


def run_to_end(main: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, on such a loop."""
    with asyncio.Runner(loop_factory=TidyLoop) as runner:
        return runner.run(main)
