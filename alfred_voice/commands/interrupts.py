"""Ctrl-C, heard at any moment: while the program is still being loaded, inside a library, and while it works."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    import socket

EXIT_INTERRUPTED = 130
"""128 and the signal's number, as shells tell it."""
PATIENCE_S = 10.0
"""How long work may take to come to an end by itself; then the process ends as it would at a second Ctrl-C."""


class Interrupts:
    """Takes Ctrl-C (SIGINT) as long as the context; not where the process ignores it, nor outside the main thread.

    A KeyboardInterrupt arises wherever the interpreter happens to be: libraries that call back lose it, a module that
    is being imported fails with it. So it does not arise here. Before :meth:`begin` the process ends at once, as there
    is nothing to lose. From then on the first Ctrl-C sets :attr:`pressed`, which the work looks at, and the second ends
    the process at once. A thread of its own hears it, as the main one may be in a long computation.

    Attributes:
        pressed: whether there has been one.
    """

    def __init__(self) -> None:
        self.pressed = threading.Event()
        self._told: Callable[[], str] | None = None
        self._before: Any = None
        self._sockets: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> Interrupts:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._receive)
            self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, told: Callable[[], str]) -> None:
        """From now on there is something to bring to an end.

        Args:
            told: what is kept, in a sentence, when it is interrupted.
        """
        self._told = told

    def close(self) -> None:
        """Leave Ctrl-C to somebody else, or to nobody when the process is about to end because of it."""
        if self._sockets is None:
            return
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN if self.pressed.is_set() else self._before)
        reader, writer = self._sockets
        self._sockets = None
        writer.close()  # which ends the thread
        self._thread.join(PATIENCE_S)
        reader.close()

    def _listen(self) -> None:
        import socket

        reader, writer = socket.socketpair()
        writer.setblocking(False)
        self._sockets = reader, writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, args=(reader,), name="interrupts", daemon=True)
        self._thread.start()

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        """The interpreter's own handler: the thread has heard of it before, unless there is none yet."""
        if self._sockets is None:
            self._end()

    # In the thread

    def _watch(self, reader: socket.socket) -> None:
        try:
            while numbers := reader.recv(64):
                for _ in range(numbers.count(signal.SIGINT)):
                    self._press()
                reader.settimeout(PATIENCE_S if self.pressed.is_set() else None)
        except TimeoutError:
            self._end()

    def _press(self) -> None:
        if self.pressed.is_set():
            self._end()
        self.pressed.set()
        if self._told is None:
            _tell("interrupted before anything had been begun")
            self._end()
        else:
            _tell(f"interrupted: {self._told()}")

    def _end(self) -> None:
        # Without the interpreter's own way out, which would wait for whatever is being computed.
        os._exit(EXIT_INTERRUPTED)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
